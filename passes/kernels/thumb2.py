"""Cortex-M3: Thumb-2 instructions without those of the DSP extension."""

from __future__ import annotations

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.scalar import Scalar
from dtmm_mlir.passes.kernels.scalar_assembly import THUMB2


class Thumb2(Scalar):
    """One instruction multiplies and adds."""

    core = channel_core = THUMB2
    channel_positions = 64
    accumulators = len(THUMB2.sums)
    straight = 300

    def begin(self) -> None:
        emit.only_on_arm()
