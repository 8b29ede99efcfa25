"""The input of the ``pixel_lanes`` kernel: one plane per column of the kernel, in which pixels lie side by side.

A plane holds, for each output pixel of some rows, the input pixel that one column of the kernel reads there. Output
pixels then follow each other without gaps, whatever strides, dilations and padding are, and a row of the kernel is a
constant distance away: a vector of neighbouring output pixels is one load at every kernel position.

Channels are kept in quads, in one vector or two as the instruction set multiplies them (``Isa.planes_of``), with four
bytes of each pixel: ``planes[row phase][kx][quad][vector][row][x][4]``. Channels that only fill up the last quad hold
anything; their weights are zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.dialect.ops import Geometry
from dtmm_mlir.passes.kernels import emit, quads
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Isa
from dtmm_mlir.passes.kernels.quads import CHANNELS, LANES, QUAD

_VECTOR = LANES * QUAD
"""Bytes of a vector of pixels."""

_UNROLLED = 2
"""Vectors of pixels that straight-line code copies: those along a row that do not lie inside it, if they are few."""


@dataclass(frozen=True)
class PlaneLayout:
    """How planes lie in memory; sizes in bytes.

    Attributes:
        geometry: the convolution, of one group.
        rows: output rows per refill.
        vectors: those of a quad, ``Isa.quad_vectors``.
    """

    geometry: Geometry
    rows: int
    vectors: int = 1

    @property
    def pixels(self) -> int:
        """Output pixels per refill."""
        return self.rows * self.geometry.ow

    @property
    def quads(self) -> int:
        """Quads of channels of each pixel."""
        return -(-self.geometry.c // QUAD)

    @property
    def plane_rows(self) -> int:
        """Rows of a plane: those of the output, and as many more as the kernel reaches down."""
        g = self.geometry
        return self.rows + (g.kh - 1) * g.dilations[0] // g.strides[0]

    @property
    def pitch(self) -> int:
        """From vector to vector of a quad: an odd number of vectors, so that they do not meet in the cache's sets."""
        return (-(-self.plane_rows * self.geometry.ow // LANES) | 1) * _VECTOR

    @property
    def quad_pitch(self) -> int:
        """From quad to quad."""
        return self.vectors * self.pitch

    @property
    def plane(self) -> int:
        """From plane to plane."""
        return self.quads * self.quad_pitch

    @cached_property
    def row_phases(self) -> list[int]:
        """Input rows modulo the stride, counted from the top padding, that the kernel reads: each has planes."""
        g = self.geometry
        return sorted({ky * g.dilations[0] % g.strides[0] for ky in range(g.kh)})

    @property
    def size(self) -> int:
        return len(self.row_phases) * self.geometry.kw * self.plane

    def bytes_of(self, pixels: int) -> int:
        """Of what a block of pixels reads."""
        g = self.geometry
        rows = (g.kh - 1) * g.dilations[0] // g.strides[0]
        lines = len(self.row_phases) * g.kw * self.quads * self.vectors
        return lines * min(pixels + rows * g.ow, self.plane_rows * g.ow) * QUAD

    def offset(self, position: int) -> int:
        """From a pixel's place in the first plane to what kernel position ``ky * KW + kx`` reads there."""
        g = self.geometry
        ky, kx = divmod(position, g.kw)
        down, phase = divmod(ky * g.dilations[0], g.strides[0])
        return (self.row_phases.index(phase) * g.kw + kx) * self.plane + down * g.ow * QUAD


class Planes:
    """Emits the refills of one convolution's planes.

    Args:
        source: the input, ``memref<N*H*W*C x i8>``.
        memory: ``memref<i8>``; the planes are its first ``layout.size`` bytes.
        padding: what padding pixels hold: the input's zero point.
    """

    def __init__(self, layout: PlaneLayout, isa: Isa, source: ir.Value, memory: ir.Value, padding: int) -> None:
        self.layout, self.isa, self.source = layout, isa, source
        self.data = emit.pointer(memory)
        pixel = int.from_bytes(QUAD * [padding & 0xFF], "little", signed=True)
        self._padding = isa.planes_of(emit.splat(pixel, quads.vector_of_quads()))

    def begin(self) -> None:
        """Padding beside the rows, which refills leave alone."""
        layout, g = self.layout, self.layout.geometry
        for kx in range(g.kw):
            first = kx * g.dilations[1] - g.pads[2]  # what pixel 0 reads
            left, right = -(-max(-first, 0) // g.strides[1]), max(-(-(g.w - first) // g.strides[1]), 0)
            columns = {*range(0, min(left, g.ow), LANES), *range(right, g.ow, LANES)}
            for start in (number * g.kw + kx for number in range(len(layout.row_phases))):
                self._pad_columns(start * layout.plane, sorted(columns))

    def _pad_columns(self, plane: int, columns: Sequence[int]) -> None:
        """Padding at each of some columns, and at the 15 pixels behind it, which refills or these stores overwrite."""
        layout = self.layout

        def row(quad: Index, r: Index) -> None:
            at = emit.add(plane, emit.add(emit.mul(quad, layout.quad_pitch), emit.mul(r, layout.geometry.ow * QUAD)))
            for x in columns:
                self._put(self._padding, emit.advance(self.data, at), x, LANES)

        if columns:
            emit.loop(0, layout.quads, lambda quad: emit.loop(0, layout.plane_rows, lambda r: row(quad, r)))

    def refill(self, image: Index, first: Index) -> None:
        """What output rows from ``first`` on read of the image that begins at element ``image``."""
        g = self.layout.geometry
        for number, phase in enumerate(self.layout.row_phases):

            def row(r: Index, number: int = number, phase: int = phase) -> None:
                y = emit.add(emit.mul(emit.add(first, r), g.strides[0]), phase - g.pads[0])
                target = emit.add(number * g.kw * self.layout.plane, emit.mul(r, g.ow * QUAD))
                inside = arith.cmpi(arith.CmpIPredicate.ult, emit.index(y), emit.index(g.h))
                emit.branch(inside, lambda: self._copy_row(image, y, target), lambda: self._pad_row(target))

            emit.loop(0, self.layout.plane_rows, row)

    def _pad_row(self, target: Index) -> None:
        layout, g = self.layout, self.layout.geometry

        def quad(i: Index) -> None:
            start = emit.advance(self.data, emit.add(target, emit.mul(i, layout.quad_pitch)))
            emit.loop(0, g.ow, lambda x: self._put(self._padding, start, x, LANES), step=LANES)

        emit.loop(0, g.kw * layout.quads, quad)

    def _copy_row(self, image: Index, y: Index, target: Index) -> None:
        """Input row ``y``, column phase after column phase: columns modulo the stride."""
        g = self.layout.geometry
        starts = [kx * g.dilations[1] - g.pads[2] for kx in range(g.kw)]
        source = emit.add(image, emit.mul(y, g.w * g.c))
        for phase in sorted({start % g.strides[1] for start in starts}):
            shifts = {
                kx: (start - phase) // g.strides[1] for kx, start in enumerate(starts) if start % g.strides[1] == phase
            }
            self._copy_columns(emit.add(source, phase * g.c), phase, shifts, target)

    def _copy_columns(self, source: Index, phase: int, shifts: dict[int, int], target: Index) -> None:
        """Every stride-th column from ``phase`` on.

        Args:
            shifts: by column of the kernel, what pixel 0 of its plane reads, counted in such columns.
        """
        g = self.layout.geometry
        columns = min(-(-(g.w - phase) // g.strides[1]), g.ow + max(shifts.values()))
        if columns <= 0:
            return
        valid, step = min(columns, LANES), g.strides[1] * g.c

        def block(b: Index, whole: bool = False) -> None:
            column = emit.mul(b, LANES) if whole else emit.minimum(emit.mul(b, LANES), columns - valid)
            at = emit.add(source, emit.mul(column, step))

            def put(quad: Index, value: ir.Value) -> None:
                values = self.isa.planes_of(value)
                for kx, shift in shifts.items():
                    plane = emit.add(kx * self.layout.plane, emit.mul(quad, self.layout.quad_pitch))
                    start = emit.advance(self.data, emit.add(target, plane))
                    self._put(values, start, emit.sub(column, shift), None if whole else valid)

            def channels(i: Index, bytes: int = CHANNELS) -> None:
                pixels = [emit.add(at, emit.add(emit.mul(i, CHANNELS), p * step)) for p in range(valid)]
                before = CHANNELS if g.c >= CHANNELS else 0
                for q, value in enumerate(quads.load(self.isa, self.source, pixels, bytes, before)):
                    put(emit.add(emit.mul(i, CHANNELS // QUAD), q), value)

            if step <= QUAD:
                put(0, quads.load_dense(self.isa, self.source, at, valid, step))
                return
            if g.c >= CHANNELS:
                emit.loop(0, g.c // CHANNELS, channels)
            if g.c % CHANNELS:
                channels(g.c // CHANNELS, g.c % CHANNELS)

        blocks = range(-(-columns // LANES))
        inside = [
            b for b in blocks[: columns // LANES] if all(0 <= b * LANES - s <= g.ow - LANES for s in shifts.values())
        ]
        at_ends = [b for b in blocks if b not in inside]
        if len(at_ends) > _UNROLLED:
            emit.loop(0, len(blocks), block)
            return
        for b in at_ends:
            block(b)
        if inside:
            emit.loop(inside[0], inside[-1] + 1, lambda b: block(b, whole=True))

    def _put(self, values: Sequence[ir.Value], row: ir.Value, x: Index, valid: int | None) -> None:
        """Stores the first ``valid`` pixels as those from ``x`` on of a row, as far as they lie in it.

        Args:
            values: what ``Isa.planes_of`` made of a quad.
            valid: ``None`` for all, where they are known to lie in the row.
        """
        store = self._storing(x, valid)
        for number, value in enumerate(values):
            store(value, emit.advance(row, emit.add(emit.mul(x, QUAD), number * self.layout.pitch)))

    def _storing(self, x: Index, valid: int | None) -> Callable[[ir.Value, ir.Value], None]:
        """What stores a vector at an address, as ``_put`` says."""
        width = self.layout.geometry.ow
        if valid is None:
            return emit.store_to
        if isinstance(x, int):
            first = max(-x, 0)
            return partial(self.isa.store_lanes, lanes=range(first, max(min(valid, width - x), first)))
        lanes, type = np.arange(LANES, dtype=np.int32), quads.vector_of_quads()
        counted = emit.constant_vector(np.where(lanes < valid, lanes, -(1 << 30)).astype(np.int32))
        places = arith.addi(emit.broadcast(arith.index_cast(emit.i32(), x), type), counted)
        return partial(emit.store_masked, mask=arith.cmpi(arith.CmpIPredicate.ult, places, emit.splat(width, type)))
