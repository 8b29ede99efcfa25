"""Runs: neighbouring filterlets of one filter and kernel row that are stored and multiplied together."""

from __future__ import annotations

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
