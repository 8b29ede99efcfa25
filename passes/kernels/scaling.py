"""How sums of vectors of pixels become i8, and whether one multiplication in f32 does it exactly.

``round(f32(sum) * factor + offset)``, with one offset for negative sums and one for the others, never falls where sums
rise, and neither does TOSA's rescale. So the two are equal for all sums if each result is reached at the same sum: 255
sums at most tell. Factors next to the true one are tried, each with offsets that these sums allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dtmm_mlir.dialect import reference
from dtmm_mlir.dialect.ops import Clamp, Rescale

_FACTORS = 4
"""Floats on each side of the one next to the true factor that are tried."""

_PARTS = (0.5, 0.25, 0.75, 0.0, 1.0)
"""Where offsets are tried, between the lowest and the highest that are possible before rounding."""

_LARGEST = 1 << 30
"""What products stay below, so that they can become integers."""


@dataclass(frozen=True)
class Scaling:
    """What sums become.

    Attributes:
        rescale: to i8.
        clamp: (min, max) within i8.
        largest: [F] i64: magnitudes that the sums of each filter do not exceed.
    """

    rescale: Rescale
    clamp: Clamp
    largest: np.ndarray

    @property
    def bounded(self) -> bool:
        """As of ``isa.Requantization``."""
        return bool(self.largest.max() < 1 << 30)

    @property
    def rectified(self) -> bool:
        """As of ``isa.Requantization``."""
        return is_rectified(self.rescale, self.clamp)

    @property
    def needs_sign(self) -> bool:
        """Whether negative products round in another way."""
        return self.rescale.rounding == "double" and not self.rectified

    @cached_property
    def floats(self) -> np.ndarray:
        """[F, 3] f32: factor, offset of sums that are not negative, and offset of negative ones.

        Offsets have the output's zero point in them. Product and offset are to be added up without rounding between,
        then rounded to f32, to the nearest integer, and clamped. Where no such numbers were found the factor is 0.
        """
        results = np.arange(self.clamp[0] + 1, self.clamp[1] + 1)[:, None]
        first = self._first_sums(results)
        true = (self.rescale.multiplier / 2.0 ** self.rescale.shift.astype(np.float64)).astype(np.float32)
        floats = np.zeros((len(true), 3), np.float32)
        left = np.flatnonzero((true > 0) & (true * self.largest < _LARGEST) & (self.largest < 1 << 31))
        for step in sorted(range(-_FACTORS, _FACTORS + 1), key=abs):
            sums, most = first[:, left], self.largest[left]
            factor = (true[left].view(np.int32) + step).view(np.float32)
            offset, found = _offset(factor, results, sums, np.zeros_like(most) if self.needs_sign else -most, most)
            negative = offset
            if self.needs_sign:
                negative, others = _offset(factor, results, sums, -most, np.full_like(most, -1))
                found &= others & (negative <= offset)
            floats[left[found]] = np.stack([factor, offset, negative], axis=1)[found]
            left = left[~found]
        return floats

    def _first_sums(self, results: np.ndarray) -> np.ndarray:
        """[results, F] i64: the smallest sum that gives each result or more, one beyond ``largest`` where none does."""
        low = np.broadcast_to(-self.largest, (len(results), len(self.largest)))
        high = np.broadcast_to(self.largest + 1, low.shape)
        while (low < high).any():
            middle = (low + high) >> 1
            reached = (reference.requantize(middle, self.rescale) >= results) | (low == high)
            low, high = np.where(reached, low, middle + 1), np.where(reached, middle, high)
        return low


def is_rectified(rescale: Rescale, clamp: Clamp) -> bool:
    """Whether negative results end as zero, as a ReLU's do."""
    return clamp[0] >= rescale.output_zero_point


def _offset(
    factor: np.ndarray, results: np.ndarray, first: np.ndarray, least: np.ndarray, most: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """[F] f32 offsets, and [F] bool whether they serve all sums from ``least`` to ``most``.

    Args:
        first: [results, F] the sums that have to give ``results``; those one less must not.
    """
    last = first - 1
    reaches, misses = ((least <= sums) & (sums <= most) for sums in (first, last))
    low = np.where(reaches, results - 0.5 - factor * first.astype(np.float64), -np.inf).max(axis=0, initial=-np.inf)
    high = np.where(misses, results - 0.5 - factor * last.astype(np.float64), np.inf).min(axis=0, initial=np.inf)
    low = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high - 1, 0))
    high = np.where(np.isfinite(high), high, low + 1)
    offset, found = np.zeros(len(factor), np.float32), np.zeros(len(factor), bool)
    for part in _PARTS:
        tried = (low + part * (high - low)).astype(np.float32)
        reached = _rounded(factor, tried, first, -np.inf) >= results
        missed = _rounded(factor, tried, last, np.inf) < results
        serves = ((reached | ~reaches) & (missed | ~misses)).all(axis=0)
        offset, found = np.where(serves & ~found, tried, offset), found | serves
    return offset, found


def _rounded(factor: np.ndarray, offset: np.ndarray, sums: np.ndarray, towards: float) -> np.ndarray:
    """What sums become; where f64 is too coarse to tell, what those a little nearer ``towards`` become."""
    exact = sums.astype(np.float32).astype(np.float64) * factor + offset
    return np.rint(np.nextafter(exact, towards).astype(np.float32))
