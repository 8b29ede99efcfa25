"""Every kernel of microcontrollers against the reference, and what only single targets compute."""

from __future__ import annotations

import pytest

import dtmm_mlir
from dtmm_mlir.dialect.plan import Kernel, Plan
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.targets import HOST
from tests.kernels.cases import BATCHES, LINEAR, OF_TARGET, SLIDING
from tests.kernels.convolutions import Case, Sample, build_module, geometry
from tests.kernels.numerics import check


@pytest.mark.parametrize("target", ["cortex-m55", "cortex-m4", "cortex-m3", "cortex-m0plus", "riscv32"])
@pytest.mark.parametrize("batch", BATCHES)
def test_equals_reference(batch: str, target: str) -> None:
    check(BATCHES[batch], target)


@pytest.mark.parametrize("target", ["cortex-m33", "cortex-m7"])
@pytest.mark.parametrize("batch", ["strides-pads-dilations", "sparsity", "rescale", "masked"])
def test_kin_of_these_targets_equal_reference(batch: str, target: str) -> None:
    """Processors with the instruction set of another one that all batches are tried on."""
    check(BATCHES[batch], target)


@pytest.mark.parametrize("target", OF_TARGET)
def test_what_only_one_target_computes_equals_reference(target: str) -> None:
    if not OF_TARGET[target]:
        pytest.skip(f"the {HOST.isa} kernels have nothing that others have not")
    check(OF_TARGET[target], target)


@pytest.mark.parametrize("cases", [LINEAR, SLIDING], ids=["linear", "sliding"])
def test_what_else_the_cortex_m55_computes_equals_reference(cases: list[Case]) -> None:
    check(cases, "cortex-m55")


@pytest.mark.parametrize(
    ("target", "kernel", "where"),
    [
        ("cortex-m55", "pairs", "for cores without vectors"),
        ("cortex-m55", "mixed", "for cores without vectors"),
        ("host", "input_stationary", "for cortex-m55"),
        ("cortex-m4", "linear", "for cortex-m55"),
        ("cortex-m4", "input_stationary", "for cortex-m55"),
        ("cortex-m55", "pixel_lanes", "for hosts with AVX2 or dot products"),
        ("generic", "pixel_lanes", "for hosts with AVX2 or dot products"),
    ],
)
def test_kernel_of_another_instruction_set_is_refused(target: str, kernel: Kernel, where: str) -> None:
    plan = Plan(kernel, 1, 4 if kernel == "linear" else 1, 3 if kernel == "mixed" else 1, 4)
    shape = geometry(4, 4, 16, 5, 1 if kernel == "linear" else 3)
    module = build_module([Sample.of(Case(shape, plan=plan))])
    with pytest.raises(DtmmError, match=f"{kernel} kernel, which there is {where} only"):
        dtmm_mlir.compile(module, target=target)
