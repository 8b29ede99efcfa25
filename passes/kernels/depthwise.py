"""The ``depthwise`` kernel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.conv import Window, WindowKernel
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Channels, is_far
from dtmm_mlir.passes.kernels.mve_depthwise import LARGEST
from dtmm_mlir.passes.kernels.rows import RowLayout
from dtmm_mlir.passes.kernels.scaling import is_rectified


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
        """Channels that ``Isa.store_channels`` computes, where it serves; else 0."""
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

        def vector(v: Index) -> None:
            self._channels(self._channel(v, lanes), lanes, pixels, window.source, target)

        emit.loop(0, -(-channels // lanes), vector)

    def _channel(self, vector: Index, lanes: int) -> Index:
        """The first channel of a vector."""
        channel = emit.mul(vector, lanes)
        return emit.minimum(channel, self.geometry.c - lanes) if self.geometry.c % lanes else channel

    def _block_in_halves(self, pixels: int, window: Window, target: Index) -> None:
        assert self.rescale
        inputs = tuple(tuple(at + p * self._step for p in range(pixels)) for at in self._inputs)
        rectified = is_rectified(self.rescale, (-128, 127))
        what = Channels(inputs, self._together, self.geometry.f, self.rescale, rectified)

        def vector(v: Index, weights: ir.Value, parameters: ir.Value) -> tuple[ir.Value, ...]:
            channel = self._channel(v, self._halves)
            data = emit.pointer(self.data, emit.add(window.source, channel))
            output = emit.pointer(self.output, emit.add(target, channel))
            return self.isa.store_channels(what, weights, parameters, data, output)

        tables = [emit.pointer(self.weights), emit.pointer(self.parameter_table)]
        emit.loop(0, len(self._channels_of), vector, tables, unroll=False)

    @property
    def _inputs(self) -> list[int]:
        """Elements from a window's first pixel to the input of each position."""
        return [self.layout.offset(int(position)) for position in self.conv.positions]

    def _channels(self, channel: Index, lanes: int, pixels: int, source: Index, target: Index) -> None:
        """Results of a vector of channels at neighbouring pixels."""
        sums = self._sums(channel, lanes, pixels, emit.add(source, channel))
        bias, multiplier, shift = (self._parameters(kind, channel, lanes) for kind in range(3))
        if lanes == 1:
            multiplier, shift = emit.lane(multiplier, 0), emit.lane(shift, 0)
        scale = self._requantization(multiplier, shift, self._bounded)
        for p, total in enumerate(sums):
            at = emit.add(target, emit.add(p * self.geometry.f, channel))
            emit.store(self._finish(total, bias, scale), self.output, at)

    def _sums(self, channel: Index, lanes: int, pixels: int, start: Index) -> Sequence[ir.Value]:
        """The sums of each pixel without bias; the first one's inputs are those of ``channel`` at ``start``."""
        if self._one_by_one:
            return self._sums_of_channel(channel, pixels, start)
        real, runs = self.element == "f32", len(self.conv.positions)
        type = emit.vector_type(lanes, ir.F32Type.get() if real else emit.i32())
        sums: Sequence[ir.Value] = [emit.splat(0.0 if real else 0, type)] * pixels
        if not self._straight:
            return emit.loop(0, runs, lambda run, *sums: self._add_products(run, channel, start, sums), sums)
        for run in range(runs):
            sums = self._add_products(run, channel, start, sums)
        if lanes == 1 and not real:  # LLVM would have more of them begun than there are registers
            return [emit.from_lanes([total]) for total in emit.at_once([emit.lane(total, 0) for total in sums])]
        return sums

    def _sums_of_channel(self, channel: Index, pixels: int, start: Index) -> list[ir.Value]:
        weights = emit.pointer(self.weights, emit.mul(channel, len(self.conv.positions)))
        data, zeros = emit.pointer(self.data, start), [emit.splat(0, emit.i32())] * pixels
        _, first = np.unique(self.conv.positions // self.geometry.kw, return_index=True)
        rows = [row.tolist() for row in np.split(np.array(self._inputs), first[1:])]
        totals = self.isa.multiply_channel(rows, self._step, weights, data, zeros)
        return [emit.from_lanes([total]) for total in totals]

    def _add_products(self, run: Index, channel: Index, start: Index, sums: Sequence[ir.Value]) -> list[ir.Value]:
        """The sums with the products at one position."""
        data = emit.add(start, self._inputs[run] if isinstance(run, int) else self._offset(run))
        weights = self._load(self.weights, emit.add(emit.mul(run, self.geometry.c), channel), sums[0].type)
        totals = []
        for p, total in enumerate(sums):
            x = self._load(self.data, emit.add(data, p * self._step), total.type)
            real = self.element == "f32"
            product = arith.mulf(x, weights) if real else arith.muli(x, weights)
            totals.append(arith.addf(total, product) if real else arith.addi(total, product))
        return totals

    def _load(self, buffer: ir.Value, at: Index, type: ir.VectorType) -> ir.Value:
        """A vector of f32, or of i8 widened to i32."""
        value = emit.load(buffer, at, type.shape[0])
        return value if value.type == type else arith.extsi(type, value)

    @property
    def _step(self) -> int:
        """Elements from one pixel's input to the next one's."""
        return self.layout.strides[1] * self.layout.pixel

    def _parameters(self, kind: int, channel: Index, lanes: int) -> ir.Value:
        """bias (0), multiplier (1) or shift (2) of ``lanes`` neighbouring channels."""
        value = emit.load(self.parameter_table, emit.add(kind * self.geometry.f, channel), lanes)
        real = emit.vector_type(lanes, ir.F32Type.get())
        return arith.bitcast(real, value) if kind == 0 and self.element == "f32" else value
