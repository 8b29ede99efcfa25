"""What the kernels share: parameters, the loops over images, rows and blocks of pixels, and the end of each sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.dialect import reference
from dtmm_mlir.dialect.ops import Clamp, Geometry, PackedConvView, Rescale
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.constants import Pattern
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Isa, Requantization
from dtmm_mlir.passes.kernels.rows import RowBuffer, RowLayout
from dtmm_mlir.passes.kernels.scaling import is_rectified

WORD = 4
"""Bytes of a parameter."""

RESULTS = 4
"""Pixels of one filter that are stored together."""


@dataclass(frozen=True)
class Window:
    """What a block of neighbouring output pixels reads.

    Attributes:
        source: element of ``data`` where the first pixel's channels in whole vectors begin.
        joined: where its joined channels begin.
    """

    source: Index
    joined: Index


class ConvKernel:
    """One packed convolution on one instruction set.

    Its buffers, in the order of the dispatch's operands and results:

    - input: [N * H * W * C] i8 or f32
    - values: [runs * length + padding], the runs' weights in the kernel's order; the padding keeps the last vector
      inside
    - offsets: [runs] i16 or i32, elements from a window's first pixel to each run; none where code knows them
    - parameters: i32, of each filter bias, multiplier, shift (``Isa.stored_shift``) and one more; f32 biases as their
      bits. [4, F] for ``depthwise`` (on MVE see ``DepthwiseKernel.parameters``), [blocks, filters of a block, 4] for
      ``table``, ``pairs`` and ``mixed`` (which may have more behind each block), [filters, 3] for ``input_stationary``
      (which has more in the end), for ``pixel_lanes`` see ``PixelLanesKernel.parameters``. In all but ``depthwise`` and
      ``pixel_lanes`` [constant filters, 2] follow: their result, and how far the next one's is; or, in the end, the
      results of a pixel as i8, see ``constants.Pattern``
    - rows: [buffer_size] the row buffer or planes, where the kernel needs them: i8 or f32, or i8 widened
      (``Isa.row_bytes``); and what else the kernel works in
    - output: [N * OH * OW * F] i8, i32 or f32
    """

    def __init__(self, conv: PackedConvView, isa: Isa) -> None:
        self.conv, self.isa = conv, isa
        self.plan = Plan.read(conv.op.attributes["plan"])
        self.geometry: Geometry = self.plan.shape(conv.geometry)
        self.element, self.output_element = conv.element_type, conv.output_type
        self.rescale: Rescale | None = conv.rescale
        self.clamp = _clamp(conv)
        self.length = conv.values.shape[1]

    @property
    def row_type(self) -> ir.Type:
        """Elements of the row buffer."""
        return self.isa.row_type(self.element)

    @property
    def values(self) -> np.ndarray:
        return self.conv.values.reshape(-1)

    @property
    def offsets(self) -> np.ndarray:
        """i16 or i32: where each run's inputs are."""
        raise NotImplementedError

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

    @cached_property
    def _dense(self) -> np.ndarray:
        """[F, KH * KW, C]: the weights of plain FWCS, with zeros where they were pruned."""
        g = self.geometry
        weights = np.zeros((g.f, g.kh * g.kw, g.c), self.conv.values.dtype)
        weights[self._block_of_run, self.conv.positions] = self.conv.values
        return weights

    @cached_property
    def _kept(self) -> np.ndarray:
        """[F, KH, KW] bool: which filterlets plain FWCS holds."""
        g = self.geometry
        kept = np.zeros((g.f, g.kh * g.kw), bool)
        kept[self._block_of_run, self.conv.positions] = True
        return kept.reshape(g.f, g.kh, g.kw)

    @property
    def _block_of_run(self) -> np.ndarray:
        """[runs] int: numbers of the blocks that hold them; of the filters, in plain FWCS."""
        return np.repeat(np.arange(len(self.conv.counts)), self.conv.counts)

    @property
    def buffer_size(self) -> int:
        """Elements of memory that the kernel works in, first of them the input as it wants it."""
        raise NotImplementedError

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
        raise NotImplementedError

    @property
    def _is_rectified(self) -> bool:
        return self.rescale is not None and is_rectified(self.rescale, self.clamp or (-128, 127))

    def _requantization(self, multiplier: ir.Value, shift: ir.Value, bounded: bool = False) -> Requantization:
        return Requantization(multiplier, shift, bounded, self._is_rectified)

    @cached_property
    def _bounded(self) -> bool:
        """Whether no sum can reach 2^30 in magnitude, whatever the input."""
        return bool(self._largest_sums.max() < 1 << 30)

    @property
    def _largest_sums(self) -> np.ndarray:
        """[blocks, filters of a block] i64: magnitudes that sums do not exceed, whatever the input."""
        filters = self.plan.held(range(len(self.conv.counts)), self.geometry.f)
        weights = np.abs(self.conv.values.astype(np.int64)).reshape(
            -1, filters.shape[1], self.length // filters.shape[1]
        )
        totals = np.abs(self.conv.bias.astype(np.int64))[filters]
        np.add.at(totals, self._block_of_run, 128 * weights.sum(axis=2))
        return totals


