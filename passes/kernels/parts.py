"""The ``pairs`` and ``mixed`` kernels: a block of filters is a walk over several kinds of runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.dialect.plan import MEMBERS, Plan
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.conv import WORD
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.filters import BYTE, PARAMETERS, Cursor, Run, Walk, bits
from dtmm_mlir.passes.kernels.gathered import GatheredKernel
from dtmm_mlir.passes.kernels.grouping import Grouping


@dataclass(frozen=True)
class Parts:
    """The kinds of runs of blocks of one filter or two.

    Attributes:
        blocks: of the filters.
        width: KW where rows of the kernel that all of a block's filters keep wholly are runs, else 1.
        by_rows: whether the rows of the kernel follow each other, each with all its parts, so that some can be skipped.
    """

    blocks: Grouping
    width: int
    by_rows: bool

    @staticmethod
    def of(kept: np.ndarray, plan: Plan) -> Parts:
        """Those of filters that keep [F, KH, KW] bool, at least as many as are in a block."""
        return Parts(Grouping.of(kept, MEMBERS[plan.kernel]), plan.run_width, bool(plan.skip_padding))

    @property
    def members(self) -> int:
        """Filters of a block."""
        return self.blocks.filters.shape[1]

    @property
    def runs(self) -> tuple[Run, ...]:
        """What the runs are, of each part."""
        all = range(self.members)
        alone = [Run((filter,), 1) for filter in all] if self.members > 1 else []
        return Run(all, self.width), Run(all, 1), *alone

    @property
    def parts(self) -> np.ndarray:
        """[blocks, parts, KH, KW] bool: the positions of rows that all filters keep wholly, of the others that all
        keep, and of those that only the first of two and only the second keeps."""
        kept = self.blocks.kept
        all = np.asarray(kept.all(axis=1))
        rows = all & all.all(axis=2, keepdims=True) & (self.width > 1)
        alone = [kept[:, filter] & ~all for filter in range(self.members)] if self.members > 1 else []
        return np.stack([rows, all & ~rows, *alone], axis=1)

    @property
    def begins(self) -> np.ndarray:
        """[blocks, groups, parts, KH * KW] bool: where the runs begin; groups are rows of the kernel, or all of it."""
        begins = self.parts.copy()
        begins[:, 0, :, 1:] = False
        rows = begins.shape[2]
        row_of_group = np.eye(rows, dtype=bool) if self.by_rows else np.ones((1, rows), bool)
        grouped = begins[:, None] & row_of_group[None, :, None, :, None]
        return grouped.reshape(*grouped.shape[:3], -1)

    @property
    def counts(self) -> np.ndarray:
        """[blocks, groups, parts] int: how many runs the parts have."""
        return self.begins.sum(axis=3)


class PartsKernel(GatheredKernel):
    """Block of filters after block, each a walk over whole rows of the kernel, then over single positions; of two
    filters over those of both, then of the first, and of the second.

    Where padding is skipped, a block's parameters are followed by a record for each row of the kernel: the word that
    tells its runs and, where padding is not zero, what each filter's sums miss without the row.
    """

    @property
    def filters(self) -> int:
        return MEMBERS[self.plan.kernel]

    @cached_property
    def _parts(self) -> Parts:
        return Parts.of(self._kept, self.plan)

    @cached_property
    def _blocks(self) -> np.ndarray:
        some = np.flatnonzero(self._parts.blocks.kept.any(axis=(1, 2, 3)))
        return some if self._drops_constants else np.arange(len(self._parts.blocks.filters))

    @property
    def _filters_of_blocks(self) -> np.ndarray:
        return self._parts.blocks.filters[self._blocks]

    @cached_property
    def _constants(self) -> np.ndarray:
        return np.setdiff1d(np.arange(self.geometry.f), self._parts.blocks.computed(self._blocks))

    @property
    def _words_of_groups(self) -> np.ndarray:
        """[computed blocks, groups] int: a byte for the runs of each part."""
        counts = self._parts.counts[self._blocks]
        return counts @ (1 << BYTE * np.arange(counts.shape[2]))

    @property
    def _run_words(self) -> np.ndarray:
        return np.zeros(len(self._blocks), int) if self._parts.by_rows else self._words_of_groups[:, 0]

    @cached_property
    def _records(self) -> np.ndarray:
        if not self._parts.by_rows:
            return super()._records
        g, words = self.geometry, self._words_of_groups[..., None]
        if self._missing_bytes:
            rows = self._dense.reshape(g.f, g.kh, -1).sum(axis=2, dtype=np.int64)
            missing = rows[self._filters_of_blocks].transpose(0, 2, 1) * self.conv.input_zero_point
            words = np.concatenate([words, missing], axis=2)
        return words.reshape(len(words), g.kh * self._record_words).astype(np.int32)

    @property
    def _record_words(self) -> int:
        return record_words(self.filters, self.conv.input_zero_point)

    @property
    def values(self) -> np.ndarray:
        runs = [
            self._in_order(self._weights(filters, run, np.flatnonzero(begins)))
            for filters, groups in zip(self._parts.blocks.filters, self._parts.begins, strict=True)
            for parts in groups
            for run, begins in zip(self._parts.runs, parts, strict=True)
        ]
        return np.concatenate([*(run.reshape(-1) for run in runs), np.zeros(self._lanes, self.dtype)])

    def _weights(self, filters: np.ndarray, run: Run, begins: np.ndarray) -> np.ndarray:
        """[runs, filters, positions, channels] of a block of some filters."""
        weights = self._dense[filters[list(run.members)]]
        return weights[:, np.add.outer(begins, np.arange(run.width))].transpose(1, 0, 2, 3)

    @property
    def offsets(self) -> np.ndarray:
        return self._offsets_of(np.nonzero(self._parts.begins)[3])

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

    def _own_runs(self, cursor: Cursor, pixels: int, data: ir.Value, joined: ir.Value) -> Walk:
        walk: Walk = cursor.weights, cursor.offsets, self._start_sums(pixels, cursor.parameters)
        if not self._parts.by_rows:
            return self._walk_parts(self._parameter(cursor.parameters, 0, 3), walk, data, joined)
        g = self.geometry

        def row(y: Index, record: ir.Value, weights: ir.Value, offsets: ir.Value, *sums: ir.Value) -> list[ir.Value]:
            word = emit.load_from(record, emit.i32(), WORD)
            inside = arith.cmpi(arith.CmpIPredicate.ult, emit.index(y), emit.index(g.h))
            walk: Walk = weights, offsets, sums
            followed = emit.either(
                inside,
                [value.type for value in (weights, offsets, *sums)],
                lambda: _values(self._walk_parts(word, walk, data, joined)),
                lambda: _values(self._skip_parts(word, record, walk, pixels)),
            )
            return [emit.advance(record, self._record_words * WORD), *followed]

        records = emit.advance(cursor.parameters, self.filters * PARAMETERS * WORD)
        end, begin = emit.add(self._top, g.kh * g.dilations[0]), [records, *_values(walk)]
        _, weights, offsets, *sums = emit.loop(self._top, end, row, begin, step=g.dilations[0], unroll=False)
        return weights, offsets, sums

    def _walk_parts(self, word: ir.Value, walk: Walk, data: ir.Value, joined: ir.Value) -> Walk:
        """The runs of each part, as many as the bytes of ``word``."""
        for part, run in enumerate(self._parts.runs):
            counts = self._parts.counts[self._blocks, :, part]
            if counts.any():
                count = bits(word, part * BYTE, BYTE)
                walk = self._walk(count, bool(counts.all()), walk, data, joined, run)
        return walk

    def _skip_parts(self, word: ir.Value, record: ir.Value, walk: Walk, pixels: int) -> Walk:
        """Those runs left out, with what is missing of the sums."""
        weights, offsets, sums = walk
        counts = [bits(word, part * BYTE, BYTE) for part in range(len(self._parts.runs))]
        filterlets = runs = emit.splat(0, emit.i32())
        for count, run in zip(counts, self._parts.runs, strict=True):
            size = emit.splat(len(run.members) * run.width, emit.i32())
            filterlets, runs = arith.addi(filterlets, arith.muli(count, size)), arith.addi(runs, count)
        runs, filterlets = (arith.index_cast(ir.IndexType.get(), count) for count in (runs, filterlets))
        weights = emit.advance(weights, emit.mul(filterlets, self._stored))
        offsets = emit.advance(offsets, runs, ir.MemRefType(self.offset_table.type).element_type)
        if not self._missing_bytes:
            return weights, offsets, sums
        missing = [emit.load_from(emit.advance(record, f * WORD), emit.i32(), WORD) for f in range(1, 1 + self.filters)]
        missing = [value for value in missing for _ in range(pixels)]
        return weights, offsets, [arith.addi(*each) for each in zip(sums, missing, strict=True)]


def record_words(members: int, zero_point: int) -> int:
    """Words of what parameters tell of a row of the kernel that may be skipped."""
    return 1 + (members if zero_point else 0)


def _values(walk: Walk) -> list[ir.Value]:
    weights, offsets, sums = walk
    return [weights, offsets, *(total for total in sums if total is not None)]
