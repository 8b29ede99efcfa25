"""RISC-V without vectors."""

from __future__ import annotations

from dtmm_mlir.passes.kernels.scalar import Scalar


class RiscV(Scalar):
    """Enough registers for four pixels of two filters."""

    accumulators = 8
