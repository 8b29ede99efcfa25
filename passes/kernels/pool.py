"""The kernels of the pools."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.dialect.ops import PoolView
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Isa

_UNROLLED = 9
"""Elements of a window, or else of one of its rows, that straight-line code reads; more take turns of a loop."""

_UNROLLED_CHANNELS = 24
"""Vectors that straight-line code reads for all channels of a window; more take turns of a loop."""

_MOST_IN_16_BITS = 256
"""Elements of i8 whose sum always fits into i16."""


class PoolKernel:
    """One pool on one instruction set: result after result, vector of channels after vector, a walk over the window."""

    def __init__(self, op: PoolView, isa: Isa) -> None:
        self.geometry, self.isa = op.geometry, isa

    @property
    def most_lanes(self) -> int:
        """Channels that the instruction set computes at once."""
        raise NotImplementedError

    @property
    def lanes(self) -> int:
        """Channels computed at once: no more than there are."""
        c = self.geometry.c
        return min(self.most_lanes, c if self.isa.partial_vectors else 1 << (c.bit_length() - 1))

    def emit(self, source: ir.Value, output: ir.Value) -> None:
        """Emits the kernel at the current insertion point; the arguments are flat memrefs."""
        g = self.geometry
        self.source, self.output = source, output
        self.isa.begin()

        def image(n: Index) -> None:
            def row(y: Index) -> None:
                def pixel(x: Index) -> None:
                    target = emit.mul(emit.add(emit.mul(emit.add(emit.mul(n, g.oh), y), g.ow), x), g.c)
                    top = emit.sub(emit.mul(y, g.strides[0]), g.pads[0])
                    left = emit.sub(emit.mul(x, g.strides[1]), g.pads[2])

                    def channels(c: Index) -> None:
                        carried = self._window(emit.mul(n, g.h), top, left, c)
                        self._finish(carried, emit.add(target, c))

                    self._for_each_vector(channels)

                emit.loop(0, g.ow, pixel)

            emit.loop(0, g.oh, row)

        emit.loop(0, g.n, image)

    def _for_each_vector(self, body: Callable[[Index], None]) -> None:
        """Calls ``body`` with the first channel of each vector; the last one overlaps the one before."""
        g, lanes = self.geometry, self.lanes
        vectors = -(-g.c // lanes)
        if vectors * g.kh * g.kw <= _UNROLLED_CHANNELS:
            for v in range(vectors):
                body(min(v * lanes, g.c - lanes))
        elif g.c % lanes:
            emit.loop(0, vectors, lambda v: body(emit.minimum(emit.mul(v, lanes), g.c - lanes)))
        else:
            emit.loop(0, g.c, body, step=lanes)

    def _window(self, image: Index, top: Index, left: Index, channel: Index) -> ir.Value:
        """All steps of one window for the vector of channels that begins with ``channel``.

        Args:
            image: first row of the image.
            top, left: of the window; may lie in the padding.
        """
        g = self.geometry

        def at(ky: Index, kx: Index) -> ir.Value:
            y, x = _inside(emit.add(top, ky), g.h, g.pads[:2]), _inside(emit.add(left, kx), g.w, g.pads[2:])
            pixel = emit.add(emit.mul(emit.add(image, y), g.w), x)
            return self._load(emit.add(emit.mul(pixel, g.c), channel))

        def row(ky: Index, carried: ir.Value) -> list[ir.Value]:
            if g.kw > _UNROLLED:
                return emit.loop(0, g.kw, lambda kx, value: [self._step(value, at(ky, kx))], [carried])
            return [reduce(self._step, [at(ky, kx) for kx in range(g.kw)], carried)]

        if g.kh * g.kw > _UNROLLED:
            return emit.loop(0, g.kh, row, [self._begin(at(0, 0), again=True)])[0]
        first, *others = (at(ky, kx) for ky in range(g.kh) for kx in range(g.kw))
        return reduce(self._step, others, self._begin(first, again=False))

    def _load(self, at: Index) -> ir.Value:
        """A vector of the input."""
        raise NotImplementedError

    def _begin(self, first: ir.Value, again: bool) -> ir.Value:
        """What ``_step`` begins with.

        Args:
            first: the window's first elements.
            again: whether they are among those of the steps.
        """
        raise NotImplementedError

    def _step(self, carried: ir.Value, values: ir.Value) -> ir.Value:
        raise NotImplementedError

    def _finish(self, carried: ir.Value, at: Index) -> None:
        """Stores the result at an element of the output."""
        raise NotImplementedError


class MaxPoolKernel(PoolKernel):
    """Padding is read as the nearest element of the image, which every window that reaches there has in it."""

    @property
    def most_lanes(self) -> int:
        return self.isa.max_lanes

    def _load(self, at: Index) -> ir.Value:
        return self.isa.load_elements(self.source, at, self.lanes)

    def _begin(self, first: ir.Value, again: bool) -> ir.Value:
        return first

    def _step(self, carried: ir.Value, values: ir.Value) -> ir.Value:
        return self.isa.maximum(carried, values, self.lanes)

    def _finish(self, carried: ir.Value, at: Index) -> None:
        self.isa.store_elements(carried, self.output, at, self.lanes)


class AvgPoolKernel(PoolKernel):
    """Sums in 16 bits where they fit."""

    def __init__(self, op: PoolView, isa: Isa) -> None:
        super().__init__(op, isa)
        self.affine = op.affine

    @property
    def most_lanes(self) -> int:
        return self.isa.sum_lanes

    def _load(self, at: Index) -> ir.Value:
        bits = 16 if self.geometry.kh * self.geometry.kw <= _MOST_IN_16_BITS else 32
        lanes = self.most_lanes if self.isa.partial_vectors else self.lanes
        type = emit.vector_type(lanes, ir.IntegerType.get_signless(bits))
        return arith.extsi(type, emit.load_first(self.source, at, self.lanes, lanes))

    def _begin(self, first: ir.Value, again: bool) -> ir.Value:
        return emit.splat(0, first.type) if again else first

    def _step(self, carried: ir.Value, values: ir.Value) -> ir.Value:
        return arith.addi(carried, values)

    def _finish(self, carried: ir.Value, at: Index) -> None:
        emit.store_first(self.isa.apply_affine([carried], self.affine, None), self.output, at, self.lanes)


def _inside(at: Index, size: int, pads: tuple[int, int]) -> Index:
    """``at``, or the nearest number from 0 to ``size - 1`` where there is padding."""
    if pads[0]:
        at = arith.maxsi(emit.index(at), emit.index(0))
    return emit.minimum(at, size - 1) if pads[1] else at
