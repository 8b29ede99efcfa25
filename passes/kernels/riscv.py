"""RISC-V with the M extension, without vectors."""

from __future__ import annotations

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.scalar import Scalar
from dtmm_mlir.passes.kernels.scalar_assembly import RISCV


class RiscV(Scalar):
    """32 registers: as many sums as a block of four pixels and four filters has."""

    core = RISCV
    accumulators = len(RISCV.sums)
    straight = 300

    def begin(self) -> None:
        emit.only_on_riscv()
