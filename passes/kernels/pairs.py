"""The ``pairs`` kernel: two filters go together where both keep a position, and one by one elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from iree.compiler import ir

from dtmm_mlir.passes.kernels.filters import BYTE, Cursor, Run, Walk, bits
from dtmm_mlir.passes.kernels.table import TableKernel


@dataclass(frozen=True)
class Pairs:
    """Two filters each that are computed together.

    Where the number of filters is odd, the last one comes first, together with nothing: what is stored for the one
    before it is overwritten later.

    Attributes:
        odd: 1 where the first pair is one filter only, or 0.
        starts: [pairs] int: the first filters.
        kept: [pairs, 2, KH, KW] bool: which positions they keep.
        width: KW where rows of the kernel that both keep wholly are runs, else 1.
    """

    odd: int
    starts: np.ndarray
    kept: np.ndarray
    width: int

    @staticmethod
    def of(kept: np.ndarray, width: int) -> Pairs:
        """Of [F, KH, KW] bool, F at least 2."""
        filters, odd = len(kept), len(kept) % 2
        starts = np.array([filters - 2] * odd + [*range(0, filters - 1, 2)])
        pairs = kept[np.add.outer(starts, np.arange(2))]
        pairs[:odd, 0] = False
        return Pairs(odd, starts, pairs, width)

    @property
    def runs(self) -> tuple[Run, ...]:
        """What the runs of a block are, of each of its parts."""
        return Run((0, 1), self.width), Run((0, 1), 1), Run((0,), 1), Run((1,), 1)

    @property
    def parts(self) -> np.ndarray:
        """[pairs, parts, KH, KW] bool: the positions of rows that both keep wholly, of the others that both keep, and
        of those that only the first and only the second keeps."""
        first, second = self.kept[:, 0], self.kept[:, 1]
        both = first & second
        rows = both & both.all(axis=2, keepdims=True) & (self.width > 1)
        return np.stack([rows, both & ~rows, first & ~second, second & ~first], axis=1)

    @property
    def begins(self) -> np.ndarray:
        """[pairs, parts, KH * KW] bool: where the runs begin."""
        begins = self.parts.copy()
        begins[:, 0, :, 1:] = False
        return begins.reshape(*begins.shape[:2], -1)

    @property
    def counts(self) -> np.ndarray:
        """[pairs, parts] int: how many runs the parts have."""
        return self.begins.sum(axis=2)

    def computed(self, blocks: np.ndarray) -> np.ndarray:
        """The filters of some of the pairs, but for the one that is overwritten."""
        return np.union1d(self.starts[blocks[blocks >= self.odd]], self.starts[blocks] + 1)


class PairsKernel(TableKernel):
    """Pair of filters after pair, each a walk over runs of both, then of the first, and of the second."""

    @property
    def filters(self) -> int:
        return 2

    @cached_property
    def _pairs(self) -> Pairs:
        return Pairs.of(self._kept, self.plan.run_width)

    @cached_property
    def _blocks(self) -> np.ndarray:
        some = np.flatnonzero(self._pairs.kept.any(axis=(1, 2, 3)))
        return some if self._drops_constants else np.arange(len(self._pairs.starts))

    @property
    def _filters_of_blocks(self) -> np.ndarray:
        return np.add.outer(self._pairs.starts[self._blocks], np.arange(self.filters))

    @cached_property
    def _constants(self) -> np.ndarray:
        return np.setdiff1d(np.arange(self.geometry.f), self._pairs.computed(self._blocks))

    @property
    def _run_words(self) -> np.ndarray:
        """[computed blocks] int: a byte for the runs of each part."""
        counts = self._pairs.counts[self._blocks]
        return counts @ (1 << BYTE * np.arange(counts.shape[1]))

    @property
    def values(self) -> np.ndarray:
        runs = [
            self._in_order(self._weights(start, run, np.flatnonzero(begins)))
            for start, parts in zip(self._pairs.starts, self._pairs.begins, strict=True)
            for run, begins in zip(self._pairs.runs, parts, strict=True)
        ]
        return np.concatenate([*(run.reshape(-1) for run in runs), np.zeros(self._lanes, self.dtype)])

    def _weights(self, start: int, run: Run, begins: np.ndarray) -> np.ndarray:
        """[runs, filters, positions, channels] of a pair."""
        filters = self._dense[start + np.array(run.members)]
        return filters[:, np.add.outer(begins, np.arange(run.width))].transpose(1, 0, 2, 3)

    @property
    def offsets(self) -> np.ndarray:
        return self._offsets_of(np.nonzero(self._pairs.begins)[2])

    @property
    def _stored(self) -> int:
        """Elements of one filterlet."""
        return self._in_order(self._dense[:1, :1, None]).shape[1]

    @property
    def _straight(self) -> bool:
        return False

    @property
    def _zones(self) -> list[tuple[int, range]]:
        return []

    @cached_property
    def _bounded(self) -> bool:
        weights = np.abs(self._dense.astype(np.int64)).sum(axis=(1, 2))
        return bool((np.abs(self.conv.bias.astype(np.int64)) + 128 * weights).max() < 1 << 30)

    def _own_runs(self, cursor: Cursor, pixels: int, data: ir.Value, joined: ir.Value) -> Walk:
        word = self._parameter(cursor.parameters, 0, 3)
        walk: Walk = cursor.weights, cursor.offsets, self._start_sums(pixels, cursor.parameters)
        for part, run in enumerate(self._pairs.runs):
            counts = self._pairs.counts[self._blocks, part]
            if counts.any():
                count = bits(word, part * BYTE, BYTE)
                walk = self._walk(count, bool(counts.all()), walk, data, joined, run)
        return walk