class WindowKernel(ConvKernel):
    """Kernels that read windows of a row buffer, block of pixels after block of pixels."""

    def __init__(self, conv: PackedConvView, isa: Isa) -> None:
        super().__init__(conv, isa)
        self.layout = self._layout()

    def _layout(self) -> RowLayout:
        raise NotImplementedError

    @property
    def offsets(self) -> np.ndarray:
        """[runs] i16, or i32 where they do not fit: from a window's first pixel to each run."""
        return self._offsets_of(self.conv.positions)

    def _offsets_of(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """The offsets of runs at some positions."""
        offsets = np.array([self.layout.offset(int(p)) for p in positions], np.int32)
        return offsets.astype(np.int16) if not offsets.size or offsets.max() < 1 << 15 else offsets

    @property
    def buffer_size(self) -> int:
        return self.layout.size

    @property
    def _drops_constants(self) -> bool:
        """Whether blocks of filters without weights are left out: their results are known."""
        return self.output_element == "i8" and self.geometry.groups == 1

    @cached_property
    def _blocks(self) -> np.ndarray:
        """Numbers of the blocks that are computed."""
        counts = self.conv.counts
        return np.flatnonzero(counts) if self._drops_constants else np.arange(len(counts))

    @cached_property
    def _constants(self) -> np.ndarray:
        """The filters that no block computes."""
        return np.setdiff1d(np.arange(self.geometry.f), self.plan.held(self._blocks, self.geometry.f))

    @cached_property
    def _pattern(self) -> Pattern | None:
        """What is stored at each pixel ahead of the computed results, where that serves."""
        pattern = Pattern.of(self.geometry.f, self.isa)
        return pattern if pattern.serves(len(self._constants)) else None

    @property
    def _constant_results(self) -> np.ndarray:
        """[constant filters] i32."""
        assert self.rescale
        results = reference.requantize(self.conv.bias, self.rescale)[self._constants]
        return np.clip(results, *(self.clamp or (-128, 127))).astype(np.int32)

    def _with_constants(self, table: np.ndarray, following: np.ndarray) -> np.ndarray:
        """``table`` of parameters, and behind it result and ``following`` of each constant filter."""
        if not len(self._constants) or self._pattern:
            return table
        constants = np.stack([self._constant_results, following], axis=1)
        return np.concatenate([table.reshape(-1), constants.reshape(-1)]).astype(np.int32)

    @property
    def _pattern_words(self) -> int:
        return -(-self.geometry.f // WORD) if self._pattern else 0

    def _with_pattern(self, parameters: np.ndarray) -> np.ndarray:
        """``parameters``, and behind them the results of a pixel in whole words."""
        if not self._pattern:
            return parameters
        results = np.zeros(self._pattern_words * WORD, np.int8)
        results[self._constants] = self._constant_results
        return np.concatenate([parameters.reshape(-1), results.view(np.int32)])

    def emit(
        self,
        source: ir.Value,
        values: ir.Value,
        offsets: ir.Value,
        parameters: ir.Value,
        rows: ir.Value | None,
        output: ir.Value,
    ) -> None:
        g = self.geometry
        self.weights, self.offset_table, self.parameter_table, self.output = (
            values,
            offsets,
            parameters,
            output,
        )
        self.memory = rows
        self.buffer = RowBuffer(
            self.layout, source, rows if self.layout.size else None, self.conv.input_zero_point, self.isa
        )
        self.data = self.buffer.data
        self.isa.begin()
        self._begin()

        def image(n: Index) -> None:
            def row(y: Index, window: Index) -> None:
                target = emit.mul(emit.add(emit.mul(n, g.oh), y), g.ow * g.f)
                self._begin_row(y)
                if self._pattern:
                    self._store_pattern(self._pattern, self._rows_from(y), target)
                self._pixel_blocks(window, target)

            self.buffer.for_each_row(emit.mul(n, g.h * g.w * g.c), row, self.plan.pixel_rows)

        emit.loop(0, g.n, image)

    def _begin(self) -> None:
        """What a kernel does before its loops."""

    def _begin_row(self, y: Index) -> None:
        """What a kernel does ahead of output row ``y``, or of ``Plan.pixel_rows`` from there."""

    def _rows_from(self, y: Index) -> Index:
        """``Plan.pixel_rows``, or how many there are from output row ``y`` on."""
        together = self.plan.pixel_rows
        return emit.minimum(together, emit.sub(self.geometry.oh, y)) if self.geometry.oh % together else together

    def _pixel_blocks(self, window: Index, target: Index) -> None:
        """One output row or ``Plan.pixel_rows``; the last block overlaps another where the width does not divide."""
        g = self.geometry
        pixels = min(self.plan.pixels, g.ow)

        def block(b: Index) -> None:
            x = emit.mul(b, pixels)
            if g.ow % pixels:
                x = emit.minimum(x, g.ow - pixels)
            column = emit.mul(x, self.layout.strides[1])
            source = emit.add(window, self.layout.whole_at(column))
            joined = emit.add(window, self.layout.joined_at(column))
            self._block(pixels, Window(source, joined), emit.add(target, emit.mul(x, g.f)))

        emit.loop(0, -(-g.ow // pixels), block, unroll=False)

    def _block(self, pixels: int, window: Window, target: Index) -> None:
        """``pixels`` neighbouring output pixels, all filters.

        Args:
            target: element of ``output`` of the first result.
        """
        raise NotImplementedError

    def _store_pattern(self, pattern: Pattern, rows: Index, target: Index) -> None:
        """Constant results of so many output rows, and anything where others will be stored."""
        filters, pixels = self.geometry.f, emit.mul(rows, self.geometry.ow)
        results = emit.pointer(self.parameter_table, self.parameters.size - self._pattern_words)
        lanes = emit.vector_type(pattern.lanes, ir.IntegerType.get_signless(8))
        type = emit.i32() if pattern.lanes == WORD else lanes
        alignment = 1 if filters % WORD else WORD
        for starts in pattern.pieces():
            values = [emit.load_from(emit.advance(results, at), type, alignment) for at in starts]

            def pixel(_: Index, output: ir.Value, starts: list[int], values: list[ir.Value]) -> list[ir.Value]:
                for at, value in zip(starts, values, strict=True):
                    emit.store_to(value, emit.advance(output, at - starts[0]), alignment)
                return [emit.advance(output, filters)]

            output = emit.pointer(self.output, emit.add(target, starts[0]))
            emit.loop(0, pixels, partial(pixel, starts=starts, values=values), [output])

    def _store_constants(self, places: Sequence[int], parameters: ir.Value, output: ir.Value) -> None:
        """Results of the constant filters at some pixels.

        Args:
            places: of each pixel's results, bytes behind the first pixel's; ``RESULTS`` of them are equally far apart.
            parameters: address of what ``_with_constants`` put there.
            output: address of the first pixel's result of the first one.
        """
        if self._pattern:
            return
        i8, stride = ir.IntegerType.get_signless(8), self.geometry.f
        if self.isa.store_constants(len(self._constants), places, parameters, output):
            return

        def constant(_: Index, parameters: ir.Value, output: ir.Value) -> list[ir.Value]:
            value, following = self.isa.load_pair(parameters)
            value = arith.trunci(i8, value)
            for at in range(0, len(places), RESULTS):
                lanes = emit.vector_type(min(RESULTS, len(places) - at), i8)
                self.isa.store_strided(emit.broadcast(value, lanes), emit.advance(output, places[at]), stride)
            following = arith.index_cast(ir.IndexType.get(), following)
            return [emit.advance(parameters, 2 * WORD), emit.advance(output, following)]

        emit.loop(0, len(self._constants), constant, [parameters, output])

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
        return emit.clamp(sums, self.clamp) if self.clamp else sums


def _clamp(conv: PackedConvView) -> Clamp | None:
    """The op's clamp, within i8 where the result is i8."""
    if conv.clamp is None or conv.output_type != "i8":
        return conv.clamp
    return (max(int(conv.clamp[0]), -128), min(int(conv.clamp[1]), 127))
