"""The row buffer: a few padded rows of the input, so that the loops need no bounds checks.

A kernel computes ``Plan.rows`` output rows per refill. The buffer holds the input rows these need, with padding pixels
written out; from one refill to the next the rows still needed move to the front. Where the input already has the
layout that the kernel wants, there is no buffer and the kernel reads the input itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.dialect.ops import Geometry
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Isa

_WORD = 4
"""Rows in two parts are a multiple of so many elements: it keeps the first part aligned."""

_UNROLLED_COPY = 8
"""Vectors copied by straight-line code; longer copies are loops."""

_PER_TURN = 4
"""Vectors copied, and at least those of padding written, in one turn of a loop."""


@dataclass(frozen=True)
class RowLayout:
    """How rows lie in memory; all sizes in elements.

    Attributes:
        geometry: the convolution.
        group_stride: distance between the channels of two groups of one pixel, whole vectors; the joined ones left out.
        joined: channels of a pixel, from its last, that lie behind the row's others: those of all pixels without gaps.
        width: pixels per row, of the channels that are not joined where some are.
        rows: output rows per refill.
        slack: elements after the last row that may be read (and are zero), never used.
        sampling: (vertical, horizontal) of the input's rows and pixels, one in so many lies in the buffer.
        padded: whether the buffer holds padding. Otherwise nobody reads any, but for that beside the joined channels
            where some are joined.
        direct: the input itself has this layout: no buffer.
    """

    geometry: Geometry
    group_stride: int
    joined: int
    width: int
    rows: int
    slack: int
    sampling: tuple[int, int] = (1, 1)
    padded: bool = True
    direct: bool = False

    @staticmethod
    def plan(
        geometry: Geometry, group_stride: int, joined: int, rows: int, slack: int, same: bool, padded: bool = True
    ) -> RowLayout:
        """The layout for ``rows`` output rows per refill, or the input's own where that serves.

        Args:
            same: whether the buffer's elements are of the input's type.
            padded: whether padding is read, where there is any: of channels that are not joined where some are.
        """
        g = geometry
        one_part = g.group_channels in (group_stride, joined)
        if same and one_part and not (padded and any(g.pads)) and not slack:
            return RowLayout(g, group_stride, joined, g.w, g.oh, 0, padded=False, direct=True)
        width = row_pixels(g) if padded else _inside(row_pixels(g), g.pads[2], g.w)
        return RowLayout(g, group_stride, joined, width, min(rows, g.oh), slack, sampling(g), padded)

    @property
    def above(self) -> int:
        """Rows of padding that the first refill begins with."""
        return self.geometry.pads[0] if self.padded or self.rows < self.geometry.oh else 0

    @property
    def left(self) -> int:
        """Pixels of padding that rows begin with."""
        return self.geometry.pads[2] if self.padded else 0

    @property
    def joined_width(self) -> int:
        """Pixels per row of the joined channels."""
        return row_pixels(self.geometry) if self.pixel else self.width

    @property
    def joined_left(self) -> int:
        """Pixels of padding that those begin with."""
        return self.geometry.pads[2] if self.pixel else self.left

    @property
    def is_contiguous(self) -> bool:
        """Whether pixels lie without gaps from row to row, in one part, as they do in the input."""
        g, one_part = self.geometry, self.row == self.width * (self.pixel or self.joined)
        return self.width == g.w and not self.left and self.sampling == (1, 1) and one_part

    @property
    def window(self) -> int:
        """Elements from the first row to the first window's, which may be padding that is not there: 0 or less."""
        return (self.above - self.geometry.pads[0]) * self.row

    @property
    def strides(self) -> tuple[int, int]:
        """(vertical, horizontal) from an output pixel's window to the next one's, in rows and pixels of this layout."""
        (down, right), (y, x) = self.sampling, self.geometry.strides
        return y // down, x // right

    @property
    def pixel(self) -> int:
        """From pixel to pixel, of the channels that are not joined."""
        return self.group_stride * self.geometry.groups

    @property
    def row(self) -> int:
        """From one row to the next; whole words where pixels have both whole vectors and joined channels."""
        size = self.width * self.pixel + self.joined_width * self.joined
        return -(-size // _WORD) * _WORD if self.pixel and self.joined else size

    def whole_at(self, column: Index) -> Index:
        """From the start of a row to a pixel's channels that are not joined; ``column`` counts padding, too."""
        return emit.mul(emit.add(column, self.left - self.geometry.pads[2]), self.pixel)

    def joined_at(self, column: Index) -> Index:
        """The same for the joined channels."""
        column = emit.add(column, self.joined_left - self.geometry.pads[2])
        return emit.add(self.width * self.pixel, emit.mul(column, self.joined))

    @property
    def span(self) -> int:
        """Input rows that ``rows`` output rows read, padding included where it lies in the buffer."""
        g, rows = self.geometry, self.span_of(self.rows)
        return rows if self.padded or self.rows < g.oh else _inside(rows, g.pads[0], g.h)

    @property
    def reach(self) -> int:
        """Input rows that one output row reads, holes of dilation included."""
        return (self.geometry.kh - 1) * self.geometry.dilations[0] + 1

    def span_of(self, rows: int) -> int:
        return (rows - 1) * self.strides[0] + self.reach

    @property
    def size(self) -> int:
        """Elements of the buffer; 0 where there is none."""
        return 0 if self.direct else self.span * self.row + self.slack

    def offset(self, position: int) -> int:
        """Elements from a window's first pixel to kernel position ``ky * KW + kx``.

        The same for joined channels: where only some are joined, runs begin at ``kx = 0``.
        """
        ky, kx = divmod(position, self.geometry.kw)
        return ky * self.geometry.dilations[0] * self.row + kx * self.geometry.dilations[1] * (
            self.pixel or self.joined
        )


def _inside(size: int, before: int, input: int) -> int:
    """How much of ``size``, which begins with padding, is input; none where padding is all that is read."""
    return max(0, min(size - before, input))


def sampling(g: Geometry) -> tuple[int, int]:
    """One in how many rows, and pixels of a row, is read at all: a stride matters only where windows are one wide."""
    if any(g.pads):
        return 1, 1
    return (g.strides[0] if g.kh == 1 else 1), (g.strides[1] if g.kw == 1 else 1)


def row_pixels(g: Geometry) -> int:
    """Pixels that a row of the buffer holds."""
    return (g.ow - 1) * (g.strides[1] // sampling(g)[1]) + (g.kw - 1) * g.dilations[1] + 1


class RowBuffer:
    """Emits the refills of one convolution's row buffer.

    Args:
        layout: where things lie.
        source: the input, ``memref<N*H*W*C x T>``.
        buffer: ``memref<layout.size x T>``; ``None`` where ``layout.direct``.
        padding: what padding pixels hold: the input's zero point.
        isa: how elements are copied.
    """

    def __init__(self, layout: RowLayout, source: ir.Value, buffer: ir.Value | None, padding: int, isa: Isa) -> None:
        self.layout, self.source, self.isa = layout, source, isa
        self.data = source if buffer is None else buffer
        self.padding = padding
        self._row_type = ir.MemRefType(self.data.type).element_type
        self._dtype = np.dtype(
            {"f32": np.float32, "i32": np.int32, "i16": np.int16, "i8": np.int8}[str(self._row_type)]
        )
        self._lanes = isa.lanes(str(ir.MemRefType(source.type).element_type))

    def for_each_row(self, image: Index, body: Callable[[Index, Index], None], together: int = 1) -> None:
        """Calls ``body(output row, element offset of its window in data)`` inside loops over all output rows.

        Args:
            image: element offset of the image in ``source``.
            together: output rows of each call, from the one it is given; they divide those of a refill, but for the
                last one.
        """
        layout, g = self.layout, self.layout.geometry
        step = layout.strides[0] * layout.row
        if layout.direct:
            first = emit.add(image, layout.window)
            emit.loop(0, g.oh, lambda y: body(y, emit.add(first, emit.mul(y, step))), step=together, unroll=False)
            return
        if layout.padded or layout.joined:
            self._write_padding(0, layout.span)
        else:
            self._clear_last_vectors()
        if layout.slack:
            self._write_pattern(layout.span * layout.row, layout.slack, np.zeros(1, self._dtype))

        def block(b: Index) -> None:
            first = emit.mul(b, layout.rows)
            rows = emit.minimum(layout.rows, emit.sub(g.oh, first))
            self._refill(image, b, first, rows)

            def row(r: Index) -> None:
                body(emit.add(first, r), emit.add(emit.mul(r, step), layout.window))

            emit.loop(0, rows, row, step=together, unroll=False)

        emit.loop(0, -(-g.oh // layout.rows), block, unroll=False)

    def _refill(self, image: Index, block: Index, first: Index, rows: Index) -> None:
        layout, g = self.layout, self.layout.geometry
        stride = layout.strides[0]
        overlap = max(layout.reach - stride, 0)
        above = min(layout.above, layout.span)
        if isinstance(block, int):
            inside = min(layout.span - above, -(-g.h // layout.sampling[0]))
            if layout.is_contiguous and not above:
                self._copy_pixels(image, 0, 0, inside * g.w)
                return
            emit.loop(above, above + inside, lambda r: self._copy_row(image, emit.sub(r, above), r))
            return
        needed = emit.add(emit.mul(emit.sub(rows, 1), stride), layout.reach)
        top = emit.sub(emit.mul(first, stride), layout.above)
        start: Index = 0
        if overlap:
            is_first = arith.cmpi(arith.CmpIPredicate.eq, block, emit.index(0))
            start = arith.select(is_first, emit.index(above), emit.index(overlap))
            shift = layout.rows * stride * layout.row
            emit.branch(is_first, lambda: None, lambda: self._move(shift, overlap * layout.row))
        emit.loop(start, needed, lambda r: self._fill_row(image, emit.add(top, r), r))

    def _fill_row(self, image: Index, y: Index, row: Index) -> None:
        """Row ``row`` of the buffer := row ``y`` of those sampled, or padding where the input has no such row."""
        g = self.layout.geometry
        if not g.pads[0] and not g.pads[1]:
            self._copy_row(image, y, row)
            return
        inside = arith.andi(
            arith.cmpi(arith.CmpIPredicate.sge, emit.index(y), emit.index(0)),
            arith.cmpi(arith.CmpIPredicate.slt, emit.index(y), emit.index(g.h)),
        )
        start = emit.mul(row, self.layout.row)
        pad = partial(self._write_padding, start, 1) if self.layout.padded else lambda: None
        emit.branch(inside, lambda: self._copy_row(image, y, row), pad)

    def _copy_row(self, image: Index, y: Index, row: Index) -> None:
        """Row ``row`` of the buffer, but for its padding, := row ``y`` of those sampled."""
        layout, g = self.layout, self.layout.geometry
        copied = min(-(-g.w // layout.sampling[1]), layout.width - layout.left)
        if copied > 0:
            at, source = emit.mul(row, layout.row), emit.mul(y, layout.sampling[0] * g.w * g.c)
            first = g.pads[2]
            target, joined = (emit.add(at, by) for by in (layout.whole_at(first), layout.joined_at(first)))
            self._copy_pixels(emit.add(image, source), target, joined, copied)

    def _copy_pixels(self, source: Index, target: Index, joined: Index, pixels: int) -> None:
        layout, g = self.layout, self.layout.geometry
        right = layout.sampling[1]
        if g.c in (layout.pixel, layout.joined) and right == 1:
            self._copy(source, target if layout.pixel else joined, pixels * g.c)
            return
        whole = g.group_channels - layout.joined

        def pixel(p: Index) -> None:
            def group(i: Index) -> None:
                start = emit.add(emit.mul(p, right * g.c), emit.mul(i, g.group_channels))
                end = emit.add(emit.mul(p, layout.pixel), emit.mul(i, layout.group_stride))
                self._copy(emit.add(source, start), emit.add(target, end), whole)

            if layout.pixel:
                emit.loop(0, g.groups, group)
            if layout.joined:
                start = emit.add(emit.mul(p, right * g.c), whole)
                self._copy(emit.add(source, start), emit.add(joined, emit.mul(p, layout.joined)), layout.joined)

        emit.loop(0, pixels, pixel)

    def _copy(self, source: Index, target: Index, count: int) -> None:
        """Copies exactly ``count`` elements of the input; the last vector overlaps the one before."""
        lanes = min(self._lanes, 1 << (count.bit_length() - 1))

        def piece(i: Index, alignment: int = self._channel_alignment) -> None:
            self.isa.copy(self.source, emit.add(source, i), self.data, emit.add(target, i), lanes, alignment)

        def turn(i: Index) -> None:
            for at in range(_PER_TURN):
                piece(emit.add(i, at * lanes))

        whole = count // lanes * lanes
        looped = whole // (_PER_TURN * lanes) * _PER_TURN * lanes if whole // lanes > _UNROLLED_COPY else 0
        if looped:
            emit.loop(0, looped, turn, step=_PER_TURN * lanes)
        for i in range(looped, whole, lanes):
            piece(i)
        if whole != count:
            piece(count - lanes, 1)

    @property
    def _channel_alignment(self) -> int:
        """Bytes that the channels of all pixels, in the input and in the buffer, begin at multiples of."""
        layout, g = self.layout, self.layout.geometry
        sizes = (g.c, g.group_channels, layout.group_stride, layout.joined, layout.row)
        return 1 if any(size % _WORD for size in sizes) else _WORD

    @property
    def _row_alignment(self) -> int:
        """Bytes that the buffer's rows begin at multiples of."""
        size = self._dtype.itemsize
        return size if self.layout.row * size % _WORD else _WORD

    def _move(self, distance: int, count: int) -> None:
        """Moves ``count`` elements of the buffer, whole rows, from ``distance``, that of a row, to its start; the last
        vector overlaps the one before where it does not read what is written already."""
        lanes = min(self.isa.move_lanes(self._dtype.itemsize), 1 << (count.bit_length() - 1))

        def piece(i: Index, lanes: int = lanes, alignment: int = self._row_alignment) -> None:
            type = emit.vector_type(lanes, self._row_type)
            values = emit.load_from(emit.pointer(self.data, emit.add(i, distance)), type, alignment)
            self.isa.store(values, self.data, i, alignment)

        def turn(i: Index) -> None:
            for at in range(_PER_TURN):
                piece(emit.add(i, at * lanes))

        looped, whole = (count // size * size for size in (_PER_TURN * lanes, lanes))
        if looped:
            emit.loop(0, looped, turn, step=_PER_TURN * lanes)
        for i in range(looped, whole, lanes):
            piece(i)
        if whole != count and count - lanes + distance >= whole:
            piece(count - lanes, alignment=self._dtype.itemsize)
            return
        for i in range(whole, count):
            piece(i, 1, self._dtype.itemsize)

    def _clear_last_vectors(self) -> None:
        """Channels that only fill up the vectors become zero, in a buffer of whole vectors without padding."""
        layout, lanes = self.layout, self._lanes
        zeros = emit.splat(0, emit.vector_type(lanes, self._row_type))
        last = layout.pixel - lanes

        def pixel(p: Index) -> None:
            self.isa.store(zeros, self.data, emit.add(emit.mul(p, layout.pixel), last), _WORD)

        emit.loop(0, layout.span * layout.width, pixel)

    def _write_padding(self, start: Index, rows: int) -> None:
        """``rows`` rows of padding; channels that only fill up the vectors become zero."""
        layout, g = self.layout, self.layout.geometry
        group = np.full(max(layout.group_stride, 1), self.padding, self._dtype)
        if not layout.joined:
            group[g.group_channels :] = 0
        if (group == group[0]).all():
            group = group[:1]
        self._write_pattern(start, rows * layout.row, group)

    def _write_pattern(self, start: Index, count: int, pattern: np.ndarray) -> None:
        """Repeats ``pattern`` over ``count`` elements; its length is 1, or a multiple of ``lanes`` that divides it.

        Args:
            start: the buffer's first element, or that of one of its rows.
        """
        lanes = min(self._lanes, 1 << (count.bit_length() - 1))
        period = max(len(pattern), lanes)
        type = emit.vector_type(lanes, self._row_type)
        values = np.resize(pattern, period).reshape(-1, lanes)
        vectors = [
            arith.ConstantOp(type, ir.DenseElementsAttr.get(np.ascontiguousarray(v), type=type)).result for v in values
        ]
        size = self._dtype.itemsize
        at_start = isinstance(start, int) and start * size % _WORD == 0
        alignment = size if lanes * size % _WORD else _WORD if at_start else self._row_alignment

        def repeat(i: Index, times: int) -> None:
            for at in range(0, times * period, lanes):
                value, to = vectors[at // lanes % len(vectors)], emit.add(start, emit.add(i, at))
                self.isa.store(value, self.data, to, alignment)

        done = 0
        for times in (max(1, _PER_TURN // len(vectors)), 1):
            whole = done + (count - done) // (times * period) * times * period
            if whole > done:
                emit.loop(done, whole, partial(repeat, times=times), step=times * period)
            done = whole
        if done != count:  # only for a pattern of one value: the last vector overlaps the one before
            self.isa.store(vectors[0], self.data, emit.add(start, count - lanes), size)
