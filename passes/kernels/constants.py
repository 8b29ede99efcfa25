"""Results of filters without weights, which are the same at every pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dtmm_mlir.passes.kernels.isa import Isa

_WORTH = 2
"""Constants of a pixel, for each vector of its results, from which on all are stored at once."""

_TOGETHER = 4
"""Vectors that stay in registers while they are stored at one pixel after the other."""


@dataclass(frozen=True)
class Pattern:
    """The results of one pixel, constants in their places, as vectors to be stored where computed results follow.

    Attributes:
        results: of a pixel.
        lanes: of them in a vector.
    """

    results: int
    lanes: int

    @staticmethod
    def of(results: int, isa: Isa) -> Pattern:
        """The vectors of ``isa``; none is larger than a pixel's results."""
        return Pattern(results, min(isa.pattern_lanes(results), 1 << (results.bit_length() - 1)))

    @property
    def vectors(self) -> int:
        return -(-self.results // self.lanes)

    def serves(self, constants: int) -> bool:
        """Whether that takes fewer stores than each constant by itself, at one pixel after the other."""
        return constants >= _WORTH * self.vectors

    def pieces(self) -> Iterator[list[int]]:
        """Where vectors begin, a few at a time; the last one overlaps another where lanes do not divide."""
        starts = [min(at, self.results - self.lanes) for at in range(0, self.results, self.lanes)]
        for first in range(0, len(starts), _TOGETHER):
            yield starts[first : first + _TOGETHER]
