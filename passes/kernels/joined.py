"""The ``joined`` kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from iree.compiler import ir

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.filters import FilterKernel
from dtmm_mlir.passes.kernels.rows import RowLayout
from dtmm_mlir.passes.runs import UNROLLED_ELEMENTS, Steps


class JoinedKernel(FilterKernel):
    """Pixels as they lie in the input, for few channels: a run's inputs are contiguous, one vector or a few."""

    def _layout(self) -> RowLayout:
        lanes, stored = self.isa.lanes(self.element), self.length // self.filters
        self.steps = Steps.of(stored, lanes, UNROLLED_ELEMENTS // lanes)
        if self.steps.turns == 1:  # no need to multiply the padding
            self.steps = Steps.of(self.plan.run_width * self.geometry.c, lanes, stored)
        return RowLayout.plan(self.geometry, self.geometry.c, self.plan.rows, self.steps.elements)

    @property
    def _ordered_values(self) -> np.ndarray:
        """By vector, then filter."""
        runs = len(self.conv.values)
        vectors = self.length // self.filters // self.steps.lanes
        values = self.conv.values.reshape(runs, self.filters, vectors, self.steps.lanes)
        return values.transpose(0, 2, 1, 3).reshape(runs, self.length)

    def _run(self, run: Index, sums: Sequence[ir.Value], source: Index) -> list[ir.Value]:
        steps, pixels = self.steps, len(sums) // self.filters
        data, weights = emit.add(source, self._offset(run)), emit.mul(run, self.length)
        step = self.geometry.strides[1] * self.layout.pixel

        def turn(t: Index, *sums: ir.Value) -> list[ir.Value]:
            carried = list(sums)
            for v in range(steps.vectors):
                at = emit.add(emit.mul(t, steps.vectors * steps.lanes), v * steps.lanes)
                inputs = [
                    self.isa.prepare(emit.load(self.data, emit.add(emit.add(data, at), p * step), steps.lanes))
                    for p in range(pixels)
                ]
                for b in range(self.filters):
                    stored = emit.add(emit.mul(at, self.filters), b * steps.lanes)
                    w = self.isa.prepare(emit.load(self.weights, emit.add(weights, stored), steps.lanes))
                    for p in range(pixels):
                        number = b * pixels + p
                        carried[number] = self.isa.mac(carried[number], inputs[p], w)
            return carried

        return emit.loop(0, steps.turns, turn, list(sums))
