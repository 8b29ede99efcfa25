"""Which kernel and which instruction set serve a convolution."""

from __future__ import annotations

from collections.abc import Callable

from dtmm_mlir.dialect.ops import PackedConvView
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.base import PassError
from dtmm_mlir.passes.kernels.avx2 import Avx2
from dtmm_mlir.passes.kernels.conv import ConvKernel
from dtmm_mlir.passes.kernels.depthwise import DepthwiseKernel
from dtmm_mlir.passes.kernels.dsp import Dsp
from dtmm_mlir.passes.kernels.input_stationary import InputStationaryKernel
from dtmm_mlir.passes.kernels.isa import Isa
from dtmm_mlir.passes.kernels.mve import Mve
from dtmm_mlir.passes.kernels.scalar import Scalar
from dtmm_mlir.passes.kernels.table import TableKernel
from dtmm_mlir.passes.kernels.thumb1 import Thumb1


def isa_of(name: str, vector_bytes: int) -> Isa:
    """The instruction set that a target's ``isa`` field names."""
    kinds: dict[str, Callable[[], Isa]] = {
        "avx2": Avx2,
        "mve": Mve,
        "dsp": Dsp,
        "scalar": Scalar,
        "thumb1": Thumb1,
    }
    return kinds[name]() if name in kinds else Isa(vector_bytes)


def kernel_of(conv: PackedConvView, isa: Isa) -> ConvKernel:
    """The kernel that the op's plan names; a ``PassError`` where ``isa`` does not have it."""
    kinds = {"table": TableKernel, "input_stationary": InputStationaryKernel, "depthwise": DepthwiseKernel}
    kernel = Plan.read(conv.op.attributes["plan"]).kernel
    if kernel == "input_stationary" and not isa.stationary_inputs:
        raise PassError(
            conv.op,
            "plan names the input_stationary kernel, which there is for cortex-m55 only; name another, or none.",
        )
    return kinds[kernel](conv, isa)
