"""Cores with Thumb-1 instructions only: Cortex-M0 and M0+."""

from __future__ import annotations

from collections.abc import Sequence

from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.products import Product, Vectors
from dtmm_mlir.passes.kernels.scalar import Scalar
from dtmm_mlir.passes.kernels.thumb1_assembly import CHANGED, CHANNEL_WEIGHTS, DATA, SUMS, WEIGHTS, assembly, channel


class Thumb1(Scalar):
    """Eight registers that multiply, and no load that extends a sign and has an offset: row buffers hold i32."""

    accumulators = len(SUMS)
    straight = 450
    channel_positions = 32

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

    def multiply_channel(
        self, rows: Sequence[Sequence[int]], step: int, weights: ir.Value, data: ir.Value, sums: Sequence[ir.Value]
    ) -> list[ir.Value]:
        lines = channel([at for row in rows for at in row], len(sums), step)
        totals = [(register, emit.i32(), total) for register, total in zip(SUMS, sums, strict=False)]
        held = [(CHANNEL_WEIGHTS, weights)]
        changed = [register for register in CHANGED if register != CHANNEL_WEIGHTS]
        *results, _ = emit.assembly(lines, [*totals, (DATA, data.type, data)], changed, held)
        return results

    def upper_product(self, a: ir.Value, b: ir.Value, rounded: bool) -> ir.Value:
        """Of halves: there is no multiplication of which more than 32 bits are kept."""
        half, mask, one = (emit.splat(number, emit.i32()) for number in (16, 0xFFFF, 1))
        low, high = (arith.andi(value, mask) for value in (a, b)), (arith.shrsi(value, half) for value in (a, b))
        (a_low, b_low), (a_high, b_high) = low, high
        middle = arith.addi(arith.muli(a_low, b_high), arith.shrui(arith.muli(a_low, b_low), half))
        lower = arith.addi(arith.muli(a_high, b_low), arith.andi(middle, mask))
        if rounded:
            lower = arith.shrsi(arith.addi(arith.shrsi(lower, emit.splat(15, emit.i32())), one), one)
        else:
            lower = arith.shrsi(lower, half)
        return arith.addi(arith.muli(a_high, b_high), arith.addi(lower, arith.shrui(middle, half)))
