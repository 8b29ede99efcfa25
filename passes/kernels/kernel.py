"""The loops of a packed convolution: over images, rows, blocks of pixels, filters or channels, and runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.dialect.ops import Clamp, Geometry, PackedConvView, Rescale
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Isa, Prepared, Requantization
from dtmm_mlir.passes.kernels.rows import RowBuffer, RowLayout
from dtmm_mlir.passes.runs import UNROLLED_ELEMENTS, Steps

_UNROLLED_WEIGHTS = 24
"""Vectors of weights that the innermost loop body loads; longer runs take several turns."""

_WORD = 4
"""Bytes that padded pixels are aligned to, at least: word loads reach further than byte loads."""


class ConvKernel:
    """One packed convolution on one instruction set.

    Its buffers, in the order of the dispatch's operands and results:

    - input: [N * H * W * C] i8 or f32
    - values: [runs * length + padding], the runs' weights; the padding keeps the last vector inside
    - offsets: [runs] i16 or i32, elements from a window's first pixel to each run
    - parameters: [F, 4] or [4, F] i32: bias, multiplier, shift (``Isa.stored_shift``), runs; f32 biases as their bits
    - rows: the row buffer, where the layout needs one
    - output: [N * OH * OW * F] i8, i32 or f32
    """

    def __init__(self, conv: PackedConvView, isa: Isa) -> None:
        self.conv, self.isa = conv, isa
        self.geometry: Geometry = conv.geometry
        self.plan = Plan.read(conv.op.attributes["plan"])
        self.element, self.output_element = conv.element_type, conv.output_type
        self.rescale: Rescale | None = conv.rescale
        self.clamp = _clamp(conv)
        self.length = conv.values.shape[1]
        self.layout = self._layout()

    # What the kernel is given.

    def _layout(self) -> RowLayout:
        raise NotImplementedError

    @property
    def values(self) -> np.ndarray:
        return self.conv.values.reshape(-1)

    @property
    def offsets(self) -> np.ndarray:
        offsets = np.array([self.layout.offset(int(p)) for p in self.conv.positions], np.int32)
        return offsets.astype(np.int16) if not offsets.size or offsets.max() < 1 << 15 else offsets

    @property
    def parameters(self) -> np.ndarray:
        """[4, F] i32: bias, multiplier, shift and runs."""
        filters = self.geometry.f
        counts = np.zeros(filters, np.int32)
        counts[: len(self.conv.counts)] = self.conv.counts
        zeros = np.zeros(filters, np.int32)
        multiplier = self.rescale.multiplier if self.rescale else zeros
        shift = self.isa.stored_shift(self.rescale) if self.rescale else zeros
        bias = np.ascontiguousarray(self.conv.bias).view(np.int32)
        return np.stack([bias, multiplier, shift, counts])

    # The loops.

    def emit(
        self,
        source: ir.Value,
        values: ir.Value,
        offsets: ir.Value,
        parameters: ir.Value,
        rows: ir.Value | None,
        output: ir.Value,
    ) -> None:
        """Emits the kernel at the current insertion point; the arguments are flat memrefs."""
        g = self.geometry
        self.weights, self.offset_table, self.parameter_table, self.output = (
            values,
            offsets,
            parameters,
            output,
        )
        self.buffer = RowBuffer(self.layout, source, rows, self.conv.input_zero_point, self.isa.lanes(self.element))
        self.data = self.buffer.data

        def image(n: Index) -> None:
            def row(y: Index, window: Index) -> None:
                target = emit.mul(emit.add(emit.mul(n, g.oh), y), g.ow * g.f)
                self._pixel_blocks(window, target)

            self.buffer.for_each_row(emit.mul(n, g.h * g.w * g.c), row)

        emit.loop(0, g.n, image)

    def _pixel_blocks(self, window: Index, target: Index) -> None:
        """One output row; the last block overlaps the one before where the width does not divide."""
        g = self.geometry
        pixels = min(self.plan.pixels, g.ow)

        def block(b: Index) -> None:
            x = emit.mul(b, pixels)
            if g.ow % pixels:
                x = emit.minimum(x, g.ow - pixels)
            source = emit.add(window, emit.mul(x, g.strides[1] * self.layout.pixel))
            self._block(pixels, source, emit.add(target, emit.mul(x, g.f)))

        emit.loop(0, -(-g.ow // pixels), block)

    def _block(self, pixels: int, source: Index, target: Index) -> None:
        """``pixels`` neighbouring output pixels, all filters."""
        raise NotImplementedError

    def _offset(self, run: Index) -> ir.Value:
        return arith.index_cast(ir.IndexType.get(), emit.load_scalar(self.offset_table, run))

    def _finish(self, sums: ir.Value, bias: ir.Value, scale: Requantization) -> ir.Value:
        """Sums (vector of i32 or f32) to results: bias, rescale, clamp."""
        type = ir.VectorType(sums.type)
        if not isinstance(bias.type, ir.VectorType):
            bias = emit.broadcast(bias, type)
        if self.element == "f32":
            sums = arith.addf(sums, bias)
            if self.clamp:
                low, high = (emit.splat(bound, type) for bound in self.clamp)
                sums = arith.select(arith.cmpf(arith.CmpFPredicate.OLT, sums, low), low, sums)  # NaN stays NaN
                sums = arith.select(arith.cmpf(arith.CmpFPredicate.OGT, sums, high), high, sums)
            return sums
        sums = arith.addi(sums, bias)
        if self.rescale:
            return self.isa.requantize(sums, scale, self.rescale, self.clamp or (-128, 127))
        if self.clamp:
            sums = arith.maxsi(sums, emit.splat(self.clamp[0], type))
            sums = arith.minsi(sums, emit.splat(self.clamp[1], type))
        return sums


class FilterKernel(ConvKernel):
    """Block of filters after block of filters, each a walk over its runs: vectors lie along the channels.

    The last block overlaps the one before where the filters do not divide.
    """

    @property
    def values(self) -> np.ndarray:
        return np.concatenate([self._ordered_values.reshape(-1), np.zeros(self.isa.lanes(self.element), self.dtype)])

    @property
    def _ordered_values(self) -> np.ndarray:
        """[runs, stored elements] the weights of each run in the order in which ``_run`` loads them."""
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype:
        return self.conv.values.dtype

    @property
    def parameters(self) -> np.ndarray:
        """[F, 4] i32: one filter's lie together; a block's runs are with its first filter."""
        table = super().parameters.T.copy()
        table[:, 3] = 0
        for block, runs in enumerate(self.conv.counts):
            table[self.plan.first_filter(block, self.geometry.f), 3] = runs
        return table

    @property
    def filters(self) -> int:
        return self.plan.filters

    def _parameter(self, kind: int, filter: Index) -> ir.Value:
        """bias (0), multiplier (1), shift (2) or runs (3) of one filter."""
        value = emit.load_scalar(self.parameter_table, emit.add(emit.mul(filter, 4), kind))
        return arith.bitcast(ir.F32Type.get(), value) if kind == 0 and self.element == "f32" else value

    def _block(self, pixels: int, source: Index, target: Index) -> None:
        g = self.geometry
        per_group = g.f // g.groups

        def group(i: Index, run: ir.Value) -> list[ir.Value]:
            start = emit.add(source, emit.mul(i, self.layout.group_stride))

            def block(j: Index, run: ir.Value) -> list[ir.Value]:
                first = emit.mul(j, self.filters)
                if per_group % self.filters:
                    first = emit.minimum(first, per_group - self.filters)
                filter = emit.add(emit.mul(i, per_group), first)
                return [self._filters(filter, run, pixels, start, target)]

            return emit.loop(0, -(-per_group // self.filters), block, [run])

        emit.loop(0, g.groups, group, [emit.index(0)])

    def _filters(self, filter: Index, run: ir.Value, pixels: int, source: Index, target: Index) -> ir.Value:
        """One block of filters at ``pixels`` pixels; returns the next block's first run."""
        count = arith.index_cast(ir.IndexType.get(), self._parameter(3, filter))
        end = emit.index(emit.add(run, count))
        zeros = [self.isa.zero(self.element)] * (pixels * self.filters)
        sums = emit.loop(run, end, lambda r, *sums: self._run(r, sums, source), zeros)
        for b in range(self.filters):
            totals = emit.from_lanes([self.isa.total(s) for s in sums[b * pixels : (b + 1) * pixels]])
            at = emit.add(filter, b)
            scale = Requantization(self._parameter(1, at), self._parameter(2, at))
            results = self._finish(totals, self._parameter(0, at), scale)
            self.isa.store_strided(results, self.output, emit.add(target, at), self.geometry.f)
        return end

    def _run(self, run: Index, sums: Sequence[ir.Value], source: Index) -> list[ir.Value]:
        """Multiplies one run with each pixel's window.

        Args:
            sums: accumulators of each pixel of the first filter, then of the next.
        """
        raise NotImplementedError


