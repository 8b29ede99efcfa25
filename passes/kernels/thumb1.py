"""Cores with Thumb-1 instructions only: Cortex-M0 and M0+."""

from __future__ import annotations

from collections.abc import Sequence

from iree.compiler import ir

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.products import Product, Vectors
from dtmm_mlir.passes.kernels.scalar import Scalar
from dtmm_mlir.passes.kernels.thumb1_assembly import CHANGED, DATA, SUMS, WEIGHTS, assembly


class Thumb1(Scalar):
    """Eight registers that multiply, and no load that extends a sign and has an offset: row buffers hold i32."""

    accumulators = len(SUMS)

    def begin(self) -> None:
        emit.only_on_arm()

    def row_bytes(self, element: str) -> int:
        return 4

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
        ordered = sorted(products, key=lambda p: p.weights)
        lines = assembly(ordered, weights.alignment % 4 == 0)
        totals = [(register, emit.i32(), total) for register, total in zip(SUMS, sums, strict=False)]
        moved = [(WEIGHTS, weights.address.type, weights.address), (DATA, data.address.type, data.address)]
        *results, _, _ = emit.assembly(lines, [*totals, *moved], CHANGED)
        return emit.advance(weights.address, length), results
