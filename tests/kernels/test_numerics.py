"""Every kernel on every target against the numpy reference, bit for bit (f32: to rounding)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import dtmm_mlir
from dtmm_mlir.dialect.plan import Kernel, Plan
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.targets import HOST, TARGETS, X86_64_V3
from tests.kernels.cases import BATCHES, OF_TARGET
from tests.kernels.convolutions import Case, Sample, build_module, geometry

F32_TOLERANCE = 1e-5
"""Relative to the largest result: f32 sums in another order than the reference's f64 ones."""


@pytest.mark.parametrize("target", ["host", "cortex-m55", "cortex-m4", "cortex-m3", "cortex-m0plus", "riscv32"])
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


@pytest.mark.parametrize(
    ("target", "kernel", "where"),
    [
        ("cortex-m55", "pairs", "for cores without vectors"),
        ("host", "input_stationary", "for cortex-m55"),
        ("cortex-m4", "input_stationary", "for cortex-m55"),
        ("cortex-m55", "pixel_lanes", "for hosts with AVX512-VNNI"),
        ("generic", "pixel_lanes", "for hosts with AVX512-VNNI"),
    ],
)
def test_kernel_of_another_instruction_set_is_refused(target: str, kernel: Kernel, where: str) -> None:
    module = build_module([Sample.of(Case(geometry(4, 4, 16, 5), plan=Plan(kernel, 1, 1, 1, 4)))])
    with pytest.raises(DtmmError, match=f"{kernel} kernel, which there is {where} only"):
        dtmm_mlir.compile(module, target=target)


@pytest.mark.parametrize("batch", ["plans", "rescale", "depthwise", "f32"])
def test_portable_kernels_equal_reference(batch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels for hosts without a named instruction set."""
    monkeypatch.setitem(TARGETS, "host", replace(HOST, isa="generic"))
    check(BATCHES[batch], "host")


@pytest.mark.skipif(HOST.isa not in ("avx2", "avx512vnni"), reason="needs a processor with AVX2")
@pytest.mark.parametrize("batch", BATCHES)
def test_avx2_kernels_equal_reference(batch: str) -> None:
    check(BATCHES[batch], X86_64_V3.name)


def check(cases: list[Case], target: str) -> None:
    samples = [Sample.of(case) for case in cases]
    artifact = dtmm_mlir.compile(build_module(samples), target=target)
    results = artifact.run([sample.x for sample in samples])
    wrong = [
        f"{sample.case}: {int((result != sample.expected).sum())} of {result.size} differ"
        for sample, result in zip(samples, results if isinstance(results, list) else [results], strict=True)
        if not equal(result, sample.expected)
    ]
    assert not wrong, "\n".join(wrong)


def equal(result: np.ndarray, expected: np.ndarray) -> bool:
    if expected.dtype == np.float32:
        return bool(np.abs(result - expected).max() <= F32_TOLERANCE * np.abs(expected).max())
    return bool(result.dtype == expected.dtype and (result == expected).all())
