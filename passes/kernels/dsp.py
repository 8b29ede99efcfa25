"""Arm's DSP extension."""

from __future__ import annotations

from iree.compiler import ir
from iree.compiler.dialects import vector

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.isa import Costs, Prepared
from dtmm_mlir.passes.kernels.scalar import Scalar


class Dsp(Scalar):
    """Arm's DSP extension: two 16-bit products per instruction, four i8 in one word."""

    costs = Costs(operand=3, mac=2, accumulators=4)

    def prepare(self, values: ir.Value) -> Prepared:
        """Bytes 0 and 2, and bytes 1 and 3, each as a pair of i16 in one register."""
        if isinstance(ir.VectorType(values.type).element_type, ir.F32Type):
            return super().prepare(values)
        word = emit.lane(vector.BitCastOp(emit.vector_type(1, emit.i32()), values).result, 0)
        eight = emit.splat(8, emit.i32())
        rotated = emit.intrinsic(emit.i32(), "llvm.fshr.i32", word, word, eight)
        return tuple(emit.intrinsic(emit.i32(), "llvm.arm.sxtb16", value) for value in (word, rotated))

    def mac(self, sums: ir.Value, a: Prepared, b: Prepared) -> ir.Value:
        if isinstance(sums.type, ir.F32Type):
            return super().mac(sums, a, b)
        for x, w in zip(a, b, strict=True):
            sums = emit.intrinsic(emit.i32(), "llvm.arm.smlad", x, w, sums)
        return sums
