"""The ``depthwise`` kernel."""

from __future__ import annotations

from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.conv import Window, WindowKernel
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.rows import RowLayout


class DepthwiseKernel(WindowKernel):
    """Channel vector after channel vector, each a walk over the kernel positions that any channel keeps."""

    @property
    def row_type(self) -> ir.Type:
        return ir.Type.parse(self.element)

    def _layout(self) -> RowLayout:
        return RowLayout.plan(self.geometry, self.geometry.group_channels, 0, self.plan.rows, 0, same=True)

    def _block(self, pixels: int, window: Window, target: Index) -> None:
        channels = self.geometry.c
        lanes = min(self.isa.channel_lanes(self.element), 1 << (channels.bit_length() - 1))

        def vector(v: Index) -> None:
            channel = emit.mul(v, lanes)
            if channels % lanes:
                channel = emit.minimum(channel, channels - lanes)
            self._channels(channel, lanes, pixels, window.source, target)

        emit.loop(0, -(-channels // lanes), vector)

    def _channels(self, channel: Index, lanes: int, pixels: int, source: Index, target: Index) -> None:
        real = self.element == "f32"
        type = emit.vector_type(lanes, ir.F32Type.get() if real else emit.i32())
        start = emit.add(source, channel)
        step = self.layout.strides[1] * self.layout.pixel

        def widen(value: ir.Value) -> ir.Value:
            return value if real else arith.extsi(type, value)

        def position(run: Index, *sums: ir.Value) -> list[ir.Value]:
            data = emit.add(start, self._offset(run))
            at = emit.add(emit.mul(run, channels), channel)
            w = widen(emit.load(self.weights, at, lanes))
            carried = []
            for p, total in enumerate(sums):
                x = widen(emit.load(self.data, emit.add(data, p * step), lanes))
                product = arith.mulf(x, w) if real else arith.muli(x, w)
                carried.append(arith.addf(total, product) if real else arith.addi(total, product))
            return carried

        channels = self.geometry.c
        runs = int(self.conv.counts[0])
        zeros = [emit.splat(0.0 if real else 0, type)] * pixels
        sums = emit.loop(0, runs, position, zeros) if runs else zeros
        bias = self._parameters(0, channel, lanes)
        scale = self._requantization(self._parameters(1, channel, lanes), self._parameters(2, channel, lanes))
        for p, total in enumerate(sums):
            at = emit.add(target, emit.add(p * self.geometry.f, channel))
            emit.store(self._finish(total, bias, scale), self.output, at)

    def _parameters(self, kind: int, channel: Index, lanes: int) -> ir.Value:
        """bias (0), multiplier (1) or shift (2) of ``lanes`` neighbouring channels."""
        value = emit.load(self.parameter_table, emit.add(kind * self.geometry.f, channel), lanes)
        real = emit.vector_type(lanes, ir.F32Type.get())
        return arith.bitcast(real, value) if kind == 0 and self.element == "f32" else value
