"""Filters that are computed together because they keep many positions in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_FEWER = 1 / 1024
"""What a position counts against a filter, next to each that is in common."""


@dataclass(frozen=True)
class Grouping:
    """Blocks of filters.

    Where blocks do not divide the filters, the first one has others beside its own. What is stored for these is
    overwritten: they are in a later block, too.

    Attributes:
        others: how many of the first block's filters are not its own; they come first.
        filters: [blocks, filters] int: their numbers.
        kept: [blocks, filters, KH, KW] bool: which positions they keep; none of those that are not the block's own.
    """

    others: int
    filters: np.ndarray
    kept: np.ndarray

    @staticmethod
    def of(kept: np.ndarray, members: int) -> Grouping:
        """Blocks of ``members`` filters, of those that keep [F, KH, KW] bool, at least as many as are in a block."""
        others = -len(kept) % members
        filters = _blocks(kept.tobytes(), kept.shape, members)
        of_blocks = kept[filters]
        of_blocks[:1, :others] = False
        return Grouping(others, filters, of_blocks)

    @property
    def union(self) -> np.ndarray:
        """[blocks, KH, KW] bool: the positions that any of a block's filters keeps."""
        return np.asarray(self.kept.any(axis=1))

    def computed(self, blocks: np.ndarray) -> np.ndarray:
        """The filters of some of the blocks, each block's own."""
        own = np.ones(self.filters.shape, bool)
        own[:1, : self.others] = False
        return np.unique(self.filters[blocks][own[blocks]])


@lru_cache(maxsize=64)
def _blocks(kept: bytes, shape: tuple[int, int, int], members: int) -> np.ndarray:
    """[blocks, members] int: numbers of filters.

    Those of most positions choose first, each the ones that have most in common with the block, and of these one that
    has any, and few. Blocks are in the order of their first filters, but for the one of filters that are left over.
    """
    if members == 1:
        return np.arange(shape[0])[:, None]
    masks = np.frombuffer(kept, bool).reshape(shape[0], -1).astype(np.float32)
    sizes, left, blocks = masks.sum(axis=1), np.ones(len(masks), bool), list[list[int]]()
    preferred = 0.5 * (sizes > 0) - _FEWER * sizes
    for first in np.argsort(-sizes, kind="stable").tolist():
        if not left[first] or left.sum() < members:
            continue
        block, union = [first], masks[first]
        left[first] = False
        for _ in range(members - 1):
            filter = int(np.where(left, masks @ union + preferred, -np.inf).argmax())
            block, union = [*block, filter], np.maximum(union, masks[filter])
            left[filter] = False
        blocks.append(sorted(block))
    alone = np.flatnonzero(left).tolist()
    beside = np.setdiff1d(np.arange(len(masks)), alone)[: members - len(alone)].tolist()
    return np.array([*([[*beside, *alone]] if alone else []), *blocks])
