"""Kernels against the numpy reference, bit for bit (f32: to rounding)."""

from __future__ import annotations

import numpy as np

import dtmm_mlir
from tests.kernels.convolutions import Case, Sample, build_module

F32_TOLERANCE = 1e-5
"""Relative to the largest result: f32 sums in another order than the reference's f64 ones."""


def check(cases: list[Case], target: str) -> None:
    """All ``cases``, in one artifact."""
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
    """Whether ``result`` is as good as the reference's."""
    if expected.dtype == np.float32:
        return bool(np.abs(result - expected).max() <= F32_TOLERANCE * np.abs(expected).max())
    return bool(result.dtype == expected.dtype and (result == expected).all())
