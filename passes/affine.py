"""Finds the affine form in 32 bits that computes what a group of rescales computes, for every input there is.

An int8 network rescales each input of an addition, and their sum once more: in 64 bits, and rounding three times. Two
int8 inputs have 65,536 pairs of values, so that a far cheaper form can be compared with the group at all of them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from functools import reduce
from itertools import product

import numpy as np

from dtmm_mlir.dialect.ops import Affine

_SHIFTS = (2, 24)
_TRIES = 120
"""Forms that are looked at; the first ones nearly always serve, and never more than some twenty did."""


def fit(inputs: Sequence[np.ndarray], results: np.ndarray, slopes: Sequence[float]) -> Affine | None:
    """The form that equals ``results`` for all combinations of ``inputs``; ``None`` where none was found.

    Args:
        inputs: all values of each input, ascending integers.
        results: [values of the first input, of the second, ...] int8; those at its smallest and largest value may be
            saturated ones.
        slopes: by how much, about, each input changes the result.
    """
    reach = sum(abs(slope) * np.abs(values).max() for slope, values in zip(slopes, inputs, strict=True))
    largest = min(_SHIFTS[1], math.floor(31 - math.log2(reach + 256)))
    for shift in range(largest, max(largest - 2, _SHIFTS[0] - 1), -1):
        if affine := _fit(inputs, results, slopes, shift):
            return affine
    return None


def _fit(inputs: Sequence[np.ndarray], results: np.ndarray, slopes: Sequence[float], shift: int) -> Affine | None:
    """The form with a certain shift: best first, from the multipliers that the slopes give to their neighbours.

    A result asks for an offset from ``lower - products`` on, and below ``upper - products``. What the largest of the
    former lacks to the smallest of the latter is a convex function of the multipliers.
    """
    values = results.astype(np.int64)
    unbounded = np.int64(1) << 60
    lower = np.where(values > -128, values << shift, -unbounded)
    upper = np.where(values < 127, (values + 1) << shift, unbounded)
    largest = max(int(np.abs(each).max()) for each in inputs)

    def look(multipliers: tuple[int, ...]) -> tuple[int, int, int, list[int]]:
        products = reduce(
            np.add.outer, [m * each.astype(np.int64) for m, each in zip(multipliers, inputs, strict=True)]
        )
        least, most = lower - products, upper - products
        low, high = np.unravel_index(least.argmax(), least.shape), np.unravel_index(most.argmin(), most.shape)
        slack = [int(each[a]) - int(each[b]) for each, a, b in zip(inputs, low, high, strict=True)]
        return int(least[low] - most[high]), int(least[low]), int(most[high]) - 1, slack

    first = tuple(round(slope * 2**shift) for slope in slopes)
    seen = {first: look(first)}
    queue = [(seen[first][0], first)]
    while queue and len(seen) < _TRIES:
        lack, multipliers = heapq.heappop(queue)
        _, low, high, slack = seen[multipliers]
        if lack < 0:
            affine = Affine(multipliers, min(max(0, low), high), shift)
            return affine if affine.reach(largest) < 1 << 31 else None
        for step in product((-1, 0, 1), repeat=len(inputs)):
            neighbour = tuple(m + s for m, s in zip(multipliers, step, strict=True))
            if neighbour not in seen and sum(a * b for a, b in zip(step, slack, strict=True)) > 0:
                seen[neighbour] = look(neighbour)
                heapq.heappush(queue, (seen[neighbour][0], neighbour))
    return None
