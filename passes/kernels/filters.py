"""The loops over blocks of filters and their runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.conv import RESULTS, WORD, Window, WindowKernel
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Results

PARAMETERS = 4
"""Words per filter: bias, multiplier, shift, and one of the block."""

UPPER = 16
"""Where the upper half of a word begins."""

BYTE = 8
"""Bits of a number of runs where there are several in a word."""


Sums: TypeAlias = Sequence[ir.Value | None]
"""``None`` for a sum that begins with its first product."""

Walk: TypeAlias = tuple[ir.Value, ir.Value, Sums]
"""Addresses of the next block's weights and offsets, and the sums of this one."""


@dataclass(frozen=True)
class Run:
    """What a run has weights of.

    Attributes:
        members: those of a block's filters.
        width: neighbouring positions along kx.
    """

    members: Sequence[int]
    width: int


@dataclass
class Cursor:
    """Addresses that move on from block of filters to block of filters."""

    weights: ir.Value
    offsets: ir.Value
    parameters: ir.Value
    output: ir.Value

    def values(self) -> list[ir.Value]:
        return [self.weights, self.offsets, self.parameters, self.output]


class FilterKernel(WindowKernel):
    """Block of filters after block of filters, each a walk over its runs: vectors lie along the channels.

    The last block overlaps the one before where the filters do not divide.
    """

    @property
    def values(self) -> np.ndarray:
        """The weights of run after run; those of a run that may be skipped are followed by what it then adds."""
        runs = self._ordered_values
        if self._skipped_rows and self._missing_bytes:
            rows = self.conv.positions // self.geometry.kw
            parts = [
                part
                for row, weights, missing in zip(rows, runs, self._missing, strict=True)
                for part in ((weights, missing.view(np.int8)) if row in self._skipped_rows else (weights,))
            ]
            return np.concatenate([*parts, np.zeros(self._lanes, self.dtype)])
        return np.concatenate([runs.reshape(-1), np.zeros(self._lanes, self.dtype)])

    @property
    def offsets(self) -> np.ndarray:
        """None where straight-line code knows them."""
        return np.zeros(0, np.int16) if self._straight else super().offsets

    @cached_property
    def _ordered_values(self) -> np.ndarray:
        """[runs, stored elements] the weights of each run in the order in which ``_run`` loads them."""
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype:
        return self.conv.values.dtype

    @property
    def parameters(self) -> np.ndarray:
        """[blocks, filters of a block, 4] i32: bias, multiplier, shift; the last of a block's first filter is its runs,
        how many or a bit for each there may be, the last of its last filter how far the next block's output is. A
        filter that is both has that in its upper half where blocks are left out. ``_records`` of a block are behind its
        filters, constant filters behind all. Where tables skip padding, all that for each zone of output rows: biases
        with what is skipped in them, and runs as two bytes: how many are walked, and how many skipped ahead of them."""
        table = super().parameters.T[self._filters_of_blocks]
        table[:, :, 3] = self._words
        following = np.diff(self._order, append=self._order[-1:])
        if self.filters > 1 or self._packed:
            table[:, -1, 3] += following[: len(table)] << (UPPER if self._packed else 0)
        tables = [self._in_zone(table, number) for number in range(len(self._zones))] or [table]
        words = self.filters * PARAMETERS
        tables = [np.concatenate([each.reshape(len(table), words), self._records], axis=1) for each in tables]
        all = [self._with_constants(each, following[len(table) :]).reshape(-1) for each in tables]
        return self._with_pattern(np.concatenate(all))

    @property
    def _records(self) -> np.ndarray:
        """[computed blocks, words] i32: what follows the parameters of each block's filters."""
        return np.zeros((len(self._blocks), 0), np.int32)

    @property
    def _block_bytes(self) -> int:
        """Bytes of the parameters of one block, with what follows them."""
        return (self.filters * PARAMETERS + self._records.shape[1]) * WORD

    @property
    def _words(self) -> np.ndarray:
        """[computed blocks, filters of a block] i32: the last words of their parameters, but for the next block's."""
        words = np.zeros((len(self._blocks), self.filters), np.int32)
        words[:, 0] = self._run_words
        return words

    @property
    def _run_words(self) -> np.ndarray:
        """[computed blocks] int: their runs, how many or which."""
        return self._masks if self.plan.masked else self.conv.counts[self._blocks]

    def _in_zone(self, table: np.ndarray, number: int) -> np.ndarray:
        """``table`` of parameters as it is in one zone of output rows."""
        table = table.copy()
        _, inside = self._zones[number]
        skipped = ~np.isin(self.conv.positions // self.geometry.kw, inside)
        biases = np.zeros((len(self.conv.counts), self.filters), np.int32)
        np.add.at(biases, self._block_of_run[skipped], self._missing[skipped])
        table[:, :, 0] += biases[self._blocks]
        table[:, 0, 3] += self._walked[number] - self.conv.counts[self._blocks] + (self._skipped[number] << BYTE)
        return table

    @cached_property
    def _positions(self) -> list[int]:
        """Where straight-line code has a run."""
        if self.plan.masked:
            return np.unique(self.conv.positions).tolist()
        return self.conv.positions[: self.conv.counts[self._blocks[0]]].tolist()

    @property
    def _masks(self) -> np.ndarray:
        """[blocks] i32: a bit for each of ``_positions`` where the block has a run."""
        masks = np.zeros(len(self.conv.counts), np.int32)
        np.bitwise_or.at(
            masks, self._block_of_run, 1 << np.searchsorted(self._positions, self.conv.positions).astype(np.int32)
        )
        return masks[self._blocks]

    @property
    def _order(self) -> np.ndarray:
        """The first filters of the blocks and the constant ones, in the order of their results."""
        return np.concatenate([self._filters_of_blocks[:, 0], self._constants])

    @property
    def _packed(self) -> bool:
        """Whether the word that tells how far the next block's output is has that in its upper half, as the lower one
        tells the block's runs or where the output of its last filter is."""
        return self.filters == 1 and len(self._constants) > 0

    @property
    def _lanes(self) -> int:
        return self.isa.lanes(self.element)

    @property
    def filters(self) -> int:
        return self.plan.filters

    @property
    def _filters_of_blocks(self) -> np.ndarray:
        """[blocks, filters of a block] int."""
        return self.plan.held(self._blocks, self.geometry.f)

    @property
    def _stored(self) -> int:
        """Elements stored of one run."""
        return self._ordered_values.shape[1]

    def _block(self, pixels: int, window: Window, target: Index) -> None:
        data, joined = (emit.opaque(emit.pointer(self.data, at)) for at in (window.source, window.joined))
        blocks = len(self._blocks) // self.geometry.groups
        parameters = emit.pointer(self.parameter_table, self._zone_start)
        tables = [emit.pointer(self.weights), emit.pointer(self.offset_table), parameters]

        def group(i: Index, *cursor: ir.Value) -> list[ir.Value]:
            start = self._at(data, emit.mul(i, self.layout.group_stride))
            end = emit.advance(cursor[2], blocks * self._block_bytes)

            def block(end: ir.Value, *cursor: ir.Value) -> tuple[ir.Value, list[ir.Value]]:
                following = self._filters(Cursor(*cursor), pixels, start, joined)
                end = self.isa.hold(end) if self._straight else end
                return emit.differ(following.parameters, end), [end, *following.values()]

            return (emit.repeat([end, *cursor], block) if blocks > 1 else block(end, *cursor)[1])[1:]

        cursor = [*tables, emit.pointer(self.output, emit.add(target, int(self._order[0])))]
        if blocks:
            cursor = emit.loop(0, self.geometry.groups, group, cursor)
        self._store_constants([p * self.geometry.f for p in range(pixels)], *cursor[2:])

    def _filters(self, cursor: Cursor, pixels: int, data: ir.Value, joined: ir.Value) -> Cursor:
        """One block of filters at ``pixels`` pixels; returns where the next block is."""
        if self._straight:
            weights, offsets, sums = self._same_runs(cursor, pixels, data, joined)
        else:
            weights, offsets, sums = self._own_runs(cursor, pixels, data, joined)
        if self.rescale:
            clamp = self.clamp or (-128, 127)
            results = Results(self.filters, self.geometry.f, self._starts_with_bias, self.rescale, clamp, self._packed)
            finished = self.isa.finish(sums, cursor.parameters, cursor.output, results)
            if finished:
                parameters, output = finished
                return Cursor(weights, offsets, emit.advance(parameters, self._records.shape[1] * WORD), output)
        self._store_results(sums, pixels, cursor.parameters, cursor.output)
        step: Index = 1
        if self.filters > 1 or self._packed:
            following = self._parameter(cursor.parameters, self.filters - 1, 3)
            following = arith.shrsi(following, emit.splat(UPPER, emit.i32())) if self._packed else following
            step = arith.index_cast(ir.IndexType.get(), following)
        parameters = emit.advance(cursor.parameters, self._block_bytes)
        return Cursor(weights, offsets, parameters, emit.advance(cursor.output, step, self._output_type))

    @cached_property
    def _straight(self) -> bool:
        """Whether all blocks have the same runs, or are tested for them, few enough to be straight-line code."""
        if self.plan.masked:
            return True
        counts = self.conv.counts[self._blocks]
        if not counts.any() or (counts != counts[0]).any():
            return False
        runs = self.conv.positions.reshape(len(counts), -1)
        weights = self.plan.weight_vectors(self.geometry.group_channels, self._lanes)
        return bool((runs == runs[0]).all()) and len(runs[0]) * weights <= self.plan.unrolled

    @cached_property
    def _skipped_rows(self) -> frozenset[int]:
        """Rows of the kernel that lie above or below the input at some output rows, where they are skipped."""
        if not (self.plan.skip_padding and self._straight and self.element == "i8" and self.isa.scalar_sums):
            return frozenset()
        return self.geometry.padded_rows

    @cached_property
    def _zones(self) -> list[tuple[int, range]]:
        """Where tables skip padding, the zones of output rows: the first row, and the kernel rows inside the input."""
        if not (self.plan.skip_padding and self.element == "i8" and self.isa.scalar_sums) or self._straight:
            return []
        fits = 0 < self.conv.counts.max(initial=0) < 1 << BYTE - 1
        return self.geometry.row_zones if fits else []

    @cached_property
    def _walked(self) -> np.ndarray:
        """[zones, computed blocks] how many of their runs are inside the input."""
        return np.array([self._count_runs(inside) for _, inside in self._zones])

    @cached_property
    def _skipped(self) -> np.ndarray:
        """[zones, computed blocks] how many runs, in the padding, lie between those walked and those of the block
        before."""
        above = np.array([self._count_runs(range(inside.start)) for _, inside in self._zones])
        below = self.conv.counts[self._blocks] - self._walked - above
        return above + np.pad(below, ((0, 0), (1, 0)))[:, :-1]

    def _count_runs(self, rows: range) -> np.ndarray:
        """[computed blocks] their runs on some rows of the kernel."""
        blocks = self._block_of_run[np.isin(self.conv.positions // self.geometry.kw, rows)]
        return np.bincount(blocks, minlength=len(self.conv.counts))[self._blocks]

    def _begin_row(self, y: Index) -> None:
        """Where the parameters of the row's zone begin; which of the kernel rows that may be skipped lie inside the
        input, as i1."""
        g = self.geometry
        self._zone_start: Index = 0
        for number, (first, _) in enumerate(self._zones[1:], 1):
            reached = arith.cmpi(arith.CmpIPredicate.sge, emit.index(y), emit.index(first))
            words = (self.parameters.size - self._pattern_words) // len(self._zones)
            start = emit.index(number * words)
            self._zone_start = arith.select(reached, start, emit.index(self._zone_start))
        self._top = emit.sub(emit.mul(y, g.strides[0]), g.pads[0])
        rows = {ky: emit.index(emit.add(self._top, ky * g.dilations[0])) for ky in sorted(self._skipped_rows)}
        self._inside = {ky: arith.cmpi(arith.CmpIPredicate.ult, row, emit.index(g.h)) for ky, row in rows.items()}

    @property
    def _missing(self) -> np.ndarray:
        """[runs, filters of a block] i32: what each run adds to a sum where all its inputs are padding."""
        values = self.conv.values.astype(np.int64).reshape(len(self.conv.values), self.filters, -1)
        return (values.sum(axis=2) * self.conv.input_zero_point).astype(np.int32)

    @property
    def _missing_bytes(self) -> int:
        """Bytes of that behind a run that may be skipped; none where padding is zero."""
        return self.filters * WORD if self.conv.input_zero_point else 0

    @cached_property
    def _starts_with_bias(self) -> bool:
        """Whether sums begin as the bias: not as vectors, nor where they begin with the first product."""
        return self.element == "i8" and self.isa.scalar_sums and not self._starts_with_product

    @cached_property
    def _starts_with_product(self) -> bool:
        return self.element == "i8" and self._straight and not self.plan.masked and self.isa.first_product_is_free

    def _start_sums(self, pixels: int, parameters: ir.Value) -> list[ir.Value | None]:
        """What the sums of each pixel of the first filter, then of the next, begin with."""
        if self._starts_with_product:
            return [None] * (pixels * self.filters)
        if not self._starts_with_bias:
            return [self.isa.zero(self.element)] * (pixels * self.filters)
        biases = [self._parameter(parameters, b, 0) for b in range(self.filters)]
        return [bias for bias in biases for _ in range(pixels)]

    def _parameter(self, parameters: ir.Value, filter: int, kind: int) -> ir.Value:
        """bias (0), multiplier (1), shift (2) or the last word (3) of one filter of a block."""
        return emit.load_from(self._parameter_at(parameters, filter, kind), emit.i32(), WORD)

    def _parameter_at(self, parameters: ir.Value, filter: int, kind: int) -> ir.Value:
        return emit.advance(parameters, (filter * PARAMETERS + kind) * WORD)

    def _same_runs(self, cursor: Cursor, pixels: int, data: ir.Value, joined: ir.Value) -> Walk:
        """The runs of a block where every block has the same, or tests which it has: straight-line code."""
        weights = cursor.weights
        mask = self._parameter(cursor.parameters, 0, 3) if self.plan.masked else None
        sums: Sums = self._start_sums(pixels, cursor.parameters)
        for number, position in enumerate(self._positions):
            offset, row = self.layout.offset(position), position // self.geometry.kw
            start = weights

            def run(
                behind: int = 0, start: ir.Value = start, offset: int = offset, sums: Sums = sums
            ) -> list[ir.Value]:
                data_start, joined_start = self._start(data, offset), self._start(joined, offset)
                following, totals = self._run(start, data_start, joined_start, sums, behind)
                return [following, *totals]

            def skip(start: ir.Value = start, sums: Sums = sums) -> list[ir.Value]:
                return self._skip(start, pixels, sums)

            if mask is not None:
                bit = arith.andi(mask, emit.splat(1 << number, emit.i32()))
                kept = arith.cmpi(arith.CmpIPredicate.ne, bit, emit.splat(0, emit.i32()))
                types = [value.type for value in (start, *sums) if value is not None]
                weights, *sums = emit.either(kept, types, run, lambda start=start, sums=sums: [start, *sums])
            elif row in self._inside:
                types = [start.type, *[emit.i32()] * len(sums)]
                weights, *sums = emit.either(self._inside[row], types, lambda run=run: run(self._missing_bytes), skip)
            else:
                weights, *sums = run()
        return weights, cursor.offsets, sums

    def _skip(self, weights: ir.Value, pixels: int, sums: Sums) -> list[ir.Value]:
        """A run over padding: the address behind it, and the sums with what it would have added."""
        following = emit.advance(weights, self._stored * self._element_bytes)
        if not self._missing_bytes:
            return [following, *(emit.splat(0, emit.i32()) if total is None else total for total in sums)]
        missing = [emit.load_from(emit.advance(following, b * WORD), emit.i32(), 1) for b in range(self.filters)]
        added = [value for value in missing for _ in range(pixels)]
        totals = [b if total is None else arith.addi(total, b) for total, b in zip(sums, added, strict=True)]
        following, totals = self.isa.settle(emit.advance(following, self._missing_bytes), totals)
        return [following, *totals]

    def _start(self, data: ir.Value, offset: Index) -> ir.Value:
        return self._at(data, offset)

    def _own_runs(self, cursor: Cursor, pixels: int, data: ir.Value, joined: ir.Value) -> Walk:
        """The runs of a block, as many and where the tables say."""
        count = word = self._parameter(cursor.parameters, 0, 3)
        if self._packed:
            count = bits(word, 0, UPPER)
        if self._zones:
            count = bits(word, 0, BYTE)
            cursor = self._skip_runs(cursor, bits(word, BYTE, BYTE))
        counts = self._walked if self._zones else self.conv.counts[self._blocks]
        begin = cursor.weights, cursor.offsets, self._start_sums(pixels, cursor.parameters)
        return self._walk(count, bool(counts.all()), begin, data, joined)

    def _walk(
        self,
        count: ir.Value,
        always: bool,
        walk: Walk,
        data: ir.Value,
        joined: ir.Value,
        run: Run | None = None,
    ) -> Walk:
        """``count`` runs that tables tell.

        Args:
            always: whether there always are any.
            run: what each is; as the plan says by default.
        """
        index = ir.MemRefType(self.offset_table.type).element_type

        def step(
            left: ir.Value, weights: ir.Value, offsets: ir.Value, *sums: ir.Value
        ) -> tuple[ir.Value, list[ir.Value]]:
            offset = emit.load_from(offsets, index, index.width // 8)
            offset = arith.index_cast(ir.IndexType.get(), offset)
            starts = self._start(data, offset), self._start(joined, offset)
            weights, totals = self._run(weights, *starts, sums, run=run)
            left, more = emit.count_down(left)
            return more, [left, weights, emit.advance(offsets, 1, index), *totals]

        weights, offsets, sums = walk
        carried = [count, weights, offsets, *sums]
        if always:
            carried = emit.repeat(carried, step)
        else:
            some = arith.cmpi(arith.CmpIPredicate.ne, count, emit.splat(0, emit.i32()))
            types = [value.type for value in carried]
            carried = emit.either(some, types, lambda: emit.repeat(carried, step), lambda: carried)
        return carried[1], carried[2], carried[3:]

    def _skip_runs(self, cursor: Cursor, count: ir.Value) -> Cursor:
        """Weights and offsets behind ``count`` runs."""
        runs, index = arith.index_cast(ir.IndexType.get(), count), ir.MemRefType(self.offset_table.type).element_type
        weights = emit.advance(cursor.weights, emit.mul(runs, self._stored * self._element_bytes))
        return replace(cursor, weights=weights, offsets=emit.advance(cursor.offsets, runs, index))

    def _at(self, data: ir.Value, elements: Index) -> ir.Value:
        """An address within the row buffer moved on."""
        return emit.advance(data, elements, ir.MemRefType(self.data.type).element_type)

    @property
    def _element_bytes(self) -> int:
        return 1 if self.element == "i8" else 4

    @property
    def _output_type(self) -> ir.Type:
        return ir.MemRefType(self.output.type).element_type

    def _store_results(self, sums: Sequence[ir.Value], pixels: int, parameters: ir.Value, output: ir.Value) -> None:
        scaled = list[tuple[ir.Value, list[tuple[int, ir.Value]]]]()  # by address
        for b in range(self.filters):
            address, start = self._result(b, parameters, output)
            if not scaled or scaled[-1][0] is not address:
                scaled.append((address, []))
            bias, multiplier = self.isa.load_pair(self._parameter_at(parameters, b, 0))
            shift = self._parameter(parameters, b, 2)
            if self._starts_with_bias:
                bias = emit.splat(0, emit.i32())
            if self.element == "f32":
                bias = arith.bitcast(ir.F32Type.get(), bias)
            for first in range(0, pixels, RESULTS):
                lanes = sums[b * pixels + first : b * pixels + min(first + RESULTS, pixels)]
                totals = emit.from_lanes([self.isa.total(s) for s in lanes])
                at = first * self.geometry.f + start
                if self.rescale:
                    totals = arith.addi(totals, emit.broadcast(bias, ir.VectorType(totals.type)))
                    scale = self._requantization(multiplier, shift, self._bounded)
                    scaled[-1][1].append((at, self.isa.scale(totals, scale, self.rescale)))
                    continue
                results = self._finish(totals, bias, self._requantization(multiplier, shift))
                self.isa.store_strided(results, emit.advance(address, at, self._output_type), self.geometry.f)
        for address, values in scaled:
            if self.rescale:
                self.isa.store_scaled(values, address, self.geometry.f, self.rescale, self.clamp or (-128, 127))

    def _result(self, b: int, parameters: ir.Value, output: ir.Value) -> tuple[ir.Value, int]:
        """Where the first pixel's result of a block's filter is: an address, and elements behind it."""
        return output, b

    def _run(
        self,
        weights: ir.Value,
        data: ir.Value,
        joined: ir.Value,
        sums: Sums,
        behind: int = 0,
        run: Run | None = None,
    ) -> tuple[ir.Value, Sums]:
        """Multiplies one run with each pixel's window.

        Args:
            weights: address of the run's first weight.
            data: address of the first pixel's activations under the run, of its channels in whole vectors.
            joined: the same of its joined channels.
            sums: accumulators of each pixel of the first filter, then of the next.
            behind: bytes from the end of the run's weights to those of the next.
            run: what it is; as the plan says by default.

        Returns:
            the address of the next run's weights, and the sums.
        """
        raise NotImplementedError


def bits(word: ir.Value, start: int, count: int) -> ir.Value:
    """``count`` bits of an i32 from bit ``start`` on, as an unsigned number."""
    word = arith.shrui(word, emit.splat(start, emit.i32())) if start else word
    return arith.andi(word, emit.splat((1 << count) - 1, emit.i32()))
