"""Runs: neighbouring filterlets of one filter and kernel row that are stored and multiplied together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def cover(kept: np.ndarray, width: int) -> np.ndarray:
    """Runs of ``width`` positions along kx that cover all kept filterlets, as few as possible.

    A run never passes the end of its kernel row; it starts earlier instead.

    Args:
        kept: [F, KH, KW] bool.
        width: positions per run, at most KW.

    Returns:
        [runs, 3] int: filter, ky and kx of each run's first position, in that order.
    """
    filters, height, row = kept.shape
    if width == 1:
        return np.argwhere(kept)
    runs = []
    for f in range(filters):
        for ky in range(height):
            kx = 0
            while kx < row:
                if not kept[f, ky, kx]:
                    kx += 1
                    continue
                runs.append((f, ky, min(kx, row - width)))
                kx += width
    return np.array(runs, np.int64).reshape(-1, 3)


UNROLLED_ELEMENTS = 128
"""Elements of one run that the innermost loop body multiplies; longer runs take several turns."""


@dataclass(frozen=True)
class Steps:
    """How a run is cut into vectors: ``turns`` turns of ``vectors`` vectors of ``lanes`` elements.

    ``Steps.of(steps.elements, lanes, most) == steps``: what is padded to whole steps stays so.
    """

    lanes: int
    vectors: int
    turns: int

    @staticmethod
    def of(length: int, lanes: int, most: int) -> Steps:
        """The fewest turns of at most ``most`` vectors that hold ``length`` elements."""
        vectors = -(-length // lanes)
        turns = -(-vectors // most)
        return Steps(lanes, -(-vectors // turns), turns)

    @property
    def elements(self) -> int:
        return self.lanes * self.vectors * self.turns
