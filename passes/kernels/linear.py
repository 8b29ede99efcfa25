"""The ``linear`` kernel: blocks of filters that have weights, where the kernel has one position."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from dtmm_mlir.passes.kernels.gathered import GatheredKernel


class LinearKernel(GatheredKernel):
    """Straight-line code for every block, or turns of a loop where channels are many."""

    @cached_property
    def _filters_of_blocks(self) -> np.ndarray:
        return blocks_of_filters(self._kept.any(axis=(1, 2)) | (not self._drops_constants), self.filters)

    @cached_property
    def _blocks(self) -> np.ndarray:
        return np.arange(len(self._filters_of_blocks))

    @cached_property
    def _constants(self) -> np.ndarray:
        return np.setdiff1d(np.arange(self.geometry.f), self._filters_of_blocks)

    @property
    def _run_words(self) -> np.ndarray:
        return np.zeros(len(self._blocks), int)

    @property
    def _straight(self) -> bool:
        return True

    @cached_property
    def _positions(self) -> list[int]:
        return [0]

    @cached_property
    def _starts_with_product(self) -> bool:
        weights = self.plan.weight_vectors(self.geometry.c, self._lanes)
        return super()._starts_with_product and weights <= self.plan.unrolled

    @cached_property
    def _ordered_values(self) -> np.ndarray:
        return self._in_order(self._dense[self._filters_of_blocks])


def blocks_of_filters(kept: np.ndarray, members: int) -> np.ndarray:
    """[blocks, members] int: the filters that have weights, and others where these are fewer than a block has.

    The last block overlaps the one before where blocks do not divide them.

    Args:
        kept: [F] bool, at least ``members``.
    """
    others = np.flatnonzero(~kept)[: max(0, members - int(kept.sum()))]
    filters = np.sort(np.concatenate([np.flatnonzero(kept), others]))
    starts = np.minimum(np.arange(0, len(filters), members), len(filters) - members)
    return filters[np.add.outer(starts, np.arange(members))]
