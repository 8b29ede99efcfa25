"""Which kernel and which instruction set serve a convolution."""

from __future__ import annotations

from collections.abc import Callable

from dtmm_mlir.dialect.ops import PackedConvView
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.base import PassError
from dtmm_mlir.passes.kernels.avx2 import Avx2
from dtmm_mlir.passes.kernels.avx512vnni import Avx512Vnni
from dtmm_mlir.passes.kernels.avxvnni import AvxVnni
from dtmm_mlir.passes.kernels.conv import ConvKernel
from dtmm_mlir.passes.kernels.depthwise import DepthwiseKernel
from dtmm_mlir.passes.kernels.dotprod import Dotprod
from dtmm_mlir.passes.kernels.dsp import Dsp
from dtmm_mlir.passes.kernels.input_stationary import InputStationaryKernel
from dtmm_mlir.passes.kernels.isa import Isa
from dtmm_mlir.passes.kernels.linear import LinearKernel
from dtmm_mlir.passes.kernels.mve import Mve
from dtmm_mlir.passes.kernels.parts import PartsKernel
from dtmm_mlir.passes.kernels.pixel_lanes import PixelLanesKernel
from dtmm_mlir.passes.kernels.riscv import RiscV
from dtmm_mlir.passes.kernels.table import TableKernel
from dtmm_mlir.passes.kernels.thumb1 import Thumb1
from dtmm_mlir.passes.kernels.thumb2 import Thumb2


def isa_of(name: str, vector_bytes: int) -> Isa:
    """The instruction set that a target's ``isa`` field names."""
    kinds: dict[str, Callable[[], Isa]] = {
        "avx2": Avx2,
        "avxvnni": AvxVnni,
        "avx512vnni": Avx512Vnni,
        "dotprod": Dotprod,
        "mve": Mve,
        "dsp": Dsp,
        "thumb1": Thumb1,
        "thumb2": Thumb2,
        "riscv": RiscV,
    }
    return kinds[name]() if name in kinds else Isa(vector_bytes)


def kernel_of(conv: PackedConvView, isa: Isa) -> ConvKernel:
    """The kernel that the op's plan names; a ``PassError`` where ``isa`` does not have it."""
    kinds: dict[str, type[ConvKernel]] = {
        "table": TableKernel,
        "pairs": PartsKernel,
        "mixed": PartsKernel,
        "linear": LinearKernel,
        "input_stationary": InputStationaryKernel,
        "pixel_lanes": PixelLanesKernel,
        "depthwise": DepthwiseKernel,
    }
    kernel = Plan.read(conv.op.attributes["plan"]).kernel
    for name, there_is, where in (
        ("pairs", isa.parts, "for cores without vectors"),
        ("mixed", isa.parts, "for cores without vectors"),
        ("linear", isa.scatters_fours, "for cortex-m55"),
        ("input_stationary", isa.stationary_inputs, "for cortex-m55"),
        ("pixel_lanes", bool(isa.pixel_sums), "for hosts with AVX2 or dot products"),
    ):
        if kernel == name and not there_is:
            raise PassError(
                conv.op, f"plan names the {name} kernel, which there is {where} only; name another, or none."
            )
    return kinds[kernel](conv, isa)
