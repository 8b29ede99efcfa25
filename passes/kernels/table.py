"""The ``table`` kernel: what a run is, in memory and in multiplications."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from iree.compiler import ir

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.filters import FilterKernel, Run, Sums
from dtmm_mlir.passes.kernels.products import Product, Vectors
from dtmm_mlir.passes.kernels.rows import RowLayout

_WORD = 4
"""Bytes that the pixels of whole vectors are aligned to, at least: word loads reach further than byte loads."""


@dataclass(frozen=True)
class Part:
    """Some channels of a run.

    Attributes:
        vectors: along the channels.
        last: elements stored of the weights of the last one.
        pixel: elements from pixel to pixel.
        columns: [positions][pixels] the column that each pixel reads.
        members: those of a block's filters that have weights here.
    """

    vectors: int
    last: int
    pixel: int
    columns: Sequence[Sequence[int]]
    members: Sequence[int]

    @property
    def together(self) -> int:
        """Vectors of weights for each one along the channels."""
        return len(self.columns) * len(self.members)


class TableKernel(FilterKernel):
    """A run's channels come in two parts, each pixel's first ones in whole vectors, its last ones joined.

    Neighbouring pixels share the inputs of the first part. The joined channels of neighbouring pixels are contiguous:
    a run of few channels is one vector or a few, of which no two pixels share one.
    """

    def _layout(self) -> RowLayout:
        lanes = self._lanes
        self._vectors, self._joined_vectors = self.plan.vectors(self.geometry.group_channels, lanes)
        slack = self._joined_vectors * lanes - self.plan.run_width * self.plan.joined
        same = str(self.row_type) == self.element
        return RowLayout.plan(self.geometry, self._vectors * lanes, self.plan.joined, self.plan.rows, slack, same)

    @property
    def _chunk(self) -> int:
        """Elements that are stored of a filterlet's last whole vector: only those there are.

        The vector loaded from there reaches into what follows, and multiplies it by the zeros that fill up the pixel.
        """
        last = (self.geometry.group_channels - self.plan.joined - 1) % self._lanes
        places = self.isa.arrange(np.arange(self._lanes, dtype=self.dtype))
        stored = int(np.flatnonzero(places <= last).max()) + 1
        return -(-stored // _WORD) * _WORD if self._long_runs else stored

    @property
    def _long_runs(self) -> bool:
        """Whether a run's weights are more than a load of unaligned vectors reaches."""
        weights = self.plan.weight_vectors(self.geometry.group_channels, self._lanes) * self._lanes
        return self.element == "i8" and self.isa.byte_reach is not None and weights > self.isa.byte_reach

    @cached_property
    def _weights_alignment(self) -> int:
        """Bytes that vectors of weights are aligned to."""
        if self.element != "i8":
            return _WORD
        aligned = self._stored % _WORD == 0 and (not self._vectors or self._chunk % _WORD == 0)
        return _WORD if aligned else 1

    @cached_property
    def _ordered_values(self) -> np.ndarray:
        runs, channels = len(self.conv.values), self.geometry.group_channels
        return self._in_order(self.conv.values.reshape(runs, self.filters, self.plan.run_width, channels))

    def _in_order(self, values: np.ndarray) -> np.ndarray:
        """[runs, filters, positions, channels] as [runs, stored elements]: by vector, then position of the run, then
        filter; then the joined part by vector and filter."""
        runs, filters, width, channels = values.shape
        whole, joined = np.split(values, [channels - self.plan.joined], axis=3)
        joined = joined.reshape(runs, filters, 1, width * self.plan.joined)
        parts = [part for values in (whole, joined) for part in self._vectors_in(values)]
        if self._vectors:
            parts[self._vectors - 1] = parts[self._vectors - 1][..., : self._chunk]
        return np.concatenate([part.reshape(runs, part[0].size if runs else 0) for part in parts], axis=1)

    def _vectors_in(self, values: np.ndarray) -> list[np.ndarray]:
        """[runs, filters, positions, channels] as vectors of [runs, positions, filters, lanes]."""
        channels = values.shape[3]
        values = np.pad(values, ((0, 0), (0, 0), (0, 0), (0, -channels % self._lanes))).transpose(0, 2, 1, 3)
        vectors = -(-channels // self._lanes)
        return [self.isa.arrange(vector) for vector in np.split(values, vectors, axis=3)] if vectors else []

    def _run(
        self,
        weights: ir.Value,
        data: ir.Value,
        joined: ir.Value,
        sums: Sums,
        behind: int = 0,
        run: Run | None = None,
    ) -> tuple[ir.Value, Sums]:
        g, lanes, step = self.geometry, self._lanes, self.layout.strides[1]
        pixels = range(len(sums) // self.filters)
        run = run or Run(range(self.filters), self.plan.run_width)
        if self._vectors:
            columns = [[p * step + k * g.dilations[1] for p in pixels] for k in range(run.width)]
            whole = Part(self._vectors, self._chunk, self.layout.pixel, columns, run.members)
            weights, sums = self._multiply(whole, weights, data, sums, 0 if self._joined_vectors else behind)
        if self._joined_vectors:
            rest = Part(self._joined_vectors, lanes, self.plan.joined, [[p * step for p in pixels]], run.members)
            weights, sums = self._multiply(rest, weights, joined, sums, behind)
        return weights, sums

    def _multiply(
        self, part: Part, weights: ir.Value, data: ir.Value, sums: Sums, behind: int
    ) -> tuple[ir.Value, Sums]:
        """One part of a run, in turns of a loop where it is long."""
        per_turn = max(1, self.plan.unrolled // part.together)
        turns = (part.vectors - 1) // per_turn if part.vectors > per_turn else 0

        def several(
            weights: ir.Value, data: ir.Value, count: int, last: int, behind: int, sums: Sums
        ) -> tuple[ir.Value, Sums]:
            products = [
                p for v in range(count) for p in self._products(part, v, last if v == count - 1 else self._lanes)
            ]
            length = ((count - 1) * self._lanes + last) * part.together * self._element_bytes + behind
            sources = Vectors(weights, self._weights_alignment), Vectors(data, self._data_alignment(part.pixel))
            return self.isa.multiply(products, self.element, *sources, length, sums)

        if turns:

            def turn(left: ir.Value, weights: ir.Value, data: ir.Value, *sums: ir.Value) -> tuple[ir.Value, Sums]:
                left, more = emit.count_down(left)
                weights, results = several(weights, data, per_turn, self._lanes, 0, sums)
                return more, [left, weights, self._at(data, per_turn * self._lanes), *results]

            _, weights, data, *sums = emit.repeat([emit.splat(turns, emit.i32()), weights, data, *sums], turn)
        return several(weights, data, part.vectors - turns * per_turn, part.last, behind, sums)

    def _products(self, part: Part, vector: int, size: int) -> list[Product]:
        """The products of one vector along the channels.

        Args:
            size: elements stored of each vector of weights.
        """
        pixels, step = len(part.columns[0]), part.together * self._lanes
        uses = [
            (column, k * len(part.members) + number, b * pixels + p)
            for k, reads in enumerate(part.columns)
            for number, b in enumerate(part.members)
            for p, column in enumerate(reads)
        ]
        if len({column for column, _, _ in uses}) > part.together:
            uses.sort()  # the fewer operands are those that wait in registers for the others
        bytes, row_bytes = self._element_bytes, self.isa.row_bytes(self.element)
        return [
            Product(
                total, (vector * step + number * size) * bytes, (vector * self._lanes + column * part.pixel) * row_bytes
            )
            for column, number, total in uses
        ]

    def _data_alignment(self, pixel: int) -> int:
        """Bytes that activations are aligned to where pixels are ``pixel`` elements apart."""
        aligned = pixel % _WORD == 0 and pixel == self.layout.pixel
        return max(self.isa.row_bytes(self.element), _WORD if aligned else 1)
