"""The ``table`` kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from iree.compiler import ir

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.filters import FilterKernel
from dtmm_mlir.passes.kernels.isa import Prepared
from dtmm_mlir.passes.kernels.rows import RowLayout
from dtmm_mlir.passes.runs import Steps

_UNROLLED_WEIGHTS = 24
"""Vectors of weights that the innermost loop body loads; longer runs take several turns."""

_WORD = 4
"""Bytes that padded pixels are aligned to, at least: word loads reach further than byte loads."""


class TableKernel(FilterKernel):
    """Pixels padded to whole vectors: neighbouring pixels share the inputs of a run."""

    def _layout(self) -> RowLayout:
        g, together = self.geometry, self.plan.filters * self.plan.run_width
        self.steps = Steps.of(g.group_channels, self.isa.lanes(self.element), max(1, _UNROLLED_WEIGHTS // together))
        return RowLayout.plan(g, self.steps.elements, self.plan.rows, 0)

    @property
    def _chunk(self) -> int:
        """Elements that are stored of a filterlet's last vector: only those there are, where all is one turn."""
        lanes = self.steps.lanes
        return lanes if self.steps.turns > 1 else (self.geometry.group_channels - 1) % lanes + 1

    @property
    def _ordered_values(self) -> np.ndarray:
        """By vector, then position of the run, then filter; whole vectors but for the last."""
        runs, lanes, channels = len(self.conv.values), self.steps.lanes, self.geometry.group_channels
        values = self.conv.values.reshape(runs, self.filters, self.plan.run_width, channels).transpose(0, 2, 1, 3)
        stored = self.steps.elements - lanes + self._chunk
        values = np.pad(values, ((0, 0), (0, 0), (0, 0), (0, stored - channels)))
        chunks = np.split(values, range(lanes, stored, lanes), axis=3)
        return np.concatenate([chunk.reshape(runs, chunk[0].size if runs else 0) for chunk in chunks], axis=1)

    def _run(self, run: Index, sums: Sequence[ir.Value], source: Index) -> list[ir.Value]:
        g, steps = self.geometry, self.steps
        width, filters, pixels = self.plan.run_width, self.filters, len(sums) // self.filters
        vector = width * filters * steps.lanes
        stored = width * filters * (steps.elements - steps.lanes + self._chunk)
        data, weights = emit.add(source, self._offset(run)), emit.mul(run, stored)

        def turn(t: Index, *sums: ir.Value) -> list[ir.Value]:
            carried = list(sums)
            first = emit.add(weights, emit.mul(t, steps.vectors * vector))
            start = emit.add(data, emit.mul(t, steps.vectors * steps.lanes))
            for v in range(steps.vectors):
                size = self._chunk if v == steps.vectors - 1 else steps.lanes
                inputs: dict[int, Prepared] = {}
                for k in range(width):
                    for b in range(filters):
                        at = v * vector + (k * filters + b) * size
                        w = self.isa.prepare(emit.load(self.weights, emit.add(first, at), steps.lanes))
                        for p in range(pixels):
                            column = p * g.strides[1] + k * g.dilations[1]
                            if column not in inputs:
                                at = column * self.layout.pixel + v * steps.lanes
                                x = emit.load(self.data, emit.add(start, at), steps.lanes, _WORD)
                                inputs[column] = self.isa.prepare(x)
                            number = b * pixels + p
                            carried[number] = self.isa.mac(carried[number], inputs[column], w)
            return carried

        return emit.loop(0, steps.turns, turn, list(sums))
