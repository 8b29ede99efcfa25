"""Cores with Thumb-1 instructions only: Cortex-M0 and M0+."""

from __future__ import annotations

from dtmm_mlir.passes.kernels.scalar import Scalar


class Thumb1(Scalar):
    """Eight registers, and no load that extends a sign and has an offset: row buffers hold i32."""

    accumulators = 2

    def row_bytes(self, element: str) -> int:
        return 4
