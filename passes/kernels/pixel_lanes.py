"""The ``pixel_lanes`` kernel: vectors of neighbouring pixels, multiplied by four weights of one filter at a time.

Costs follow the filterlets that are kept, wherever they are: each is a walk over its quads of channels. Blocks of
several filters load pixels once for all of them, so filters that keep many positions in common are together. What
Elsen et al., "Fast Sparse ConvNets" (CVPR 2020), do for single weights of 1x1 convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.dialect.ops import PackedConvView
from dtmm_mlir.passes.kernels import emit, quads
from dtmm_mlir.passes.kernels.conv import ConvKernel
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.grouping import Grouping
from dtmm_mlir.passes.kernels.isa import Isa
from dtmm_mlir.passes.kernels.planes import PlaneLayout, Planes
from dtmm_mlir.passes.kernels.quads import CHANNELS, LANES, QUAD
from dtmm_mlir.passes.kernels.scaling import Scaling

_WORD = 4
"""Bytes of a parameter, and of a sum."""

_VECTOR = LANES * _WORD
"""Bytes of a vector of sums, or of pixels."""

_UNROLLED = 16
"""Quads of channels multiplied by straight-line code; more take turns of a loop."""


class PixelLanesKernel(ConvKernel):
    """Block of pixels after block of pixels: results of one filter after the other to memory, then transposed."""

    def __init__(self, conv: PackedConvView, isa: Isa) -> None:
        super().__init__(conv, isa)
        self.planes = PlaneLayout(self.geometry, min(self.plan.rows, self.geometry.oh), isa.quad_vectors)

    @property
    def row_type(self) -> ir.Type:
        return ir.IntegerType.get_signless(8)

    @property
    def vectors(self) -> int:
        """Vectors of pixels computed together."""
        return min(self.plan.pixels, self.planes.pixels // LANES)

    @cached_property
    def _blocks(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Those of as many filters together: [blocks, filters] int, and [blocks, KH * KW] bool where they have runs."""
        own = Grouping.of(self._kept, self.plan.filters).own
        return [(filters, union.reshape(len(union), -1)) for filters, union in own]

    @property
    def values(self) -> np.ndarray:
        """Run after run: by quad, then filter of the block."""
        padded = np.pad(self._dense, ((0, 0), (0, 0), (0, -self.geometry.c % QUAD)))
        in_quads = padded.reshape(*padded.shape[:2], self.planes.quads, QUAD)
        runs = [
            in_quads[filters[block], position].swapaxes(0, 1)
            for filters, union in self._blocks
            for block, position in np.argwhere(union)
        ]
        return np.concatenate([run.reshape(-1) for run in runs]) if runs else np.zeros(0, np.int8)

    @property
    def offsets(self) -> np.ndarray:
        """i32: of each block how many runs it has, the bytes to the results of each filter, and those to each run."""
        table = list[int]()
        for filters, union in self._blocks:
            for members, begins in zip(filters, union, strict=True):
                table += [int(begins.sum()), *(members * self._line).tolist()]
                table += [self.planes.offset(int(position)) for position in np.flatnonzero(begins)]
        return np.array(table, np.int32)

    @property
    def parameters(self) -> np.ndarray:
        """[F, 1 + words] i32: bias of sums over what is in planes, and scale; block after block."""
        weights = self._dense.sum(axis=(1, 2), dtype=np.int64)
        biases = (self.conv.bias - self.isa.planes_offset * weights).astype(np.int32)
        in_blocks = np.concatenate([filters.reshape(-1) for filters, _ in self._blocks])
        return np.concatenate([biases[:, None], self._scales], axis=1)[in_blocks]

    @cached_property
    def _scaling(self) -> Scaling | None:
        largest = self._largest_sums.reshape(-1)
        return Scaling(self.rescale, self.clamp or (-128, 127), largest) if self.rescale else None

    @cached_property
    def _scales(self) -> np.ndarray:
        """[F, words] i32."""
        return self.isa.pixel_scales(self._scaling) if self._scaling else np.zeros((self.geometry.f, 0), np.int32)

    @property
    def buffer_size(self) -> int:
        """Bytes of the planes and of a block's results: [vectors, F, 16] i8 or i32, with as many more filters as fill
        up the last quad, or those that are transposed together."""
        return self.planes.size + self.vectors * self._pitch

    @property
    def _size(self) -> int:
        """Bytes of a result."""
        return 1 if self.rescale else _WORD

    @property
    def _line(self) -> int:
        """From filter to filter of a block's results."""
        return LANES * self._size

    @property
    def _pitch(self) -> int:
        """From vector to vector of them."""
        return max(CHANNELS // self._size, -(-self.geometry.f // QUAD) * QUAD) * self._line

    def emit(
        self,
        source: ir.Value,
        values: ir.Value,
        offsets: ir.Value,
        parameters: ir.Value,
        rows: ir.Value | None,
        output: ir.Value,
    ) -> None:
        g = self.geometry
        self._weights, self._table, self._parameters_at = map(emit.pointer, (values, offsets, parameters))
        self._results, self.output = emit.pointer(rows, self.planes.size), output
        planes = Planes(self.planes, self.isa, source, rows, self.conv.input_zero_point)
        planes.begin()

        def refill(n: Index, b: Index) -> None:
            first = emit.minimum(emit.mul(b, self.planes.rows), g.oh - self.planes.rows)
            planes.refill(emit.mul(n, g.h * g.w * g.c), first)
            target = emit.mul(emit.add(emit.mul(n, g.oh), first), g.ow * g.f)
            self._pixel_blocks(planes.data, target)

        refills = -(-g.oh // self.planes.rows)
        emit.loop(0, g.n, lambda n: emit.loop(0, refills, lambda b: refill(n, b)))

    def _pixel_blocks(self, data: ir.Value, target: Index) -> None:
        """The last block overlaps the one before where the pixels do not divide."""
        together = self.vectors * LANES

        def block(b: Index) -> None:
            pixel = emit.minimum(emit.mul(b, together), self.planes.pixels - together)
            self._compute(emit.advance(data, emit.mul(pixel, QUAD)))
            self._transpose(emit.add(target, emit.mul(pixel, self.geometry.f)))

        emit.loop(0, -(-self.planes.pixels // together), block)

    # From pixels to results.

    def _compute(self, data: ir.Value) -> None:
        """The results of all filters at a block of pixels whose place in the first plane is ``data``."""
        walk, first = [self._weights, self._table], 0
        for filters, _ in self._blocks:
            count, members = filters.shape
            products = _Products(self.isa, self.planes, members, self.vectors)

            def block(
                b: Index, weights: ir.Value, table: ir.Value, products: _Products = products, first: int = first
            ) -> list[ir.Value]:
                members = products.filters
                number = emit.add(first, emit.mul(b, members))
                parameters = [self._parameters_of(emit.add(number, i)) for i in range(members)]
                sums = products.begin([_bias(each) for each in parameters])
                runs, *places = (_entry(table, i) for i in range(1 + members))
                walk = [weights, emit.advance(table, (1 + members) * _WORD), *sums]
                weights, table, *sums = emit.loop(0, runs, lambda _, *walk: products.run(data, *walk), walk)
                for each, place, totals in zip(parameters, places, products.totals(sums), strict=True):
                    target = emit.advance(self._results, place)
                    for v, result in enumerate(self._finish(totals, emit.advance(each, _WORD))):
                        emit.store_to(result, emit.advance(target, v * self._pitch))
                return [weights, table]

            walk = emit.loop(0, count, block, walk)
            first += filters.size

    def _parameters_of(self, number: Index) -> ir.Value:
        """Address of those of, of all blocks' filters, the ``number``-th."""
        return emit.advance(self._parameters_at, emit.mul(number, (1 + self._scales.shape[1]) * _WORD))

    def _finish(self, sums: Sequence[ir.Value], scale: ir.Value) -> list[ir.Value]:
        """One filter's sums as its results; ``scale`` is the address of its row of ``Isa.pixel_scales``."""
        if self._scaling:
            return self.isa.finish_pixels(sums, scale, self._scaling)
        return [emit.clamp(each, self.clamp) if self.clamp else each for each in sums]

    def _transpose(self, target: Index) -> None:
        """Stores a block's results, of which the first pixel's begin at element ``target`` of the output."""
        filters, size = self.geometry.f, self._size
        together = CHANNELS // size  # filters stored at once
        output = emit.pointer(self.output, target)

        def vector(v: Index) -> None:
            start = emit.advance(output, emit.mul(v, LANES * filters * size))
            results = emit.advance(self._results, emit.mul(v, self._pitch))

            def some(i: Index) -> None:
                """The last ones overlap others where ``together`` does not divide the filters."""
                first = emit.minimum(emit.mul(i, together), max(0, filters - together))
                lines = emit.advance(results, emit.mul(first, self._line))
                values = [emit.load_from(emit.advance(lines, i * _VECTOR), self._vector) for i in range(QUAD)]
                pixels = (quads.pixels_of_channels if self.rescale else quads.pixels_of_quads)(values)
                address = emit.advance(start, emit.mul(first, size))
                quads.store(self.isa, pixels, address, filters * size, min(filters * size, CHANNELS))

            emit.loop(0, -(-filters // together), some)

        emit.loop(0, self.vectors, vector)

    @property
    def _vector(self) -> ir.VectorType:
        """Results of 16 pixels: i8 of four filters, or i32 of one."""
        return emit.vector_type(_VECTOR, ir.IntegerType.get_signless(8)) if self.rescale else quads.vector_of_quads()


@dataclass(frozen=True)
class _Products:
    """The sums of a block of filters at some vectors of pixels: of each filter, of each vector, in several chains."""

    isa: Isa
    planes: PlaneLayout
    filters: int
    vectors: int

    @property
    def _chains(self) -> int:
        """Sums that each pixel of a filter is added up in."""
        return max(1, min(self.isa.sums_in_turn // (self.filters * self.vectors), self.planes.quads))

    def begin(self, biases: Sequence[ir.Value]) -> list[ir.Value]:
        """The sums before the first run."""
        sums = [bias for bias in biases for _ in range(self.vectors)]
        return sums + [emit.splat(0, quads.vector_of_quads())] * (len(sums) * (self._chains - 1))

    def run(self, data: ir.Value, weights: ir.Value, table: ir.Value, *sums: ir.Value) -> list[ir.Value]:
        """One filterlet of each filter; returns what follows ``data``."""
        quads = self.planes.quads
        at = emit.advance(data, _entry(table, 0))
        turns = quads // _UNROLLED if quads > _UNROLLED else 0

        def turn(_: Index, weights: ir.Value, at: ir.Value, *sums: ir.Value) -> list[ir.Value]:
            return self._quads(_UNROLLED, weights, at, sums)

        if turns:
            weights, at, *results = emit.loop(0, turns, turn, [weights, at, *sums])
        else:
            results = list(sums)
        weights, _, *results = self._quads(quads - turns * _UNROLLED, weights, at, results)
        return [weights, emit.advance(table, _WORD), *results]

    def _quads(self, count: int, weights: ir.Value, at: ir.Value, sums: Sequence[ir.Value]) -> list[ir.Value]:
        """``count`` quads of channels; returns the addresses of the next, and the sums."""
        filters, vectors, pitch, results = self.filters, self.vectors, self.planes.quad_pitch, list(sums)
        type = emit.vector_type(_VECTOR, ir.IntegerType.get_signless(8))
        stored = self.isa.load_quads(weights, count * filters)
        for q in range(count):
            places = [q * pitch + piece * self.planes.pitch for piece in range(self.planes.vectors)]
            rows = [self.isa.base_of_loads(emit.advance(at, place)) for place in places]
            pixels = [[emit.load_from(emit.advance(row, v * _VECTOR), type) for row in rows] for v in range(vectors)]
            chain = q % self._chains * filters * vectors
            for i in range(filters):
                weight = next(stored)
                for v in range(vectors):
                    place = chain + i * vectors + v
                    results[place] = self.isa.multiply_quads(results[place], pixels[v], weight)
        return [emit.advance(weights, count * filters * QUAD), emit.advance(at, count * pitch), *results]

    def totals(self, sums: Sequence[ir.Value]) -> list[list[ir.Value]]:
        """Of each filter, those of its vectors."""
        one = self.filters * self.vectors
        chains = [sums[at : at + one] for at in range(0, len(sums), one)]
        totals = [reduce(arith.addi, chain) for chain in zip(*chains, strict=True)]
        return [totals[at : at + self.vectors] for at in range(0, one, self.vectors)]


def _bias(parameters: ir.Value) -> ir.Value:
    """A vector of a filter's bias."""
    return emit.broadcast(emit.load_from(parameters, emit.i32(), _WORD), quads.vector_of_quads())


def _entry(table: ir.Value, number: int) -> ir.Value:
    """An i32 of it, as an index."""
    return arith.index_cast(ir.IndexType.get(), emit.load_from(emit.advance(table, number * _WORD), emit.i32(), _WORD))
