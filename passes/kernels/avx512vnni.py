"""x86-64 with AVX512 and VNNI."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, llvm, vector

from dtmm_mlir.dialect.ops import Clamp, Rescale
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.avx2 import Avx2
from dtmm_mlir.passes.kernels.isa import is_far
from dtmm_mlir.passes.kernels.quads import LANES, QUAD, vector_of_quads


class Avx512Vnni(Avx2):
    """512-bit vectors: 64 products of bytes, added up in fours, per instruction."""

    pixel_lanes = True

    def multiply_quads(self, sums: ir.Value, pixels: ir.Value, weights: ir.Value) -> ir.Value:
        bytes = ir.VectorType(pixels.type)
        weights = vector.BitCastOp(bytes, emit.broadcast(weights, vector_of_quads())).result
        return emit.intrinsic(sums.type, "llvm.x86.avx512.vpdpbusd.512", sums, pixels, weights)

    def scale_pixels(self, sums: ir.Value, scale: ir.Value, rescale: Rescale, rectified: bool) -> ir.Value:
        """The products of even and of odd lanes are in vectors of their own: ``(product + rounding) >> shift``."""
        wide = emit.vector_type(LANES // 2, emit.i64())
        rounding, negative, shift, odd_shift = (
            emit.broadcast(emit.load_from(emit.advance(scale, 8 * i), emit.i64(), 8), wide) for i in range(1, 5)
        )
        multiplier = emit.broadcast(emit.load_from(scale, emit.i32(), 8), vector_of_quads())
        (multiplier, _), lanes = _halves(multiplier, wide), _halves(sums, wide)
        products = [arith.muli(half, multiplier) for half in lanes]
        even, odd = (arith.addi(product, rounding) for product in products)
        if rescale.rounding == "double" and not rectified:
            even, odd = (
                arith.select(
                    arith.cmpi(arith.CmpIPredicate.slt, product, emit.splat(0, wide)),
                    arith.addi(product, negative),
                    rounded,
                )
                for product, rounded in zip(products, (even, odd), strict=True)
            )
        even, odd = arith.shrsi(even, shift), arith.shrsi(odd, odd_shift)
        if not is_far(rescale):
            even, odd = (_within_i16(half) for half in (even, odd))
            odd = arith.shli(odd, emit.splat(32, wide))
        even, odd = (vector.BitCastOp(sums.type, half).result for half in (even, odd))
        return vector.ShuffleOp(even, odd, [lane + LANES * (lane % 2) for lane in range(LANES)]).result

    def pixel_scales(self, rescale: Rescale) -> np.ndarray:
        """[F, 10] i32, pairs of them one i64: multiplier, rounding, that of negative products, shift, and that of
        odd lanes, whose results are to be in the upper half."""
        shift = rescale.shift.astype(np.int64)
        half = np.int64(1) << (shift - 1)
        extra = np.where((shift > 31) & (rescale.rounding == "double"), 1 << 30, 0)
        odd_shift = shift - 32 if is_far(rescale) else shift
        rows = [rescale.multiplier.astype(np.int64), half + extra, half - extra, shift, odd_shift]
        return np.ascontiguousarray(np.stack(rows, axis=1)).view(np.int32)

    def narrow_quads(self, values: Sequence[ir.Value], rescale: Rescale, clamp: Clamp) -> ir.Value:
        i8, i16 = (ir.IntegerType.get_signless(bits) for bits in (8, 16))
        words, bytes = emit.vector_type(2 * LANES, i16), emit.vector_type(QUAD * LANES, i8)
        halves = [emit.intrinsic(words, "llvm.x86.avx512.packssdw.512", *pair) for pair in (values[:2], values[2:])]
        if rescale.output_zero_point:
            zero_point = emit.splat(rescale.output_zero_point, words)
            halves = [llvm.SAddSat(half, zero_point).result for half in halves]
        result = emit.intrinsic(bytes, "llvm.x86.avx512.packsswb.512", *halves)
        if clamp[0] > -128:
            result = arith.maxsi(result, emit.splat(clamp[0], bytes))
        if clamp[1] < 127:
            result = arith.minsi(result, emit.splat(clamp[1], bytes))
        # within each four pixels: from filter after filter to pixel after pixel
        order = [row + QUAD * f + p for row in range(0, QUAD * LANES, LANES) for p in range(QUAD) for f in range(QUAD)]
        return vector.BitCastOp(vector_of_quads(), vector.ShuffleOp(result, result, order).result).result


def _halves(value: ir.Value, wide: ir.VectorType) -> tuple[ir.Value, ir.Value]:
    """The even and the odd lanes of an i32 vector as i64."""
    both, thirty_two = vector.BitCastOp(wide, value).result, emit.splat(32, wide)
    return arith.shrsi(arith.shli(both, thirty_two), thirty_two), arith.shrsi(both, thirty_two)


def _within_i16(value: ir.Value) -> ir.Value:
    """An i64 vector saturated to what is far beyond i8."""
    least, most = (emit.splat(bound, ir.VectorType(value.type)) for bound in (-(1 << 15), (1 << 15) - 1))
    return arith.maxsi(arith.minsi(value, most), least)
