"""The loops over blocks of filters and their runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.conv import ConvKernel
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Requantization


class FilterKernel(ConvKernel):
    """Block of filters after block of filters, each a walk over its runs: vectors lie along the channels.

    The last block overlaps the one before where the filters do not divide.
    """

    @property
    def values(self) -> np.ndarray:
        return np.concatenate([self._ordered_values.reshape(-1), np.zeros(self.isa.lanes(self.element), self.dtype)])

    @property
    def _ordered_values(self) -> np.ndarray:
        """[runs, stored elements] the weights of each run in the order in which ``_run`` loads them."""
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype:
        return self.conv.values.dtype

    @property
    def parameters(self) -> np.ndarray:
        """[F, 4] i32: one filter's lie together; a block's runs are with its first filter."""
        table = super().parameters.T.copy()
        table[:, 3] = 0
        for block, runs in enumerate(self.conv.counts):
            table[self.plan.first_filter(block, self.geometry.f), 3] = runs
        return table

    @property
    def filters(self) -> int:
        return self.plan.filters

    def _parameter(self, kind: int, filter: Index) -> ir.Value:
        """bias (0), multiplier (1), shift (2) or runs (3) of one filter."""
        value = emit.load_scalar(self.parameter_table, emit.add(emit.mul(filter, 4), kind))
        return arith.bitcast(ir.F32Type.get(), value) if kind == 0 and self.element == "f32" else value

    def _block(self, pixels: int, source: Index, target: Index) -> None:
        g = self.geometry
        per_group = g.f // g.groups

        def group(i: Index, run: ir.Value) -> list[ir.Value]:
            start = emit.add(source, emit.mul(i, self.layout.group_stride))

            def block(j: Index, run: ir.Value) -> list[ir.Value]:
                first = emit.mul(j, self.filters)
                if per_group % self.filters:
                    first = emit.minimum(first, per_group - self.filters)
                filter = emit.add(emit.mul(i, per_group), first)
                return [self._filters(filter, run, pixels, start, target)]

            return emit.loop(0, -(-per_group // self.filters), block, [run])

        emit.loop(0, g.groups, group, [emit.index(0)])

    def _filters(self, filter: Index, run: ir.Value, pixels: int, source: Index, target: Index) -> ir.Value:
        """One block of filters at ``pixels`` pixels; returns the next block's first run."""
        count = arith.index_cast(ir.IndexType.get(), self._parameter(3, filter))
        end = emit.index(emit.add(run, count))
        zeros = [self.isa.zero(self.element)] * (pixels * self.filters)
        sums = emit.loop(run, end, lambda r, *sums: self._run(r, sums, source), zeros)
        for b in range(self.filters):
            totals = emit.from_lanes([self.isa.total(s) for s in sums[b * pixels : (b + 1) * pixels]])
            at = emit.add(filter, b)
            scale = Requantization(self._parameter(1, at), self._parameter(2, at))
            results = self._finish(totals, self._parameter(0, at), scale)
            self.isa.store_strided(results, self.output, emit.add(target, at), self.geometry.f)
        return end

    def _run(self, run: Index, sums: Sequence[ir.Value], source: Index) -> list[ir.Value]:
        """Multiplies one run with each pixel's window.

        Args:
            sums: accumulators of each pixel of the first filter, then of the next.
        """
        raise NotImplementedError