class TableKernel(FilterKernel):
    """Pixels padded to whole vectors: neighbouring pixels share the inputs of a run."""

    def _layout(self) -> RowLayout:
        g, together = self.geometry, self.plan.filters * self.plan.run_width
        self.steps = Steps.of(g.group_channels, self.isa.lanes(self.element), max(1, _UNROLLED_WEIGHTS // together))
        return RowLayout.plan(g, self.steps.elements, self.plan.rows, 0)

    @property
    def _chunk(self) -> int:
        """Elements that are stored of a filterlet's last vector: only those there are, where all is one turn."""
        lanes = self.steps.lanes
        return lanes if self.steps.turns > 1 else (self.geometry.group_channels - 1) % lanes + 1

    @property
    def _ordered_values(self) -> np.ndarray:
        """By vector, then position of the run, then filter; whole vectors but for the last."""
        runs, lanes, channels = len(self.conv.values), self.steps.lanes, self.geometry.group_channels
        values = self.conv.values.reshape(runs, self.filters, self.plan.run_width, channels).transpose(0, 2, 1, 3)
        stored = self.steps.elements - lanes + self._chunk
        values = np.pad(values, ((0, 0), (0, 0), (0, 0), (0, stored - channels)))
        chunks = np.split(values, range(lanes, stored, lanes), axis=3)
        return np.concatenate([chunk.reshape(runs, chunk[0].size if runs else 0) for chunk in chunks], axis=1)

    def _run(self, run: Index, sums: Sequence[ir.Value], source: Index) -> list[ir.Value]:
        g, steps = self.geometry, self.steps
        width, filters, pixels = self.plan.run_width, self.filters, len(sums) // self.filters
        vector = width * filters * steps.lanes
        stored = width * filters * (steps.elements - steps.lanes + self._chunk)
        data, weights = emit.add(source, self._offset(run)), emit.mul(run, stored)

        def turn(t: Index, *sums: ir.Value) -> list[ir.Value]:
            carried = list(sums)
            first = emit.add(weights, emit.mul(t, steps.vectors * vector))
            start = emit.add(data, emit.mul(t, steps.vectors * steps.lanes))
            for v in range(steps.vectors):
                size = self._chunk if v == steps.vectors - 1 else steps.lanes
                inputs: dict[int, Prepared] = {}
                for k in range(width):
                    for b in range(filters):
                        at = v * vector + (k * filters + b) * size
                        w = self.isa.prepare(emit.load(self.weights, emit.add(first, at), steps.lanes))
                        for p in range(pixels):
                            column = p * g.strides[1] + k * g.dilations[1]
                            if column not in inputs:
                                at = column * self.layout.pixel + v * steps.lanes
                                x = emit.load(self.data, emit.add(start, at), steps.lanes, _WORD)
                                inputs[column] = self.isa.prepare(x)
                            number = b * pixels + p
                            carried[number] = self.isa.mac(carried[number], inputs[column], w)
            return carried

        return emit.loop(0, steps.turns, turn, list(sums))


class JoinedKernel(FilterKernel):
    """Pixels as they lie in the input, for few channels: a run's inputs are contiguous, one vector or a few."""

    def _layout(self) -> RowLayout:
        lanes, stored = self.isa.lanes(self.element), self.length // self.filters
        self.steps = Steps.of(stored, lanes, UNROLLED_ELEMENTS // lanes)
        if self.steps.turns == 1:  # no need to multiply the padding
            self.steps = Steps.of(self.plan.run_width * self.geometry.c, lanes, stored)
        return RowLayout.plan(self.geometry, self.geometry.c, self.plan.rows, self.steps.elements)

    @property
    def _ordered_values(self) -> np.ndarray:
        """By vector, then filter."""
        runs = len(self.conv.values)
        vectors = self.length // self.filters // self.steps.lanes
        values = self.conv.values.reshape(runs, self.filters, vectors, self.steps.lanes)
        return values.transpose(0, 2, 1, 3).reshape(runs, self.length)

    def _run(self, run: Index, sums: Sequence[ir.Value], source: Index) -> list[ir.Value]:
        steps, pixels = self.steps, len(sums) // self.filters
        data, weights = emit.add(source, self._offset(run)), emit.mul(run, self.length)
        step = self.geometry.strides[1] * self.layout.pixel

        def turn(t: Index, *sums: ir.Value) -> list[ir.Value]:
            carried = list(sums)
            for v in range(steps.vectors):
                at = emit.add(emit.mul(t, steps.vectors * steps.lanes), v * steps.lanes)
                inputs = [
                    self.isa.prepare(emit.load(self.data, emit.add(emit.add(data, at), p * step), steps.lanes))
                    for p in range(pixels)
                ]
                for b in range(self.filters):
                    stored = emit.add(emit.mul(at, self.filters), b * steps.lanes)
                    w = self.isa.prepare(emit.load(self.weights, emit.add(weights, stored), steps.lanes))
                    for p in range(pixels):
                        number = b * pixels + p
                        carried[number] = self.isa.mac(carried[number], inputs[p], w)
            return carried

        return emit.loop(0, steps.turns, turn, list(sums))


class DepthwiseKernel(ConvKernel):
    """Channel vector after channel vector, each a walk over the kernel positions that any channel keeps."""

    def _layout(self) -> RowLayout:
        return RowLayout.plan(self.geometry, self.geometry.group_channels, self.plan.rows, 0)

    def _block(self, pixels: int, source: Index, target: Index) -> None:
        channels = self.geometry.c
        lanes = min(self.isa.channel_lanes(self.element), 1 << (channels.bit_length() - 1))

        def vector(v: Index) -> None:
            channel = emit.mul(v, lanes)
            if channels % lanes:
                channel = emit.minimum(channel, channels - lanes)
            self._channels(channel, lanes, pixels, source, target)

        emit.loop(0, -(-channels // lanes), vector)

    def _channels(self, channel: Index, lanes: int, pixels: int, source: Index, target: Index) -> None:
        real = self.element == "f32"
        type = emit.vector_type(lanes, ir.F32Type.get() if real else emit.i32())
        start = emit.add(source, channel)
        step = self.geometry.strides[1] * self.layout.pixel

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
        scale = Requantization(self._parameters(1, channel, lanes), self._parameters(2, channel, lanes))
        for p, total in enumerate(sums):
            at = emit.add(target, emit.add(p * self.geometry.f, channel))
            emit.store(self._finish(total, bias, scale), self.output, at)

    def _parameters(self, kind: int, channel: Index, lanes: int) -> ir.Value:
        """bias (0), multiplier (1) or shift (2) of ``lanes`` neighbouring channels."""
        value = emit.load(self.parameter_table, emit.add(kind * self.geometry.f, channel), lanes)
        real = emit.vector_type(lanes, ir.F32Type.get())
        return arith.bitcast(real, value) if kind == 0 and self.element == "f32" else value


def _clamp(conv: PackedConvView) -> Clamp | None:
    """The op's clamp, within i8 where the result is i8."""
    if conv.clamp is None or conv.output_type != "i8":
        return conv.clamp
    return (max(int(conv.clamp[0]), -128), min(int(conv.clamp[1]), 127))


def kernel_of(conv: PackedConvView, isa: Isa) -> ConvKernel:
    """The kernel that the op's plan names."""
    kinds = {"table": TableKernel, "joined": JoinedKernel, "depthwise": DepthwiseKernel}
    return kinds[Plan.read(conv.op.attributes["plan"]).kernel](conv, isa)
