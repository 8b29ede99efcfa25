"""x86-64 with AVX2 and AVX-VNNI, as PCs without AVX512 have it."""

from __future__ import annotations

from collections.abc import Sequence

from iree.compiler import ir
from iree.compiler.dialects import arith, vector

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.avx2 import Avx2
from dtmm_mlir.passes.kernels.isa import QuadOfWeights
from dtmm_mlir.passes.kernels.quads import QUAD


class AvxVnni(Avx2):
    """256-bit vectors: 32 products of unsigned bytes and signed ones, added up in fours, per instruction."""

    sums_in_turn = 6
    quad_vectors = 1
    planes_offset = 128
    quads = 8
    """Those of a register."""

    def planes_of(self, quads: ir.Value) -> list[ir.Value]:
        return [arith.xori(quads, emit.splat(-0x7F7F7F80, quads.type))]

    def prepare_quad(self, weights: ir.Value) -> QuadOfWeights:
        quads = emit.broadcast(weights, emit.vector_type(self.quads, weights.type))
        return (vector.BitCastOp(emit.vector_type(QUAD * self.quads, ir.IntegerType.get_signless(8)), quads).result,)

    def multiply_quads(self, sums: ir.Value, pixels: Sequence[ir.Value], weights: QuadOfWeights) -> ir.Value:
        name = "llvm.x86.avx512.vpdpbusd.256"  # with or without AVX512
        parts = zip(emit.halves(sums), emit.halves(*pixels), strict=True)
        return emit.concatenate(*(emit.intrinsic(total.type, name, total, bytes, *weights) for total, bytes in parts))
