"""Requantization in f32 against the integers', with the C library's ``fmaf`` as the processor."""

from __future__ import annotations

import ctypes
import ctypes.util
from dataclasses import replace

import numpy as np
import pytest

from dtmm_mlir.dialect import reference
from dtmm_mlir.dialect.ops import Clamp, Rescale, Rounding
from dtmm_mlir.passes.kernels.scaling import Scaling

_LARGEST = 1_500_000
_FILTERS = 24


def _fmaf() -> ctypes._NamedFuncPointer:
    function = ctypes.CDLL(ctypes.util.find_library("m")).fmaf
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float] * 3
    return function


def _scaling(scale: float, rounding: Rounding, zero_point: int, clamp: Clamp = (-128, 127)) -> Scaling:
    """Filters with scales about ``scale``."""
    scales = scale * np.random.default_rng(0).uniform(0.7, 1.4, _FILTERS)
    mantissa, exponent = np.frexp(scales)
    multiplier, shift = np.round(mantissa * 2**31), 31 - exponent
    rescale = Rescale(multiplier.astype(np.int32), shift.astype(np.int8), zero_point, rounding)
    return Scaling(rescale, clamp, np.full(_FILTERS, _LARGEST))


def _sums(scaling: Scaling) -> np.ndarray:
    """[sums, F] i64: those next to where results change, the largest, and others."""
    rescale = scaling.rescale
    results = np.arange(-130, 130)[:, None] - 0.5 - rescale.output_zero_point
    changes = np.rint(results * 2.0 ** rescale.shift.astype(float) / rescale.multiplier).astype(np.int64)
    near = np.concatenate([changes + i for i in range(-3, 4)])
    others = np.random.default_rng(1).integers(-_LARGEST, _LARGEST, (300, _FILTERS))
    ends = np.outer([-_LARGEST, -1, 0, 1, _LARGEST], np.ones(_FILTERS, np.int64))
    return np.clip(np.concatenate([near, others, ends]), -_LARGEST, _LARGEST)


@pytest.mark.parametrize("rounding", ["double", "single"])
@pytest.mark.parametrize(
    ("zero_point", "clamp"), [(5, (-128, 127)), (-128, (-128, 127)), (0, (-100, 90)), (-3, (-3, 127))]
)
@pytest.mark.parametrize("scale", [3e-4, 2e-3, 0.04])
def test_floats_give_what_integers_give(scale: float, zero_point: int, clamp: Clamp, rounding: Rounding) -> None:
    scaling, fmaf = _scaling(scale, rounding, zero_point, clamp), _fmaf()
    sums = _sums(scaling)
    expected = np.clip(reference.requantize(sums, scaling.rescale), *clamp)
    for f in np.flatnonzero(scaling.floats[:, 0]):
        factor, offset, negative = map(float, scaling.floats[f])
        values = [fmaf(float(s), factor, negative if s < 0 else offset) for s in sums[:, f].tolist()]
        np.testing.assert_array_equal(np.clip(np.rint(values), *clamp), expected[:, f])


@pytest.mark.parametrize("rounding", ["double", "single"])
@pytest.mark.parametrize(("scale", "least"), [(3e-4, 0.2), (2e-3, 0.9), (0.04, 0.9)])
def test_floats_are_found_for_most_filters(scale: float, least: float, rounding: Rounding) -> None:
    assert (_scaling(scale, rounding, 5).floats[:, 0] > 0).mean() >= least


@pytest.mark.parametrize(
    ("scale", "largest"),
    [
        pytest.param(0.02, 1 << 31, id="sums-may-wrap"),
        pytest.param(0.9, (1 << 31) - 1, id="products-exceed-integers"),
        pytest.param(3e-6, 1 << 30, id="floats-are-too-coarse"),
    ],
)
def test_what_floats_cannot_tell_is_left_to_integers(scale: float, largest: int) -> None:
    scaling = replace(_scaling(scale, "double", 5), largest=np.full(_FILTERS, largest))
    assert not scaling.floats[:, 0].any()
