"""RISC-V with the M extension, without vectors."""

from __future__ import annotations

from collections.abc import Sequence

from iree.compiler import ir

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.products import Product, Vectors
from dtmm_mlir.passes.kernels.riscv_assembly import CHANGED, DATA, SUMS, WEIGHTS, assembly
from dtmm_mlir.passes.kernels.scalar import Scalar


class RiscV(Scalar):
    """32 registers: as many sums as a block of four pixels and four filters has."""

    accumulators = len(SUMS)

    def begin(self) -> None:
        emit.only_on_riscv()

    def multiply(
        self,
        products: Sequence[Product],
        element: str,
        weights: Vectors,
        data: Vectors,
        length: int,
        sums: Sequence[ir.Value | None],
    ) -> tuple[ir.Value, list[ir.Value]]:
        if element != "i8" or len(sums) > len(SUMS):
            return super().multiply(products, element, weights, data, length, sums)
        totals = [(register, emit.i32(), total) for register, total in zip(SUMS, sums, strict=False)]
        addresses = [(register, v.address.type, v.address) for register, v in ((WEIGHTS, weights), (DATA, data))]
        end, _, *results = emit.assembly(assembly(products, length), [*addresses, *totals], CHANGED)
        return end, results
