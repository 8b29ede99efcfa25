"""x86-64 with AVX512 and VNNI."""

from __future__ import annotations

from collections.abc import Sequence

from iree.compiler import ir
from iree.compiler.dialects import arith, llvm, vector

from dtmm_mlir.dialect.ops import Clamp, Rescale
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.avx2 import Avx2
from dtmm_mlir.passes.kernels.isa import Requantization
from dtmm_mlir.passes.kernels.quads import LANES, QUAD, vector_of_quads


class Avx512Vnni(Avx2):
    """512-bit vectors: 64 products of bytes, added up in fours, per instruction."""

    pixel_lanes = True

    def multiply_quads(self, sums: ir.Value, pixels: ir.Value, weights: ir.Value) -> ir.Value:
        bytes = ir.VectorType(pixels.type)
        weights = vector.BitCastOp(bytes, emit.broadcast(weights, vector_of_quads())).result
        return emit.intrinsic(sums.type, "llvm.x86.avx512.vpdpbusd.512", sums, pixels, weights)

    def narrow_quads(self, values: Sequence[ir.Value], rescale: Rescale, clamp: Clamp) -> ir.Value:
        i8, i16 = (ir.IntegerType.get_signless(bits) for bits in (8, 16))
        words, bytes = emit.vector_type(2 * LANES, i16), emit.vector_type(QUAD * LANES, i8)
        a, b, c, d = (_within_i32(value) for value in values)
        halves = [emit.intrinsic(words, "llvm.x86.avx512.packssdw.512", *pair) for pair in ((a, b), (c, d))]
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

    def _scale_far(self, sums: ir.Value, by: Requantization, rescale: Rescale) -> ir.Value:
        """As it is done everywhere, with the wide products of even and of odd lanes in vectors of their own."""
        narrow = ir.VectorType(sums.type)
        if narrow.shape[0] != LANES:
            return super()._scale_far(sums, by, rescale)
        wide = emit.vector_type(LANES // 2, emit.i64())
        pairs = zip(_halves(sums, wide), _halves(by.multiplier, wide), strict=True)
        even, odd = (arith.muli(*pair) for pair in pairs)
        if rescale.rounding == "double":
            even, odd = (arith.addi(half, emit.splat(1 << 30, wide)) for half in (even, odd))
        even, odd = arith.shrui(even, emit.splat(31, wide)), arith.shli(odd, emit.splat(1, wide))
        even, odd = (vector.BitCastOp(narrow, half).result for half in (even, odd))
        value = vector.ShuffleOp(even, odd, [lane + LANES * (lane % 2) for lane in range(LANES)]).result
        return self.shift_far(value, by, rescale)


def _halves(value: ir.Value, wide: ir.VectorType) -> tuple[ir.Value, ir.Value]:
    """The even and the odd lanes of an i32 vector as i64; of a scalar, it in all of them."""
    if not isinstance(value.type, ir.VectorType):
        value = emit.broadcast(arith.extsi(emit.i64(), value), wide)
        return value, value
    both, thirty_two = vector.BitCastOp(wide, value).result, emit.splat(32, wide)
    return arith.shrsi(arith.shli(both, thirty_two), thirty_two), arith.shrsi(both, thirty_two)


def _within_i32(value: ir.Value) -> ir.Value:
    """An i64 vector as i32, saturated to what is far beyond i8."""
    type = ir.VectorType(value.type)
    if type.element_type == emit.i32():
        return value
    value = arith.maxsi(arith.minsi(value, emit.splat((1 << 15) - 1, type)), emit.splat(-(1 << 15), type))
    return arith.trunci(emit.vector_type(type.shape[0], emit.i32()), value)
