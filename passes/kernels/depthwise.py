"""The ``depthwise`` kernel."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.conv import Window, WindowKernel
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Channels, is_far, is_rectified
from dtmm_mlir.passes.kernels.mve_depthwise import LARGEST
from dtmm_mlir.passes.kernels.rows import RowLayout


class DepthwiseKernel(WindowKernel):
    """Channel vector after channel vector, each a walk over the kernel positions that any channel keeps."""

    @property
    def row_type(self) -> ir.Type:
        return ir.Type.parse(self.element)

    def _layout(self) -> RowLayout:
        return RowLayout.plan(self.geometry, self.geometry.group_channels, 0, self.plan.rows, 0, same=True)

    @property
    def offsets(self) -> np.ndarray:
        """None where straight-line code knows them."""
        return np.zeros(0, np.int16) if self._straight else super().offsets

    @property
    def values(self) -> np.ndarray:
        """[positions, channels], or [channels, positions] one by one, or [vectors of channels, positions, lanes] in
        halves."""
        if self._one_by_one:
            return np.ascontiguousarray(self.conv.values.T).reshape(-1)
        if not self._halves:
            return super().values
        return np.ascontiguousarray(self.conv.values[:, self._channels_of].transpose(1, 0, 2)).reshape(-1)

    @property
    def parameters(self) -> np.ndarray:
        """[4, channels], or in halves [vectors of channels, 2, 3, lanes / 2]: bias, multiplier and shift of the even
        channels, then of the odd ones."""
        if not self._halves:
            return super().parameters
        table = super().parameters[:3, self._channels_of]  # [3, vectors, lanes]
        return np.ascontiguousarray(table.reshape(*table.shape[:2], -1, 2).transpose(1, 3, 0, 2)).reshape(-1)

    @property
    def _straight(self) -> bool:
        """Whether the positions are few enough to be straight-line code."""
        return len(self.conv.positions) <= self.plan.unrolled

    @property
    def _one_by_one(self) -> bool:
        """Whether channels go one by one, with ``Isa.multiply_channel``."""
        few = 0 < len(self.conv.positions) <= self.isa.channel_positions
        return self.element == "i8" and self._straight and few

    @cached_property
    def _halves(self) -> int:
        """Channels that ``Isa.multiply_channels`` computes, where it serves; else 0."""
        lanes, some = self.isa.half_lanes, len(self.conv.positions) > 0
        usual = self.element == "i8" and self.rescale and is_far(self.rescale) and self.clamp in (None, (-128, 127))
        return lanes if usual and some and self._straight and lanes <= self.geometry.c else 0

    @property
    def _channels_of(self) -> np.ndarray:
        """[vectors, lanes] int: the last vector overlaps the one before where the channels do not divide."""
        lanes, channels = self._halves, self.geometry.c
        starts = np.minimum(np.arange(0, channels, lanes), channels - lanes)
        return np.add.outer(starts, np.arange(lanes))

    @property
    def _together(self) -> tuple[int, ...]:
        """How many positions, one after the other, have products whose sums fit into i16."""
        counts, totals = [0], np.zeros(self.geometry.c, np.int64)
        for weights in np.abs(self.conv.values.astype(np.int64)):
            totals = totals + weights
            if counts[-1] and totals.max() > LARGEST:
                counts, totals = [*counts, 0], weights
            counts[-1] += 1
        return tuple(counts)

    @property
    def _bounded(self) -> bool:
        """Whether no sum can reach 2^30 in magnitude, whatever the input."""
        if self.element != "i8":
            return False
        weights = np.abs(self.conv.values.astype(np.int64)).sum(axis=0)
        return bool((np.abs(self.conv.bias.astype(np.int64)) + 128 * weights).max() < 1 << 30)

    def _block(self, pixels: int, window: Window, target: Index) -> None:
        if self._halves:
            self._block_in_halves(pixels, window, target)
            return
        channels = self.geometry.c
        lanes = min(self.isa.channel_lanes(self.element), 1 << (channels.bit_length() - 1))
        emit.loop(
            0,
            -(-channels // lanes),
            lambda v: self._channels(self._channel(v, lanes), lanes, pixels, window.source, target),
        )

    def _channel(self, vector: Index, lanes: int) -> Index:
        """The first channel of a vector."""
        channel = emit.mul(vector, lanes)
        return emit.minimum(channel, self.geometry.c - lanes) if self.geometry.c % lanes else channel

    def _block_in_halves(self, pixels: int, window: Window, target: Index) -> None:
        assert self.rescale
        step = self.layout.strides[1] * self.layout.pixel
        inputs = tuple(tuple(at + p * step for p in range(pixels)) for at in self._inputs)
        rectified = is_rectified(self.rescale, (-128, 127))
        what = Channels(inputs, self._together, self.geometry.f, self.rescale, rectified)

        def vector(v: Index, weights: ir.Value, parameters: ir.Value) -> tuple[ir.Value, ...]:
            channel = self._channel(v, self._halves)
            data = emit.pointer(self.data, emit.add(window.source, channel))
            output = emit.pointer(self.output, emit.add(target, channel))
            return self.isa.multiply_channels(what, weights, parameters, data, output)

        tables = [emit.pointer(self.weights), emit.pointer(self.parameter_table)]
        emit.loop(0, len(self._channels_of), vector, tables, unroll=False)

    @property
    def _inputs(self) -> list[int]:
        """Elements from a window's first pixel to the input of each position."""
        return [self.layout.offset(int(position)) for position in self.conv.positions]

    def _channels(self, channel: Index, lanes: int, pixels: int, source: Index, target: Index) -> None:
        real = self.element == "f32"
        type = emit.vector_type(lanes, ir.F32Type.get() if real else emit.i32())
        start = emit.add(source, channel)
        step = self.layout.strides[1] * self.layout.pixel

        def widen(value: ir.Value) -> ir.Value:
            return value if real else arith.extsi(type, value)

        def position(run: Index, *sums: ir.Value) -> list[ir.Value]:
            data = emit.add(start, self._inputs[run] if isinstance(run, int) else self._offset(run))
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
        sums = [emit.splat(0.0 if real else 0, type)] * pixels
        if self._one_by_one:
            weights = emit.pointer(self.weights, emit.mul(channel, runs))
            zeros = [emit.splat(0, emit.i32())] * pixels
            totals = self.isa.multiply_channel(self._inputs, step, weights, emit.pointer(self.data, start), zeros)
            sums = [emit.from_lanes([total]) for total in totals]
        elif not self._straight:
            sums = emit.loop(0, runs, position, sums)
        for run in range(runs) if self._straight and not self._one_by_one else ():
            sums = position(run, *sums)
        if lanes == 1 and not real:
            sums = [emit.from_lanes([total]) for total in emit.at_once([emit.lane(total, 0) for total in sums])]
        bias = self._parameters(0, channel, lanes)
        multiplier, shift = (self._parameters(kind, channel, lanes) for kind in (1, 2))
        if lanes == 1:
            multiplier, shift = (emit.lane(value, 0) for value in (multiplier, shift))
        scale = self._requantization(multiplier, shift, self._bounded)
        for p, total in enumerate(sums):
            at = emit.add(target, emit.add(p * self.geometry.f, channel))
            emit.store(self._finish(total, bias, scale), self.output, at)

    def _parameters(self, kind: int, channel: Index, lanes: int) -> ir.Value:
        """bias (0), multiplier (1) or shift (2) of ``lanes`` neighbouring channels."""
        value = emit.load(self.parameter_table, emit.add(kind * self.geometry.f, channel), lanes)
        real = emit.vector_type(lanes, ir.F32Type.get())
        return arith.bitcast(real, value) if kind == 0 and self.element == "f32" else value
