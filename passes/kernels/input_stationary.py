"""The ``input_stationary`` kernel: inputs stay in registers while the filters that multiply them pass by.

Costs follow the filterlets that are kept, wherever they are: nothing is loaded for a filter but its own weights and
sums. The name is that of the dataflow in Eyeriss (Chen et al., ISCA 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, llvm

from dtmm_mlir.dialect.ops import Geometry
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.conv import RESULTS, WORD, ConvKernel, Window
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.mve_input_stationary import HEADER, LANES, Chain, Passes
from dtmm_mlir.passes.kernels.rows import RowLayout

PARAMETERS = 4
"""Words per filter: bias, multiplier, shift, and how far the next one's results are."""


def stored_sums(pixels: int) -> int:
    """Bytes of one filter's sums: whole vectors."""
    return -(-pixels // RESULTS) * RESULTS * WORD


def vectors_of(g: Geometry, plan: Plan) -> tuple[int, int]:
    """Vectors along the channels at each kernel position, and of the joined channels at each kernel row."""
    return -(-(g.c - plan.joined) // LANES), -(-g.kw * plan.joined // LANES)


def row_layout(g: Geometry, plan: Plan) -> RowLayout:
    """Channels in whole vectors, but for the joined ones."""
    whole, joined = vectors_of(g, plan)
    slack = joined * LANES - g.kw * plan.joined
    return RowLayout.plan(g, whole * LANES, plan.joined, plan.rows, slack, same=True)


def passes_of(plan: Plan, layout: RowLayout) -> Passes:
    """The passes of a convolution whose inputs lie as ``layout`` says."""
    g, (down, right) = layout.geometry, layout.strides
    pixels = [(y, x) for y in range(plan.pixel_rows) for x in range(min(plan.pixels, g.ow))]

    def chain(pixel: int, alignment: int, stored: int) -> Chain:
        inputs = tuple(y * down * layout.row + x * right * pixel for y, x in pixels)
        return Chain(inputs, alignment, stored, plan.unrolled)

    whole, joined = vectors_of(g, plan)
    last = g.c - plan.joined - (whole - 1) * LANES
    vectors = [chain(layout.pixel, WORD, LANES if v < whole - 1 else last) for v in range(whole)]
    return Passes(tuple(vectors), (chain(plan.joined, 1, LANES),) * joined)


@dataclass(frozen=True)
class Group:
    """Filters that multiply the same inputs.

    Attributes:
        position: ``ky * KW + kx`` of the inputs; of joined channels, of the first in the row.
        filters: their numbers.
    """

    position: int
    filters: np.ndarray


def groups_of(kept: np.ndarray, passes: Passes) -> list[list[Group]]:
    """For each of ``Passes.kinds``, the positions or rows where any filter takes part.

    Args:
        kept: [F, KH, KW] bool.
    """
    filters, _, row = kept.shape
    parts: list[tuple[int, np.ndarray]] = []
    parts += [(1, kept.reshape(filters, -1))] if passes.vectors else []
    parts += [(row, np.asarray(kept.any(axis=2)))] if passes.joined else []
    return [
        [Group(step * int(place), np.flatnonzero(part[:, place])) for place in np.flatnonzero(part.any(axis=0))]
        for step, part in parts
    ]


def sizes(groups: list[list[Group]]) -> list[list[int]]:
    """How many filters each group has."""
    return [[len(group.filters) for group in each] for each in groups]


class InputStationaryKernel(ConvKernel):
    """Kernel position after kernel position, each with all filters that keep it; sums are in memory between them."""

    def _layout(self) -> RowLayout:
        return row_layout(self.geometry, self.plan)

    @property
    def row_type(self) -> ir.Type:
        return ir.Type.parse(self.element)

    @cached_property
    def _pixels(self) -> int:
        return min(self.plan.pixels, self.geometry.ow) * self.plan.pixel_rows

    @cached_property
    def _passes(self) -> Passes:
        return passes_of(self.plan, self.layout)

    @cached_property
    def _dense(self) -> np.ndarray:
        """[F, KH * KW, C]: the weights, with zeros where they were pruned."""
        g = self.geometry
        weights = np.zeros((g.f, g.kh * g.kw, g.c), np.int8)
        weights[np.repeat(np.arange(g.f), self.conv.counts), self.conv.positions] = self.conv.values
        return weights

    @cached_property
    def _groups(self) -> list[list[Group]]:
        g = self.geometry
        kept = np.zeros((g.f, g.kh * g.kw), bool)
        kept[np.repeat(np.arange(g.f), self.conv.counts), self.conv.positions] = True
        return groups_of(kept.reshape(g.f, g.kh, g.kw), self._passes)

    @property
    def values(self) -> np.ndarray:
        """By group, then vector, then filter."""
        parts = [np.zeros(0, np.int8)]
        for kind, groups in zip(self._passes.kinds, self._groups, strict=True):
            for group in groups:
                rows = self._weights(group, kind == self._passes.joined)
                starts = np.arange(len(kind)) * LANES
                parts += [rows[:, at : at + c.stored].reshape(-1) for at, c in zip(starts, kind, strict=True)]
        return np.concatenate([*parts, np.zeros(LANES, np.int8)])

    def _weights(self, group: Group, joined: bool) -> np.ndarray:
        """[filters, channels] of a group, filled up to whole vectors."""
        channels = self.geometry.c - self.plan.joined
        if joined:
            row = slice(group.position, group.position + self.geometry.kw)
            rows = self._dense[group.filters, row, channels:].reshape(len(group.filters), -1)
        else:
            rows = self._dense[group.filters, group.position, :channels]
        return np.pad(rows, ((0, 0), (0, -rows.shape[1] % LANES)))

    @property
    def offsets(self) -> np.ndarray:
        """i16, or i32 where they do not fit: of each group, bytes from where the address of the inputs was before to
        its own, how many filters it has, and where their sums are, in bytes."""
        table = list[int]()
        for kind, groups in zip(self._passes.kinds, self._groups, strict=True):
            at = 0
            for group in groups:
                offset = self.layout.offset(group.position)
                places = np.searchsorted(self._blocks, group.filters) * stored_sums(self._pixels)
                table += [offset - at, len(group.filters), *places.tolist()]
                at = offset + (len(kind) - 1) * LANES + kind[-1].moved
        numbers = np.array(table, np.int32)
        small = not numbers.size or (np.abs(numbers) < 1 << 15).all()
        return numbers.astype(np.int16) if small else numbers

    @property
    def parameters(self) -> np.ndarray:
        """[computed filters, 4] i32: bias, multiplier, shift, and how far the next one's results are; then the constant
        filters."""
        table = np.ascontiguousarray(super().parameters.T)[self._blocks]
        table[:, 3] = self._steps[: len(table)]
        return self._with_constants(table, self._steps[len(table) :])

    @property
    def _order(self) -> np.ndarray:
        """The computed filters and the constant ones."""
        return np.concatenate([self._blocks, self._constants])

    @property
    def _steps(self) -> np.ndarray:
        return np.diff(self._order, append=self._order[-1:])

    @property
    def buffer_size(self) -> int:
        """Bytes of the row buffer, the sums and the list of passes."""
        return self._list_at + self._passes.list_words(sizes(self._groups)) * WORD

    @property
    def _sums_at(self) -> int:
        return -(-self.layout.size // LANES) * LANES

    @property
    def _list_at(self) -> int:
        return self._sums_at + len(self._blocks) * stored_sums(self._pixels)

    def _begin(self) -> None:
        """Biases as the first sums, and the list of passes."""
        self._sums, self._list = (emit.opaque(emit.pointer(self.memory, at)) for at in (self._sums_at, self._list_at))

        def bias(f: Index) -> None:
            value = emit.load_scalar(self.parameter_table, emit.mul(f, PARAMETERS))
            self._store_bias(value, emit.advance(self._sums, emit.mul(f, stored_sums(self._pixels))))

        emit.loop(0, len(self._blocks), bias) if len(self._blocks) else None
        if self._has_passes:
            self._write_list()

    @property
    def _has_passes(self) -> bool:
        return len(self.conv.values) > 0

    def _store_bias(self, bias: ir.Value, sums: ir.Value) -> None:
        type = emit.vector_type(RESULTS, emit.i32())
        for at in range(0, stored_sums(self._pixels), RESULTS * WORD):
            emit.store_to(emit.broadcast(bias, type), emit.advance(sums, at), WORD)

    def _write_list(self) -> None:
        """The list of passes, see ``mve_input_stationary``: headers first, then rounds of addresses."""
        passes = self._passes
        source = emit.pointer(self.offset_table)
        header = self._list
        places = emit.advance(self._list, (passes.headers(sizes(self._groups)) * HEADER + 1) * WORD)
        for number, (kind, groups) in enumerate(zip(passes.kinds, self._groups, strict=True)):
            self._joined_header = header

            def group(
                _: Index, source: ir.Value, header: ir.Value, places: ir.Value, kind: tuple[Chain, ...] = kind
            ) -> list[ir.Value]:
                return self._write_group(kind, source, header, places)

            source, header, places = emit.loop(0, len(groups), group, [source, header, places])
            last, after = kind[-1], passes.kinds[number + 1][-1] if number + 1 < len(passes.kinds) else None
            leave = [places, _number(-last.moved), _number(passes.leave(last, after))]
            header = _put(header, *leave)

    def _write_group(
        self, kind: tuple[Chain, ...], source: ir.Value, header: ir.Value, places: ir.Value
    ) -> list[ir.Value]:
        """Headers and addresses of one group; returns where the next ones are."""
        passes, unrolled = self._passes, self.plan.unrolled
        entry = ir.MemRefType(self.offset_table.type).element_type
        size = entry.width // 8

        def read(address: ir.Value) -> tuple[ir.Value, ir.Value]:
            value = emit.load_from(address, entry, size)
            return (value if size == WORD else arith.extsi(emit.i32(), value)), emit.advance(address, size)

        offset, source = read(source)
        count, source = read(source)
        chain, mask = kind[0], _number(unrolled - 1)
        skipped = arith.andi(arith.subi(_number(0), count), mask)
        pair = arith.shrui(skipped, _number(1))
        straight, stub = (
            arith.addi(arith.muli(pair, _number(step)), _number(chain.entry(first)))
            for step, first in ((chain.pair_bytes, 0), (chain.stub_bytes, 1))
        )
        odd = arith.trunci(ir.IntegerType.get_signless(1), skipped)
        begin = arith.select(odd, stub, straight)

        def pass_(header: ir.Value, before: Chain, chain: Chain, moved: ir.Value) -> ir.Value:
            return _put(header, places, moved, arith.addi(begin, _number(passes.jump(before, chain))))

        header = pass_(header, kind[-1], kind[0], offset)
        step = _number(LANES - chain.moved)
        if len(kind) > 2:
            (header,) = emit.loop(1, len(kind) - 1, lambda _, at: [pass_(at, kind[0], kind[0], step)], [header])
        if len(kind) > 1:
            header = pass_(header, kind[0], kind[-1], step)

        def place(_: Index, source: ir.Value, places: ir.Value) -> list[ir.Value]:
            sums, source = read(source)
            address = arith.addi(llvm.PtrToIntOp(emit.i32(), self._sums).result, sums)
            return [source, _put(places, address)]

        def round(
            left: ir.Value, size: ir.Value, source: ir.Value, places: ir.Value
        ) -> tuple[ir.Value, list[ir.Value]]:
            source, places = emit.loop(0, arith.index_cast(ir.IndexType.get(), size), place, [source, places])
            left = arith.subi(left, size)
            more = arith.cmpi(arith.CmpIPredicate.ne, left, _number(0))
            word = arith.select(more, _number(passes.again(chain)), _number(passes.following(chain)))
            return more, [left, _number(unrolled), source, _put(places, word)]

        first = arith.subi(_number(unrolled), skipped)
        _, _, source, places = emit.repeat([count, first, source, places], round)
        return [source, header, places]

    def _block(self, pixels: int, window: Window, target: Index) -> None:
        pixels = self._pixels
        output = emit.pointer(self.output, emit.add(target, int(self._order[0])))
        if self._has_passes:
            self._multiply(window)
        parameters = emit.pointer(self.parameter_table)
        if len(self._blocks):
            parameters, output = self._finish_all(pixels, parameters, output)
        self._store_constants(pixels, parameters, output)

    def _multiply(self, window: Window) -> None:
        passes, groups = self._passes, self._groups
        data = emit.pointer(self.data, window.source if passes.vectors else window.joined)
        if len(passes.kinds) == 2:
            last, first = groups[0][-1], groups[1][0]
            behind = self.layout.offset(last.position) + (len(passes.vectors) - 1) * LANES + passes.vectors[-1].moved
            start = self.layout.offset(first.position) - behind
            distance = arith.subi(emit.index(window.joined), emit.index(window.source))
            moved = arith.addi(arith.index_cast(emit.i32(), distance), _number(start))
            emit.store_to(moved, emit.advance(self._joined_header, WORD), WORD)
        weights = emit.pointer(self.weights)
        self.isa.pass_filters(passes, passes.headers(sizes(groups)), self._list, weights, data)

    def _finish_all(self, pixels: int, parameters: ir.Value, output: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Results of the computed filters; returns addresses behind their parameters, and of the next result."""
        count, stride = len(self._blocks), self.geometry.f
        if self.rescale:
            finished = self.isa.finish_stored(
                count, stride, pixels, parameters, self._sums, output, self.rescale, self.clamp or (-128, 127)
            )
            if finished:
                return finished

        def filter(_: Index, parameters: ir.Value, sums: ir.Value, output: ir.Value) -> list[ir.Value]:
            bias, multiplier, shift, following = (
                emit.load_from(emit.advance(parameters, word * WORD), emit.i32(), WORD) for word in range(PARAMETERS)
            )
            for at in range(0, pixels, RESULTS):
                type = emit.vector_type(min(RESULTS, pixels - at), emit.i32())
                totals = emit.load_from(emit.advance(sums, at * WORD), type, WORD)
                results = self._finish(totals, _number(0), self._requantization(multiplier, shift))
                self.isa.store_strided(results, emit.advance(output, at * stride, self._output_type), stride)
            self._store_bias(bias, sums)
            step = arith.index_cast(ir.IndexType.get(), following)
            after = emit.advance(sums, stored_sums(pixels))
            return [
                emit.advance(parameters, PARAMETERS * WORD), after, emit.advance(output, step, self._output_type)
            ]  # fmt: skip

        parameters, _, output = emit.loop(0, count, filter, [parameters, self._sums, output])
        return parameters, output

    @property
    def _output_type(self) -> ir.Type:
        return ir.MemRefType(self.output.type).element_type


def _number(value: int) -> ir.Value:
    return emit.splat(value, emit.i32())


def _put(address: ir.Value, *words: ir.Value) -> ir.Value:
    """Stores i32 or addresses one behind the other; returns the address behind them."""
    for word in words:
        emit.store_to(word, address, WORD)
        address = emit.advance(address, WORD)
    return address
