"""The ``input_stationary`` kernel: inputs stay in registers while the filters that multiply them pass by.

Costs follow the filterlets that are kept, wherever they are: nothing is loaded for a filter but its own weights and
sums. The name is that of the dataflow in Eyeriss (Chen et al., ISCA 2016).
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, llvm

from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.conv import Window, WindowKernel
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.mve_input_stationary import LANES, UNROLLED, WORD, Passes
from dtmm_mlir.passes.kernels.rows import RowLayout

PARAMETERS = 4
"""Words per filter: bias, multiplier, shift, and one that keeps them aligned."""

_RESULTS = 4
"""Pixels requantized as one vector."""


def stored_sums(pixels: int) -> int:
    """Bytes of one filter's sums: whole vectors."""
    return -(-pixels // _RESULTS) * _RESULTS * WORD


class InputStationaryKernel(WindowKernel):
    """Kernel position after kernel position, each with all filters that keep it; sums are in memory between them."""

    def _layout(self) -> RowLayout:
        g = self.geometry
        return RowLayout.plan(g, -(-g.c // LANES) * LANES, 0, self.plan.rows, 0, same=True)

    @property
    def row_type(self) -> ir.Type:
        return ir.Type.parse(self.element)

    @cached_property
    def _pixels(self) -> int:
        return min(self.plan.pixels, self.geometry.ow) * self.plan.pixel_rows

    @cached_property
    def _passes(self) -> Passes:
        return passes(self.plan, self.layout)

    @cached_property
    def _keeping(self) -> dict[int, np.ndarray]:
        """Of each kernel position that any filter keeps, in order: its filterlets in ``conv.values``."""
        return {int(p): np.flatnonzero(self.conv.positions == p) for p in np.unique(self.conv.positions)}

    @property
    def values(self) -> np.ndarray:
        """By position, then vector along the channels, then filter."""
        g, vectors = self.geometry, self._passes.vectors
        width = (vectors - 1) * LANES + self._passes.last
        padded = np.pad(self.conv.values, ((0, 0), (0, width - g.c)))
        parts = [
            padded[rows, v * LANES : (v + 1) * LANES].reshape(-1)
            for rows in self._keeping.values()
            for v in range(vectors)
        ]
        return np.concatenate([*parts, np.zeros(LANES, np.int8)])

    @property
    def offsets(self) -> np.ndarray:
        """i16, or i32 where they do not fit: of each position, bytes from the inputs before to its, how many filters
        keep it, and which."""
        filters = np.repeat(np.arange(self.geometry.f), self.conv.counts)
        table, at = list[int](), 0
        for position, rows in self._keeping.items():
            offset = self.layout.offset(position)
            table += [offset - at, len(rows), *filters[rows].tolist()]
            at = offset + self._passes.moved
        numbers = np.array(table, np.int32)
        small = not numbers.size or (np.abs(numbers) < 1 << 15).all()
        return numbers.astype(np.int16) if small else numbers

    @property
    def parameters(self) -> np.ndarray:
        """[F, 4] i32: bias, multiplier, shift, and zero."""
        table = np.ascontiguousarray(super().parameters.T)
        table[:, 3] = 0
        return table

    @property
    def buffer_size(self) -> int:
        """Bytes of the row buffer, the sums and the list of passes."""
        words = self._passes.list_words(len(self._keeping), len(self.conv.values))
        return self._sums_at + self.geometry.f * stored_sums(self._pixels) + words * WORD

    @property
    def _sums_at(self) -> int:
        return -(-self.layout.size // LANES) * LANES

    def _begin(self) -> None:
        """Biases as the first sums, and the list of passes."""
        list_at = self._sums_at + self.geometry.f * stored_sums(self._pixels)
        self._sums, self._list = (emit.opaque(emit.pointer(self.memory, at)) for at in (self._sums_at, list_at))

        def bias(f: Index) -> None:
            value = emit.load_scalar(self.parameter_table, emit.mul(f, PARAMETERS))
            self._store_bias(value, emit.advance(self._sums, emit.mul(f, stored_sums(self._pixels))))

        emit.loop(0, self.geometry.f, bias)
        self._write_list()

    def _store_bias(self, bias: ir.Value, sums: ir.Value) -> None:
        type = emit.vector_type(_RESULTS, emit.i32())
        for at in range(0, stored_sums(self._pixels), _RESULTS * WORD):
            emit.store_to(emit.broadcast(bias, type), emit.advance(sums, at), WORD)

    def _write_list(self) -> None:
        entry = ir.MemRefType(self.offset_table.type).element_type
        size, turns, behind = entry.width // 8, self._passes.turns, self._passes.words_behind
        first = llvm.PtrToIntOp(emit.i32(), self._sums).result

        def read(address: ir.Value) -> tuple[ir.Value, ir.Value]:
            value = emit.load_from(address, entry, size)
            return (value if size == WORD else arith.extsi(emit.i32(), value)), emit.advance(address, size)

        def put(address: ir.Value, *words: ir.Value) -> ir.Value:
            for word in words:
                emit.store_to(word, address, WORD)
                address = emit.advance(address, WORD)
            return address

        def position(_: Index, source: ir.Value, target: ir.Value) -> list[ir.Value]:
            offset, source = read(source)
            count, source = read(source)
            start = put(target, offset, count)

            def filter(_: Index, source: ir.Value, target: ir.Value) -> list[ir.Value]:
                number, source = read(source)
                place = arith.muli(number, emit.splat(stored_sums(self._pixels), emit.i32()))
                return [source, put(target, arith.addi(first, place))]

            source, target = emit.loop(0, arith.index_cast(ir.IndexType.get(), count), filter, [source, start])
            words = [llvm.PtrToIntOp(emit.i32(), start).result, emit.splat(turns, emit.i32())][:behind]
            return [source, put(target, *words)]

        begin = emit.advance(self._list, (1 + behind) * WORD)
        carried = [emit.pointer(self.offset_table), begin]
        _, end = emit.loop(0, len(self._keeping), position, carried) if self._keeping else carried
        put(end, *[emit.splat(0, emit.i32())] * 2)

    def _block(self, pixels: int, window: Window, target: Index) -> None:
        pixels = self._pixels
        data = emit.pointer(self.data, window.source)
        weights, output = emit.pointer(self.weights), emit.pointer(self.output, target)
        self.isa.pass_filters(self._passes, len(self._keeping), len(self.conv.values), self._list, weights, data)
        parameters = emit.pointer(self.parameter_table)
        if self.rescale and self.isa.finish_stored(
            self.geometry.f, pixels, parameters, self._sums, output, self.rescale, self.clamp or (-128, 127)
        ):
            return

        def filter(_: Index, parameters: ir.Value, sums: ir.Value, output: ir.Value) -> list[ir.Value]:
            bias, multiplier, shift = (
                emit.load_from(emit.advance(parameters, word * WORD), emit.i32(), WORD) for word in range(3)
            )
            for at in range(0, pixels, _RESULTS):
                type = emit.vector_type(min(_RESULTS, pixels - at), emit.i32())
                totals = emit.load_from(emit.advance(sums, at * WORD), type, WORD)
                zero = emit.splat(0, emit.i32())
                results = self._finish(totals, zero, self._requantization(multiplier, shift))
                place = emit.advance(output, at * self.geometry.f, self._output_type)
                self.isa.store_strided(results, place, self.geometry.f)
            self._store_bias(bias, sums)
            following = emit.advance(output, 1, self._output_type)
            after = emit.advance(sums, stored_sums(pixels))
            return [emit.advance(parameters, PARAMETERS * WORD), after, following]

        emit.loop(0, self.geometry.f, filter, [parameters, self._sums, output])

    @property
    def _output_type(self) -> ir.Type:
        return ir.MemRefType(self.output.type).element_type


def passes(plan: Plan, layout: RowLayout) -> Passes:
    """The passes of a convolution whose inputs lie as ``layout`` says."""
    g = layout.geometry
    rows, columns = range(plan.pixel_rows), range(min(plan.pixels, g.ow))
    inputs = tuple(y * g.strides[0] * layout.row + x * g.strides[1] * layout.pixel for y in rows for x in columns)
    vectors = -(-g.c // LANES)
    last = g.c - (vectors - 1) * LANES if vectors <= UNROLLED else LANES
    return Passes(inputs, vectors, last)
