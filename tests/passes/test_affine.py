"""The affine forms of additions and averages: equal to the rescales they stand for, at all values there are."""

from __future__ import annotations

import numpy as np
import pytest

from dtmm_mlir.dialect import reference
from dtmm_mlir.dialect.ops import Affine, Rescale, Rounding
from dtmm_mlir.passes.affine import fit
from dtmm_mlir.passes.capture_pool import average

INT8 = np.arange(-128, 128)


def rescale(scale: float, rounding: Rounding, zero_point: int = 0) -> Rescale:
    mantissa, exponent = np.frexp(scale)
    multiplier = np.array([min(round(mantissa * 2**31), 2**31 - 1)], np.int32)
    return Rescale(multiplier, np.array([31 - exponent], np.int8), zero_point, rounding)


def addition(scales: tuple[float, float, float], zero_points: tuple[int, int, int], rounding: Rounding) -> np.ndarray:
    """[256, 256] int8: all results of an addition as TFLite ("double") or PyTorch ("single") rescales it.

    Args:
        scales, zero_points: of both inputs and of the result.
    """
    common = 2 * max(scales[:2])
    terms = []
    for scale, zero_point in zip(scales[:2], zero_points[:2], strict=True):
        values = (INT8 - zero_point) << (20 if rounding == "double" else 0)
        share = scale / common * (1 if rounding == "double" else 2**20)
        terms.append(reference.requantize(values, rescale(share, rounding)))
    last = rescale(common / 2**20 / scales[2], rounding, zero_points[2])
    return np.clip(reference.requantize(np.add.outer(*terms), last), -128, 127)


def results(affine: Affine) -> np.ndarray:
    return reference.apply_affine(np.meshgrid(INT8, INT8, indexing="ij"), affine)


@pytest.mark.parametrize("rounding", ["double", "single"])
def test_additions_of_any_scales(rounding: Rounding) -> None:
    random, found = np.random.default_rng(5), 0
    for _ in range(60):
        scales = tuple(np.exp(random.uniform(-3, 1, 3)))
        expected = addition(scales, tuple(random.integers(-128, 128, 3)), rounding)
        affine = fit((INT8, INT8), expected, (scales[0] / scales[2], scales[1] / scales[2]))
        if affine:
            found += 1
            assert affine.reach(128) < 1 << 31
            np.testing.assert_array_equal(results(affine), expected)
    assert found >= 58


@pytest.mark.parametrize("scales", [(1, 1, 1), (1, 1, 2), (1, 0.5, 4), (8, 1, 2), (0.25, 1, 3), (1, 0.0625, 1.5)])
@pytest.mark.parametrize("zero_points", [(0, 0, 0), (-128, -128, -128), (3, -77, 12)])
def test_ties_that_round_away_from_zero(scales: tuple[float, float, float], zero_points: tuple[int, int, int]) -> None:
    expected = addition(scales, zero_points, "double")
    affine = fit((INT8, INT8), expected, (scales[0] / scales[2], scales[1] / scales[2]))
    assert affine
    np.testing.assert_array_equal(results(affine), expected)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 9, 12, 16, 25, 49, 64, 81, 100])
def test_averages(count: int) -> None:
    sums = np.arange(-128 * count, 127 * count + 1)
    for zero_points in ((0, 0), (-128, 127), (5, -9)):
        expected = np.clip(average(sums - count * zero_points[0], count) + zero_points[1], -128, 127)
        affine = fit((sums,), expected, (1 / count,))
        assert affine
        np.testing.assert_array_equal(reference.apply_affine((sums,), affine), expected)


def test_what_has_no_affine_form_has_none() -> None:
    assert fit((INT8,), np.abs(INT8) // 2, (0.5,)) is None
