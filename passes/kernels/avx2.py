"""x86-64 with AVX2."""

from __future__ import annotations

from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.isa import Isa, Prepared


class Avx2(Isa):
    """256-bit vectors: sixteen 16-bit products, added up in pairs, per instruction."""

    accumulators = 8

    def __init__(self) -> None:
        super().__init__(vector_bytes=32)

    def zero(self, element: str) -> ir.Value:
        return emit.splat(0, emit.vector_type(8, emit.i32())) if element == "i8" else super().zero(element)

    def row_bytes(self, element: str) -> int:
        return 2 if element == "i8" else super().row_bytes(element)

    def prepare(self, values: ir.Value) -> Prepared:
        if ir.VectorType(values.type).element_type != ir.IntegerType.get_signless(8):
            return (values,)
        return (arith.extsi(emit.vector_type(16, ir.IntegerType.get_signless(16)), values),)

    def mac(self, sums: ir.Value, a: Prepared, b: Prepared) -> ir.Value:
        if isinstance(ir.VectorType(sums.type).element_type, ir.F32Type):
            return super().mac(sums, a, b)
        pairs = emit.intrinsic(emit.vector_type(8, emit.i32()), "llvm.x86.avx2.pmadd.wd", *a, *b)
        return arith.addi(sums, pairs)
