"""The ``table`` kernel: what a run is, in memory and in multiplications."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from iree.compiler import ir

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.filters import FilterKernel
from dtmm_mlir.passes.kernels.isa import Prepared
from dtmm_mlir.passes.kernels.rows import RowLayout

_WORD = 4
"""Bytes that the pixels of whole vectors are aligned to, at least: word loads reach further than byte loads."""

Sums = Sequence[ir.Value]


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
        return int(np.flatnonzero(places <= last).max()) + 1

    @cached_property
    def _ordered_values(self) -> np.ndarray:
        """By vector, then position of the run, then filter; then the joined part by vector and filter."""
        runs, channels, width = len(self.conv.values), self.geometry.group_channels, self.plan.run_width
        values = self.conv.values.reshape(runs, self.filters, width, channels)
        whole, joined = np.split(values, [channels - self.plan.joined], axis=3)
        joined = joined.reshape(runs, self.filters, 1, width * self.plan.joined)
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

    def _run(self, weights: ir.Value, data: ir.Value, joined: ir.Value, sums: Sums) -> Sums:
        g, lanes, pixels = self.geometry, self._lanes, len(sums) // self.filters
        together = self.plan.run_width * self.filters

        def whole(weights: Near, w: int, data: Near, x: int, size: int, sums: Sums) -> Sums:
            columns = [
                [p * g.strides[1] + k * g.dilations[1] for p in range(pixels)] for k in range(self.plan.run_width)
            ]
            return self._vector(weights, w, data, x, size, self.layout.pixel, columns, sums)

        def part(weights: Near, w: int, data: Near, x: int, size: int, sums: Sums) -> Sums:
            columns = [[p * g.strides[1] for p in range(pixels)]]
            return self._vector(weights, w, data, x, size, self.plan.joined, columns, sums)

        if self._vectors:
            weights, sums = self._vectors_of(self._vectors, together, self._chunk, whole, weights, data, sums)
        if self._joined_vectors:
            _, sums = self._vectors_of(self._joined_vectors, self.filters, lanes, part, weights, joined, sums)
        return sums

    def _vectors_of(
        self,
        vectors: int,
        together: int,
        last: int,
        body: Callable[[Near, int, Near, int, int, Sums], Sums],
        weights: ir.Value,
        data: ir.Value,
        sums: Sums,
    ) -> tuple[ir.Value, Sums]:
        """One part of a run, in turns of a loop where it is long.

        Args:
            vectors: along the channels.
            together: vectors of weights for each of them.
            last: elements stored of the weights of the last one.
            body: multiplies one vector.

        Returns:
            address behind the part's weights, and the sums.
        """
        per_turn = max(1, self.plan.unrolled // together)
        turns = (vectors - 1) // per_turn if vectors > per_turn else 0
        step = together * self._lanes

        def several(weights: ir.Value, data: ir.Value, count: int, last: int, sums: Sums) -> Sums:
            near_weights = Near(weights, self.isa.byte_reach, self._registers[0])
            near_data = Near(data, self.isa.word_reach, self._registers[1])
            for v in range(count):
                size = last if v == count - 1 else self._lanes
                sums = body(near_weights, v * step, near_data, v * self._lanes, size, sums)
            return sums

        if turns:

            def turn(left: ir.Value, weights: ir.Value, data: ir.Value, *sums: ir.Value) -> tuple[ir.Value, Sums]:
                left, more = emit.count_down(left)
                results = several(weights, data, per_turn, self._lanes, sums)
                return more, [
                    left,
                    self._weights_at(weights, per_turn * step),
                    self._at(data, per_turn * self._lanes),
                    *results,
                ]

            _, weights, data, *sums = emit.repeat([emit.splat(turns, emit.i32()), weights, data, *sums], turn)
        rest = vectors - turns * per_turn
        sums = several(weights, data, rest, last, sums)
        return self._weights_at(weights, (rest - 1) * step + together * last), sums

    def _vector(
        self,
        weights: Near,
        w: int,
        data: Near,
        x: int,
        size: int,
        pixel: int,
        columns: Sequence[Sequence[int]],
        sums: Sums,
    ) -> Sums:
        """Multiplies one vector of activations per column with one vector of weights per position and filter.

        Args:
            w: element of the first weights.
            x: element of the first column.
            size: elements stored of each vector of weights.
            pixel: elements from column to column.
            columns: [positions][pixels] the column that each pixel reads.
        """
        pixels = len(columns[0])
        products = [
            (column, k * self.filters + b, b * pixels + p)
            for k, reads in enumerate(columns)
            for b in range(self.filters)
            for p, column in enumerate(reads)
        ]
        if len({column for column, _, _ in products}) > len(columns) * self.filters:
            products.sort()  # the fewer operands are those that wait in registers for the others
        sums = list(sums)
        activations: dict[int, Prepared] = {}
        prepared: dict[int, Prepared] = {}
        for column, number, sum in products:
            if number not in prepared:
                prepared[number] = self.isa.load_weights(
                    weights.to((w + number * size) * self._element_bytes), self.element
                )
            if column not in activations:
                activations[column] = self._load_data(data, x + column * pixel, pixel)
            sums[sum] = self.isa.mac(sums[sum], activations[column], prepared[number])
        return sums

    def _load_data(self, near: Near, at: int, pixel: int) -> Prepared:
        """The activations at element ``at``, where pixels are ``pixel`` elements apart."""
        bytes = self.isa.row_bytes(self.element)
        aligned = pixel % _WORD == 0 and pixel == self.layout.pixel
        return self.isa.load_data(near.to(at * bytes), self.element, max(bytes, _WORD if aligned else 1))


class Near:
    """Addresses within reach of a load's offset: where one is not, the base moves there, once for all that follow.

    Args:
        base: an address.
        reach: how many bytes an offset may be at most; ``None`` for any.
        register: where the base is kept, if that matters.
    """

    def __init__(self, base: ir.Value, reach: int | None, register: str | None) -> None:
        self._base, self._at, self._reach, self._register = base, 0, reach, register

    def to(self, at: int) -> ir.Value:
        """The address ``at`` bytes behind the first base."""
        if self._reach is not None and abs(at - self._at) > self._reach:
            self._base, self._at = emit.opaque(emit.advance(self._base, at - self._at), self._register), at
        return emit.advance(self._base, at - self._at)
