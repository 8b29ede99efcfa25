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

    @property
    def own(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Blocks without the filters that are not their own, those of as many together: [blocks, filters] int, and
        ``union`` of them."""
        apart, union = int(self.others > 0), self.union
        parts = (self.filters[:apart, self.others :], union[:apart]), (self.filters[apart:], union[apart:])
        return [part for part in parts if len(part[0])]

    def computed(self, blocks: np.ndarray) -> np.ndarray:
        """The filters of some of the blocks, each block's own."""
        own = np.ones(self.filters.shape, bool)
        own[:1, : self.others] = False
        return np.unique(self.filters[blocks][own[blocks]])


@lru_cache(maxsize=64)
def _blocks(kept: bytes, shape: tuple[int, int, int], members: int) -> np.ndarray:
    """[blocks, members] int: numbers of filters.

    Blocks of most positions come first, but for the one of filters that are left over.
    """
    if members == 1:
        return np.arange(shape[0])[:, None]
    masks = np.frombuffer(kept, bool).reshape(shape[0], -1).astype(np.float32)
    chosen, alone = _chosen(masks, members)
    whole = np.sort(_exchanged(chosen, masks), axis=1)
    if not len(alone):
        return whole
    beside = np.setdiff1d(np.arange(len(masks)), alone)[: members - len(alone)]
    return np.concatenate([np.concatenate([beside, alone])[None], whole])


def _chosen(masks: np.ndarray, members: int) -> tuple[np.ndarray, np.ndarray]:
    """[blocks, members] int, and the filters that are left over.

    Those of most positions choose first, each the ones that have most in common with the block, and of these one that
    has any, and few.
    """
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
        blocks.append(block)
    return np.array(blocks, int).reshape(-1, members), np.flatnonzero(left)


def _exchanged(blocks: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """``blocks`` after filters changed places as long as two of them then have fewer positions."""
    blocks, block_of = blocks.copy(), np.repeat(np.arange(len(blocks)), blocks.shape[1])
    while True:
        of_blocks = masks[blocks]
        unions = of_blocks.max(axis=1)
        others = np.stack([np.delete(of_blocks, i, axis=1).max(axis=1) for i in range(blocks.shape[1])], axis=1)
        others, own = others.reshape(-1, masks.shape[1]), of_blocks.reshape(-1, masks.shape[1])
        instead = others.sum(axis=1)[:, None] + own.sum(axis=1) - others @ own.T  # each one's block with each other one
        now = unions.sum(axis=1)[block_of]
        more = instead + instead.T - now[:, None] - now
        more[np.equal.outer(block_of, block_of)] = 0
        one, other = np.unravel_index(more.argmin(), more.shape)
        if more[one, other] >= 0:
            return blocks
        places = blocks.reshape(-1)
        places[[one, other]] = places[[other, one]]
