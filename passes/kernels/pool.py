"""The kernels of the pools."""

from __future__ import annotations

from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.dialect.ops import PoolView
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Isa
from dtmm_mlir.passes.kernels.pieces import for_each_piece

_UNROLLED = 9
"""Elements of a window that straight-line code reads; more take turns of loops."""


class PoolKernel:
    """One pool on one instruction set: result after result, vector of channels after vector, a walk over the window."""

    def __init__(self, op: PoolView, isa: Isa) -> None:
        self.geometry, self.isa = op.geometry, isa

    @property
    def lanes(self) -> int:
        """Channels computed at once."""
        raise NotImplementedError

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

                    def channels(c: Index, lanes: int) -> None:
                        result = self._window(emit.mul(n, g.h), top, left, c, lanes)
                        emit.store(result, self.output, emit.add(target, c))

                    for_each_piece(g.c, self.lanes, channels)

                emit.loop(0, g.ow, pixel)

            emit.loop(0, g.oh, row)

        emit.loop(0, g.n, image)

    def _window(self, image: Index, top: Index, left: Index, channel: Index, lanes: int) -> ir.Value:
        """The result of one window for ``lanes`` neighbouring channels.

        Args:
            image: first row of the image.
            top, left: of the window; may lie in the padding.
        """
        g = self.geometry

        def at(ky: Index, kx: Index) -> ir.Value:
            y, x = _inside(emit.add(top, ky), g.h, g.pads[:2]), _inside(emit.add(left, kx), g.w, g.pads[2:])
            pixel = emit.add(emit.mul(emit.add(image, y), g.w), x)
            return emit.load(self.source, emit.add(emit.mul(pixel, g.c), channel), lanes)

        start = self._start(lanes)
        if g.kh * g.kw <= _UNROLLED:
            for ky in range(g.kh):
                for kx in range(g.kw):
                    start = self._step(start, at(ky, kx))
            return self._finish(start)

        def row(ky: Index, carried: ir.Value) -> list[ir.Value]:
            return emit.loop(0, g.kw, lambda kx, value: [self._step(value, at(ky, kx))], [carried])

        (result,) = emit.loop(0, g.kh, row, [start])
        return self._finish(result)

    def _start(self, lanes: int) -> ir.Value:
        raise NotImplementedError

    def _step(self, carried: ir.Value, values: ir.Value) -> ir.Value:
        raise NotImplementedError

    def _finish(self, carried: ir.Value) -> ir.Value:
        raise NotImplementedError


class MaxPoolKernel(PoolKernel):
    """Padding is read as the nearest element of the image, which every window that reaches there has in it."""

    @property
    def lanes(self) -> int:
        return self.isa.lanes("i8")

    def _start(self, lanes: int) -> ir.Value:
        return emit.splat(-128, emit.vector_type(lanes, ir.IntegerType.get_signless(8)))

    def _step(self, carried: ir.Value, values: ir.Value) -> ir.Value:
        return self.isa.maximum(carried, values)

    def _finish(self, carried: ir.Value) -> ir.Value:
        return carried


class AvgPoolKernel(PoolKernel):
    """Sums in 16 bits where they fit."""

    def __init__(self, op: PoolView, isa: Isa) -> None:
        super().__init__(op, isa)
        self.affine = op.affine

    @property
    def lanes(self) -> int:
        return self.isa.affine_lanes

    def _start(self, lanes: int) -> ir.Value:
        bits = 16 if self.geometry.kh * self.geometry.kw <= 256 else 32
        return emit.splat(0, emit.vector_type(lanes, ir.IntegerType.get_signless(bits)))

    def _step(self, carried: ir.Value, values: ir.Value) -> ir.Value:
        return arith.addi(carried, arith.extsi(carried.type, values))

    def _finish(self, carried: ir.Value) -> ir.Value:
        return self.isa.apply_affine([carried], self.affine, None)


def _inside(at: Index, size: int, pads: tuple[int, int]) -> Index:
    """``at``, or the nearest number from 0 to ``size - 1`` where there is padding."""
    if pads[0]:
        at = arith.maxsi(emit.index(at), emit.index(0))
    return emit.minimum(at, size - 1) if pads[1] else at
