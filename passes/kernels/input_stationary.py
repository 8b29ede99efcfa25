"""The ``input_stationary`` kernel: inputs stay in registers while the filters that multiply them pass by.

Costs follow the filterlets that are kept, wherever they are: nothing is loaded for a filter but its own weights and
sums. The name is that of the dataflow in Eyeriss (Chen et al., ISCA 2016).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import groupby

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, llvm

from dtmm_mlir.dialect.ops import Geometry
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.base import PassError
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.conv import RESULTS, WORD, Window, WindowKernel
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Stored
from dtmm_mlir.passes.kernels.mve_input_stationary import HEADER, LANES, STEP, Chain, Passes
from dtmm_mlir.passes.kernels.rows import RowLayout

PARAMETERS = 3
"""Words per filter: bias, multiplier, and shift with how far the next one's results are, see ``STEP``."""

_UNROLLED_PASSES = 4
"""Passes over the same position written by straight-line code; more take turns of a loop."""


def stored_sums(pixels: int) -> int:
    """Bytes of one filter's sums: whole vectors."""
    return -(-pixels // RESULTS) * RESULTS * WORD


def row_layout(g: Geometry, plan: Plan) -> RowLayout:
    """Channels in whole vectors, but for the joined ones."""
    whole = -(-(g.c - plan.joined) // LANES)
    return RowLayout.plan(g, whole * LANES, plan.joined, plan.rows, 0, same=True)


@dataclass(frozen=True)
class Kind:
    """Passes of one code.

    Attributes:
        joined: whether inputs are the joined channels of a kernel row, or the others of a kernel position.
        rows: first and last but one of a block's output rows that they are for; the others' inputs are padding.
        columns: how many of a block's columns they are for, from the first one whose inputs are no padding.
        vectors: first and last but one along the channels. The last of joined channels is by itself where it is masked.
    """

    joined: bool
    rows: tuple[int, int]
    columns: int
    vectors: tuple[int, int]


@dataclass(frozen=True)
class Zone:
    """Output rows whose windows have the same kernel rows in the padding.

    Attributes:
        start: the first of them.
        rows: [KH] which output rows of a block each kernel row is inside the input for; an empty range where for none.
    """

    start: int
    rows: tuple[tuple[int, int], ...]


@lru_cache
def _zones(g: Geometry, together: int) -> tuple[Zone, ...]:
    """Those of blocks of so many output rows."""
    zones = list[Zone]()
    for start in range(0, g.oh, together):
        rows = tuple(_rows_inside(g, start, together, ky) for ky in range(g.kh))
        if not zones or rows != zones[-1].rows:
            zones.append(Zone(start, rows))
    return tuple(zones)


def _rows_inside(g: Geometry, start: int, together: int, ky: int) -> tuple[int, int]:
    return _inside((start + np.arange(together)) * g.strides[0] - g.pads[0] + ky * g.dilations[0], g.h)


def columns_inside(g: Geometry, kx: int) -> tuple[int, int]:
    """First and last but one of the output columns at which a kernel column is inside the input."""
    return _inside(np.arange(g.ow) * g.strides[1] - g.pads[2] + kx * g.dilations[1], g.w)


def _inside(at: np.ndarray, size: int) -> tuple[int, int]:
    """First and last but one of the places that lie inside the input; an empty range where none do."""
    inside = np.flatnonzero((at >= 0) & (at < size))
    return (int(inside[0]), int(inside[-1]) + 1) if inside.size else (0, 0)


class Schedule:
    """Which passes a convolution takes, and in which order.

    Attributes:
        layout: of its row buffer.
        zones: of its output rows, in their order; one where the plan does not skip padding.
        columns: [KW] which columns of a block each kernel column is inside the input for.
        order: kernel positions in the order of what is stored of them; those of most columns first.
        kinds: of passes.
        passes: their code.
    """

    def __init__(self, g: Geometry, plan: Plan) -> None:
        self.geometry, self.plan, self.layout = g, plan, row_layout(g, plan)
        everywhere = (Zone(0, ((0, plan.pixel_rows),) * g.kh),)
        self.zones = _zones(g, plan.pixel_rows) if plan.skip_padding else everywhere
        whole = (0, min(plan.pixels, g.ow))
        self.columns = [columns_inside(g, kx) if plan.skips_columns else whole for kx in range(g.kw)]
        counts = np.array([end - start for start, end in self.columns])
        order = np.argsort(-np.tile(counts, g.kh), kind="stable")
        self.order = [int(place) for place in order if counts[place % g.kw]]
        ranges = sorted({rows for zone in self.zones for rows in zone.rows if rows[0] < rows[1]})
        ranges.sort(key=self._is_partial)
        self.kinds = [
            Kind(joined, rows, count, vectors)
            for joined in (False, True)
            for rows in ranges
            for count in ([whole[1]] if joined else sorted({*counts.tolist()} - {0}, reverse=True))
            for vectors in self._parts(joined)
        ]
        self.passes = Passes(tuple(self._chains(kind) for kind in self.kinds))
        self._places = {
            (kind, zone): self._places_in(kind, zone) for kind in self.kinds for zone in (*self.zones, None)
        }

    @staticmethod
    @lru_cache(maxsize=1024)
    def of(g: Geometry, plan: Plan) -> Schedule:
        """Of one plan there is one, whatever the filterlets."""
        return Schedule(g, plan)

    def _is_partial(self, rows: tuple[int, int]) -> bool:
        return rows != (0, self.plan.pixel_rows)

    def stored(self, joined: bool) -> list[int]:
        """Bytes of the weights of each vector, along all channels but the joined ones, or along those of a row."""
        g, joins = self.geometry, self.plan.joined
        channels = g.kw * joins if joined else g.c - joins
        return [min(channels - at, LANES) for at in range(0, channels, LANES)]

    def _parts(self, joined: bool) -> list[tuple[int, int]]:
        """First and last but one of the vectors of each kind."""
        stored = self.stored(joined)
        whole = sum(n == LANES for n in stored) if joined else len(stored)
        return [part for part in ((0, whole), (whole, len(stored))) if part[0] < part[1]]

    @property
    def pixels(self) -> int:
        """Pixels of one output row in a block."""
        return min(self.plan.pixels, self.geometry.ow)

    def _chains(self, kind: Kind) -> tuple[Chain, ...]:
        down, right = self.layout.strides
        count = kind.rows[1] - kind.rows[0]
        pixel, alignment = (self.plan.joined, 1) if kind.joined else (self.layout.pixel, WORD)
        places = [(y, x) for y in range(count) for x in range(kind.columns)]
        inputs = tuple(y * down * self.layout.row + x * right * pixel for y, x in places)
        sums = tuple(y * self.pixels + x for y, x in places)
        stored = self.stored(kind.joined)[slice(*kind.vectors)]
        return tuple(Chain(inputs, sums, alignment, n, self.plan.unrolled, kind.joined and n < LANES) for n in stored)

    def places(self, kind: Kind, zone: Zone | None = None) -> np.ndarray:
        """Kernel positions in their order, or rows, of a kind's passes, in one zone or in any."""
        return self._places[kind, zone]

    def _places_in(self, kind: Kind, zone: Zone | None) -> np.ndarray:
        zones = [zone] if zone else self.zones
        rows = [ky for ky in range(self.geometry.kh) if any(each.rows[ky] == kind.rows for each in zones)]
        if kind.joined:
            return np.array(rows, int)
        return np.array(
            [p for p in self.order if p // self.geometry.kw in rows and self._columns_at(p) == kind.columns], int
        )

    def _columns_at(self, position: int) -> int:
        start, end = self.columns[position % self.geometry.kw]
        return end - start

    def first_column(self, joined: bool, place: int) -> int:
        """The first column of a block that passes at ``place`` are for."""
        return 0 if joined else self.columns[place % self.geometry.kw][0]

    def offset_at(self, joined: bool, place: int) -> int:
        """Bytes from a window to the inputs at ``place`` of the first row of a block, and its first column there."""
        columns = self.first_column(joined, place) * self.layout.strides[1] * self.layout.pixel
        return self.layout.offset(place * self.geometry.kw if joined else place) + columns

    def offset(self, kind: Kind, place: int) -> int:
        """Bytes from a window to the inputs of a kind's first pass at ``place``."""
        rows = kind.rows[0] * self.layout.strides[0] * self.layout.row
        return self.offset_at(kind.joined, place) + rows + kind.vectors[0] * LANES

    def rows_of(self, zone: Zone) -> int:
        """Output rows of a zone."""
        following = [each.start for each in self.zones if each.start > zone.start]
        return min([*following, self.geometry.oh]) - zone.start

    def list_words(self, counts: list[np.ndarray]) -> int:
        """Words of the lists of all zones, and of the addresses of sums; ``counts`` as of ``filters``."""
        words = sum(self.passes.list_words([len(each) for each in self.filters(zone, counts)]) for zone in self.zones)
        return words + sum(self.passes.round_words(k, each) for k, each in enumerate(self.filters(None, counts)))

    def memory_words(self, counts: list[np.ndarray]) -> int:
        """Words of memory for them: each kind's addresses are written round by round, up to one beyond their end."""
        return self.list_words(counts) + len(self.kinds) * self.plan.unrolled

    def filters(self, zone: Zone | None, counts: list[np.ndarray]) -> list[list[int]]:
        """For each kind, how many filters take part at each of its places where any does, in one zone or in any.

        Args:
            counts: [KH * KW] filters that keep a position, and [KH] filters that keep any of a row.
        """
        return [[int(count) for count in counts[kind.joined][self.places(kind, zone)] if count] for kind in self.kinds]


def counts_of(kept: np.ndarray) -> list[np.ndarray]:
    """What ``Schedule.filters`` takes, of [F, KH, KW] bool."""
    return [kept.sum(axis=0).reshape(-1), np.asarray(kept.any(axis=2)).sum(axis=0)]


class InputStationaryKernel(WindowKernel):
    """Kernel position after kernel position, each with all filters that keep it; sums are in memory between them.

    Behind the row buffer lie the sums, of each zone a list of passes, and of each kind the addresses of sums.
    """

    def _layout(self) -> RowLayout:
        self._schedule = Schedule.of(self.geometry, self.plan)
        return self._schedule.layout

    @property
    def row_type(self) -> ir.Type:
        return ir.Type.parse(self.element)

    @cached_property
    def _pixels(self) -> int:
        return self._schedule.pixels * self.plan.pixel_rows

    @cached_property
    def _results_at(self) -> tuple[int, ...]:
        """Elements from the first pixel's results to those of each pixel of a block."""
        rows, columns = range(self.plan.pixel_rows), range(self._schedule.pixels)
        return tuple((y * self.geometry.ow + x) * self.geometry.f for y in rows for x in columns)

    @property
    def _passes(self) -> Passes:
        return self._schedule.passes

    @cached_property
    def _takes_part(self) -> tuple[np.ndarray, np.ndarray]:
        """[F, KH * KW] and [F, KH] bool: which filters take part at a position, and at any of a row."""
        return self._kept.reshape(self.geometry.f, -1), np.asarray(self._kept.any(axis=2))

    @cached_property
    def _counts(self) -> list[np.ndarray]:
        return [kept.sum(axis=0) for kept in self._takes_part]

    @cached_property
    def _places(self) -> list[list[int]]:
        """Positions, and rows, where any filter takes part in passes, in the order of what is stored of them."""
        joins, g = self.plan.joined, self.geometry
        positions = self._schedule.order if joins < g.c else []
        orders = positions, range(g.kh if joins else 0)
        return [[p for p in order if counts[p]] for order, counts in zip(orders, self._counts, strict=True)]

    # What the kernel is given.

    @property
    def values(self) -> np.ndarray:
        """By position, then vector, then filter; then by row of joined channels."""
        parts = [
            self._weights(joined, place)[:, v * LANES : v * LANES + stored].reshape(-1)
            for joined in (False, True)
            for place in self._places[joined]
            for v, stored in enumerate(self._schedule.stored(joined))
        ]
        vectors = [self._schedule.stored(joined) for joined in (False, True) if self._places[joined]]
        return np.concatenate([*parts, np.zeros(LANES - vectors[-1][-1] if vectors else 0, np.int8)])

    def _weights(self, joined: bool, place: int) -> np.ndarray:
        """[filters, channels] of those that take part at a position or row, filled up to whole vectors."""
        channels, width = self.geometry.c - self.plan.joined, self.geometry.kw
        filters = np.flatnonzero(self._takes_part[joined][:, place])
        if joined:
            rows = self._dense[filters, place * width : (place + 1) * width, channels:].reshape(len(filters), -1)
        else:
            rows = self._dense[filters, place, :channels]
        return np.pad(rows, ((0, 0), (0, -rows.shape[1] % LANES)))

    @property
    def offsets(self) -> np.ndarray:
        """i16, or i32 where they do not fit: of each position, and of each row of joined channels, bytes from a window
        to its inputs, how many filters take part, and where their sums are, in bytes."""
        table = list[int]()
        for joined in (False, True):
            for place in self._places[joined]:
                filters = np.flatnonzero(self._takes_part[joined][:, place])
                sums = np.searchsorted(self._blocks, filters) * stored_sums(self._pixels)
                sums += self._schedule.first_column(joined, place) * WORD
                table += [self._schedule.offset_at(joined, place), len(filters), *sums.tolist()]
                first = len(table) - len(filters)
        table += [0] * max(0, first + self.plan.unrolled - len(table)) if table else []  # read with the last round
        numbers = np.array(table, np.int32)
        small = not numbers.size or (np.abs(numbers) < 1 << 15).all()
        return numbers.astype(np.int16) if small else numbers

    def _before(self, joined: bool, place: int) -> tuple[int, int]:
        """Entries of ``offsets`` and bytes of ``values`` before those of a position or row."""
        entries = weights = 0
        for each in (False, True):
            for other in self._places[each]:
                if (each, other) == (joined, place):
                    return entries, weights
                count = int(self._counts[each][other])
                entries += 2 + count
                weights += count * sum(self._schedule.stored(each))
        raise AssertionError

    @property
    def parameters(self) -> np.ndarray:
        """[computed filters, 3] i32, see ``PARAMETERS``; then the constant filters; then ``_biases``, and a pattern."""
        table = np.ascontiguousarray(super().parameters.T)[self._blocks, :PARAMETERS]
        table[:, 2] = table[:, 2] & (1 << STEP) - 1 | self._steps[: len(table)] << STEP
        table = self._with_constants(table, self._steps[len(table) :])
        return self._with_pattern(np.concatenate([table.reshape(-1), self._biases.reshape(-1)]).astype(np.int32))

    @cached_property
    def _biases(self) -> np.ndarray:
        """[zones, computed filters, own biases] i32: what sums begin with where passes over padding are left out that
        would have added something: one bias for each output row of a block, or what is missing of each sum, two in a
        word."""
        if not self._own_biases:
            return np.zeros((0, 0, 0), np.int32)
        missing = self._missing_sums[:, self._blocks]
        if not self.plan.skips_columns:
            biases = self.conv.bias[self._blocks, None] + missing[..., 0] * self.conv.input_zero_point
            return biases.astype(np.int32)
        halves = (missing * (self.conv.input_zero_point >> self._missing_shift)).reshape(*missing.shape[:2], -1)
        if halves.size and not fit_halves(halves):
            raise PassError(
                self.conv.op, "has weights whose sums are too large for its plan's skip_padding = 2; take 1."
            )
        padded = np.pad(halves, ((0, 0), (0, 0), (0, 2 * self._own_biases - halves.shape[2])))
        return np.ascontiguousarray(padded, "<i2").view("<i4")

    @property
    def _missing_sums(self) -> np.ndarray:
        """[zones, filters, output rows, columns of a block]: sums of the weights that are not multiplied there."""
        g, schedule = self.geometry, self._schedule
        rows = np.array([[_outside(rows, self.plan.pixel_rows) for rows in zone.rows] for zone in schedule.zones])
        columns = np.array([_outside(columns, schedule.pixels) for columns in schedule.columns])
        sums = self._dense.reshape(g.f, g.kh, g.kw, g.c).astype(np.int64)
        alone = sums[..., : g.c - self.plan.joined].sum(axis=3)
        above = np.einsum("fkx,zky->zfy", sums.sum(axis=3), rows)
        return above[..., None] + np.einsum("fkx,zky,xp->zfyp", alone, 1 - rows, columns)

    @cached_property
    def _own_biases(self) -> int:
        """Words of each filter in a table of their own."""
        return own_biases(self.geometry, self.plan, self.conv.input_zero_point)

    @property
    def _missing_shift(self) -> int | None:
        """As of ``Stored``."""
        skips = self._own_biases and self.plan.skips_columns
        return trailing_zeros(self.conv.input_zero_point) if skips else None

    @property
    def _order(self) -> np.ndarray:
        """The computed filters and the constant ones."""
        return np.concatenate([self._blocks, self._constants])

    @property
    def _steps(self) -> np.ndarray:
        return np.diff(self._order, append=self._order[-1:])

    @property
    def buffer_size(self) -> int:
        """Bytes of the row buffer, the sums, the lists of passes and the addresses of sums."""
        return self._lists_at[0] + self._schedule.memory_words(self._counts) * WORD

    @property
    def _sums_at(self) -> int:
        return -(-self.layout.size // LANES) * LANES

    @cached_property
    def _lists_at(self) -> list[int]:
        """Bytes to the list of each zone, and to behind the last one."""
        schedule = self._schedule
        places = [[len(each) for each in schedule.filters(zone, self._counts)] for zone in schedule.zones]
        begin = self._sums_at + len(self._blocks) * stored_sums(self._pixels)
        return (begin + np.cumsum([0, *(WORD * self._passes.list_words(each) for each in places)])).tolist()

    def _rounds_at(self, kind: int, place: int) -> int:
        """Bytes to the addresses of the sums of the filters that take part at ``place`` of ``kind``."""
        filters = self._schedule.filters(None, self._counts)
        words = sum(self._passes.round_words(k, filters[k]) + self.plan.unrolled for k in range(kind))
        which = self._schedule.kinds[kind]
        places = self._schedule.places(which).tolist()
        counts = [int(self._counts[which.joined][p]) for p in places[: places.index(place)]]
        return self._lists_at[-1] + (words + self._passes.round_words(kind, counts)) * WORD

    def _stretches(self, kind: Kind, zone: Zone) -> list[list[int]]:
        """The places of a kind in one zone whose entries in ``offsets`` are one behind the other."""
        wanted, stretches = set(self._schedule.places(kind, zone).tolist()), list[list[int]]()
        before = False
        for place in self._places[kind.joined]:
            if place in wanted:
                stretches += [] if before else [[]]
                stretches[-1].append(place)
            before = place in wanted
        return stretches

    # What is written ahead of the loops.

    def _begin(self) -> None:
        """Biases as the first sums, and the lists of passes."""
        self._sums = emit.opaque(emit.pointer(self.memory, self._sums_at))
        self._lists = emit.opaque(emit.pointer(self.memory, self._lists_at[0]))
        self._store_biases(self._biases_from(0) if self._own_biases else emit.pointer(self.parameter_table))
        if not self._has_passes:
            return
        for kinds, places in self._sharing():
            self._write_rounds(kinds, places)
        self._written: dict[int, list[tuple[list[int], ir.Value]]] = {}
        for number in np.argsort(-np.diff(self._lists_at), kind="stable"):  # the longest first: others have parts of it
            self._write_list(int(number))

    @cached_property
    def _has_passes(self) -> bool:
        return any(any(each) for each in self._schedule.filters(None, self._counts))

    def _store_biases(self, biases: ir.Value) -> None:
        """Writes what the sums of all filters begin with."""
        steps = PARAMETERS * WORD, (self._own_biases or PARAMETERS) * WORD, stored_sums(self._pixels)

        def filters(count: int, *cursor: ir.Value) -> list[ir.Value]:
            for f in range(count):
                self._begin_sums(*(emit.advance(at, f * step) for at, step in zip(cursor, steps, strict=True)))
            return [emit.advance(at, count * step) for at, step in zip(cursor, steps, strict=True)]

        cursor = [emit.pointer(self.parameter_table), biases, self._sums]
        if len(self._blocks) > 1:
            cursor = emit.loop(0, len(self._blocks) // 2, lambda _, *at: filters(2, *at), cursor)
        filters(len(self._blocks) % 2, *cursor)

    def _begin_sums(self, parameters: ir.Value, biases: ir.Value, sums: ir.Value) -> None:
        """Writes what one filter's sums begin with."""
        type, halves = (emit.vector_type(RESULTS, each) for each in (emit.i32(), ir.IntegerType.get_signless(16)))
        shift = self._missing_shift
        source, words = (biases, max(self._own_biases, 1)) if shift is None else (parameters, 1)
        for number in range(stored_sums(self._pixels) // (RESULTS * WORD)):
            if number < words:
                bias = emit.load_from(emit.advance(source, number * WORD), emit.i32(), WORD)
            value = emit.broadcast(bias, type)
            if shift is not None:
                less = emit.load_from(emit.advance(biases, number * RESULTS * 2), halves, 2)
                less = arith.shli(arith.extsi(type, less), emit.splat(shift, type))
                value = arith.addi(value, less)
            emit.store_to(value, emit.advance(sums, number * RESULTS * WORD), WORD)

    def _at_lists(self, at: int) -> ir.Value:
        """An address ``at`` bytes from the row buffer, within lists and addresses."""
        return emit.advance(self._lists, at - self._lists_at[0])

    def _entries(self, joined: bool, place: int) -> ir.Value:
        """The address of a position's or row's entries in ``offsets``."""
        return emit.pointer(self.offset_table, self._before(joined, place)[0])

    def _read(self, address: ir.Value) -> tuple[ir.Value, ir.Value]:
        """An entry of ``offsets`` as i32, and the address of the next."""
        entry = ir.MemRefType(self.offset_table.type).element_type
        size = entry.width // 8
        value = emit.load_from(address, entry, size)
        return (value if size == WORD else arith.extsi(emit.i32(), value)), emit.advance(address, size)

    def _sharing(self) -> Iterator[tuple[list[int], list[int]]]:
        """Places with entries in ``offsets`` one behind the other, and the kinds of passes that all of them have."""
        for joined, places in zip((False, True), self._places, strict=True):
            for numbers, some in groupby(places, partial(self._kinds_at, joined)):
                if numbers:
                    yield numbers, list(some)

    def _kinds_at(self, joined: bool, place: int) -> list[int]:
        """The kinds of passes over a position, or over a row's joined channels."""
        kinds = enumerate(self._schedule.kinds)
        return [k for k, kind in kinds if kind.joined == joined and place in self._schedule.places(kind)]

    def _write_rounds(self, numbers: list[int], places: list[int]) -> None:
        """The addresses of the sums of the filters that take part at some places, for some kinds of passes."""
        kinds = [self._schedule.kinds[number] for number in numbers]
        chains = [self._passes.kinds[number][0] for number in numbers]
        unrolled, joined = self.plan.unrolled, kinds[0].joined
        entry, lanes = ir.MemRefType(self.offset_table.type).element_type, min(unrolled, RESULTS)
        narrow, wide = (emit.vector_type(lanes, type) for type in (entry, emit.i32()))
        rows = [emit.advance(self._sums, kind.rows[0] * self._schedule.pixels * WORD) for kind in kinds]
        begins = [emit.broadcast(llvm.PtrToIntOp(emit.i32(), sums).result, wide) for sums in rows]
        most = max(int(self._counts[joined][place]) for place in places)

        def copy(at: int, source: ir.Value, targets: Sequence[ir.Value]) -> None:
            value = emit.load_from(emit.advance(source, at, entry), narrow, entry.width // 8)
            value = value if narrow == wide else arith.extsi(wide, value)
            for begin, target in zip(begins, targets, strict=True):
                emit.store_to(arith.addi(value, begin), emit.advance(target, at * WORD), WORD)

        def round(filters: ir.Value, source: ir.Value, *targets: ir.Value) -> list[ir.Value]:
            """A whole round is copied, of which what is too much is overwritten by what follows."""
            for at in range(0, unrolled, lanes):
                copy(at, source, targets)
            source = emit.advance(source, arith.index_cast(ir.IndexType.get(), filters), entry)
            behind = [_behind(target, arith.shli(filters, _number(2))) for target in targets]
            again = [_number(self._passes.again(chain)) for chain in chains]
            return [source, *(_put(target, word) for target, word in zip(behind, again, strict=True))]

        def place(_: Index, source: ir.Value, *targets: ir.Value) -> list[ir.Value]:
            count, source = self._read(emit.advance(source, 1, entry))
            source, *ends = round(arith.subi(_number(unrolled), _skipped(count, unrolled)), source, *targets)
            if most > unrolled:
                more = arith.subi(_rounds(count, unrolled), _number(1))
                whole = partial(round, _number(unrolled))
                more = arith.index_cast(ir.IndexType.get(), more)
                source, *ends = emit.loop(0, more, lambda _, *at: whole(*at), [source, *ends])
            for chain, end in zip(chains, ends, strict=True):
                _put(emit.advance(end, -WORD), _number(self._passes.following(chain)))
            return [source, *ends]

        targets = [self._at_lists(self._rounds_at(number, places[0])) for number in numbers]
        emit.loop(0, len(places), place, [self._entries(joined, places[0]), *targets])

    def _write_list(self, number: int) -> None:
        """The list of passes of one zone."""
        schedule, passes, zone = self._schedule, self._passes, self._schedule.zones[number]
        list_at = self._at_lists(self._lists_at[number])
        header = emit.advance(list_at, WORD)
        stretches = [self._stretches(kind, zone) for kind in schedule.kinds]
        present = [k for k, each in enumerate(stretches) if each or not k]
        at, joined = 0, False  # of the address of inputs, behind a window of the kind's channels
        for k, after in zip(present, [*present[1:], None], strict=True):
            kind, chains = schedule.kinds[k], passes.kinds[k]
            at = 0 if kind.joined and not joined else at
            joined = kind.joined
            for places in stretches[k]:
                begin = header
                for piece, source in self._pieces(k, places):
                    if source is None:
                        header = self._write_passes(k, piece, at, header)
                    else:
                        header = self._copy_passes(k, piece, at, source, header)
                    at = schedule.offset(kind, piece[-1]) + (len(chains) - 1) * LANES + chains[-1].moved
                self._written.setdefault(k, []).append((places, begin))
            back = _number(-chains[-1].moved if stretches[k] else 0)
            leave = passes.leave(chains[-1], None if after is None else passes.kinds[after][-1])
            header = _put(header, list_at, list_at, back, _number(leave))

    def _pieces(self, number: int, places: list[int]) -> list[tuple[list[int], ir.Value | None]]:
        """Neighbouring places of one kind in parts, and where the passes at those of a part are written already."""
        for others, source in self._written.get(number, []):
            common = [place for place in places if place in others]
            if common:
                first, behind = places.index(common[0]), places.index(common[-1]) + 1
                entries = others.index(common[0]) * len(self._passes.kinds[number])
                return [
                    *(self._pieces(number, places[:first]) if first else []),
                    (common, emit.advance(source, entries * HEADER * WORD)),
                    *(self._pieces(number, places[behind:]) if places[behind:] else []),
                ]
        return [(places, None)]

    def _copy_passes(self, number: int, places: list[int], at: int, source: ir.Value, header: ir.Value) -> ir.Value:
        """What ``_write_passes`` does, with the same passes of another list at ``source``."""
        kind, chains = self._schedule.kinds[number], self._passes.kinds[number]
        type = emit.vector_type(HEADER, emit.i32())

        def entry(_: Index, source: ir.Value, target: ir.Value) -> list[ir.Value]:
            emit.store_to(emit.load_from(source, type, WORD), target, WORD, volatile=True)
            return [emit.advance(address, HEADER * WORD) for address in (source, target)]

        _, end = emit.loop(0, len(places) * len(chains), entry, [source, header])
        step = self._schedule.offset(kind, places[0]) - at
        emit.store_to(_number(step), emit.advance(header, 2 * WORD), WORD)
        return end

    def _write_passes(self, number: int, places: list[int], at: int, header: ir.Value) -> ir.Value:
        """The passes at some places of one kind; returns where the list goes on.

        Args:
            at: bytes from a window to where the address of the inputs is before.
        """
        kind, chains, passes = self._schedule.kinds[number], self._passes.kinds[number], self._passes
        unrolled, shift = (
            chains[0].unrolled,
            self._schedule.offset(kind, places[0]) - self._schedule.offset_at(kind.joined, places[0]),
        )
        moved, stored = (len(chains) - 1) * LANES + chains[-1].moved, self._schedule.stored(kind.joined)

        def place(
            _: Index, source: ir.Value, header: ir.Value, rounds: ir.Value, weights: ir.Value, at: ir.Value
        ) -> list[ir.Value]:
            offset, source = self._read(source)
            count, source = self._read(source)
            offset = arith.addi(offset, _number(shift))
            begin = _entry(chains[0], count)
            following = _behind(weights, arith.muli(count, _number(sum(stored))))
            weights = _behind(weights, arith.muli(count, _number(sum(stored[: kind.vectors[0]]))))

            def pass_(before: Chain, chain: Chain, step: ir.Value, *at: ir.Value) -> list[ir.Value]:
                header, weights = at
                code = arith.addi(begin, _number(passes.jump(before, chain)))
                return [
                    _put(header, rounds, weights, step, code),
                    _behind(weights, arith.muli(count, _number(chain.stored))),
                ]

            step = _number(LANES - chains[0].moved)
            header, weights = pass_(chains[-1], chains[0], arith.subi(offset, at), header, weights)
            middle = partial(pass_, chains[0], chains[0], step)
            if len(chains) - 2 > _UNROLLED_PASSES:
                header, weights = emit.loop(1, len(chains) - 1, lambda _, *at: middle(*at), [header, weights])
            else:
                for _ in chains[1:-1]:
                    header, weights = middle(header, weights)
            if len(chains) > 1:
                header, weights = pass_(chains[0], chains[-1], step, header, weights)
            words = arith.addi(count, _rounds(count, unrolled))
            entry = ir.MemRefType(self.offset_table.type).element_type
            source = emit.advance(source, arith.index_cast(ir.IndexType.get(), count), entry)
            rounds = _behind(rounds, arith.muli(words, _number(WORD)))
            return [source, header, rounds, following, arith.addi(offset, _number(moved))]

        begin = [
            self._entries(kind.joined, places[0]),
            header,
            self._at_lists(self._rounds_at(number, places[0])),
            emit.pointer(self.weights, self._before(kind.joined, places[0])[1]),
            _number(at),
        ]
        return emit.loop(0, len(places), place, begin)[1]

    # The loops.

    def _begin_row(self, y: Index) -> None:
        """Which list serves output row ``y``, and which biases it and the row that is next."""
        self._list = emit.advance(self._lists, self._of_row(y, [at - self._lists_at[0] for at in self._lists_at[:-1]]))
        if self._joined_steps:
            at, self._joined_start = (self._of_row(y, [each[i] for each in self._joined_steps]) for i in range(2))
            self._joined_step = emit.advance(self._lists, at)
        if self._own_biases:
            starts = [zone.size * number for number, zone in enumerate(self._biases)]
            following = emit.add(y, self.plan.pixel_rows)
            ends = arith.cmpi(arith.CmpIPredicate.sge, emit.index(following), emit.index(self.geometry.oh))
            behind = arith.select(ends, emit.index(starts[0]), emit.index(self._of_row(following, starts)))
            self._row_biases = self._biases_from(self._of_row(y, starts))
            self._next_biases = self._biases_from(behind)

    def _of_row(self, y: Index, values: list[int]) -> Index:
        """The one of ``values``, one for each zone, that output row ``y`` is in."""
        chosen: Index = values[0]
        for zone, value in zip(self._schedule.zones[1:], values[1:], strict=True):
            reached = arith.cmpi(arith.CmpIPredicate.sge, emit.index(y), emit.index(zone.start))
            chosen = arith.select(reached, emit.index(value), emit.index(chosen))
        return chosen

    def _biases_from(self, at: Index) -> ir.Value:
        """The address of what is ``at`` words behind the first zone's biases."""
        start = self.parameters.size - self._pattern_words - self._biases.size
        return emit.pointer(self.parameter_table, emit.add(at, start))

    def _pixel_blocks(self, window: Index, target: Index) -> None:
        self._last_target = emit.add(target, (self.geometry.ow - self._schedule.pixels) * self.geometry.f)
        super()._pixel_blocks(window, target)

    def _biases_behind(self, target: Index) -> ir.Value:
        """Biases that the sums of the block behind the one at ``target`` begin with."""
        if self._schedule.pixels == self.geometry.ow:
            return self._next_biases
        ends = arith.cmpi(arith.CmpIPredicate.eq, emit.index(target), emit.index(self._last_target))
        return arith.select(ends, self._next_biases, self._row_biases)

    @cached_property
    def _joined_steps(self) -> list[tuple[int, int]]:
        """For each zone, where its list has the step from the last other inputs to the first joined ones, in bytes
        behind the first list, and what to add to the distance of their windows for it; none where only one of both is
        read."""
        schedule, steps = self._schedule, list[tuple[int, int]]()
        if not all(any(kind.joined == joined for kind in schedule.kinds) for joined in (False, True)):
            return []
        for number, zone in enumerate(schedule.zones):
            begin, entries, at = self._lists_at[number] - self._lists_at[0], 0, 0
            step = (begin, 0)  # a word that may hold anything
            for k, (kind, chains) in enumerate(zip(schedule.kinds, self._passes.kinds, strict=True)):
                places = [place for each in self._stretches(kind, zone) for place in each]
                if kind.joined and places:
                    step = (begin + (1 + entries * HEADER + 2) * WORD, schedule.offset(kind, places[0]) - at)
                    break
                if places:
                    at = schedule.offset(kind, places[-1]) + (len(chains) - 1) * LANES + chains[-1].moved
                entries += len(places) * len(chains) + (bool(places) or not k)
            steps.append(step)
        return steps

    def _block(self, pixels: int, window: Window, target: Index) -> None:
        output = emit.pointer(self.output, emit.add(target, int(self._order[0])))
        if self._has_passes:
            self._multiply(window)
        parameters = emit.pointer(self.parameter_table)
        if len(self._blocks):
            biases = self._biases_behind(target) if self._own_biases else parameters
            parameters, output = self._finish_all(parameters, biases, output)
        self._store_constants(self._results_at, parameters, output)

    def _multiply(self, window: Window) -> None:
        if self._joined_steps:
            distance = emit.add(emit.sub(window.joined, window.source), self._joined_start)
            emit.store_to(arith.index_cast(emit.i32(), emit.index(distance)), self._joined_step, WORD)
        data = emit.pointer(self.data, window.joined if self._schedule.kinds[0].joined else window.source)
        self.isa.pass_filters(self._passes, self._list, data)

    def _finish_all(self, parameters: ir.Value, biases: ir.Value, output: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Results of the computed filters; returns addresses behind their parameters, and of the next result."""
        count, stride, places, apart = len(self._blocks), self.geometry.f, self._results_at, self._own_biases
        if self.rescale:
            all, clamp = not len(self._constants), self.clamp or (-128, 127)
            stored = Stored(count, places, all, apart, self._missing_shift, self.rescale, clamp)
            finished = self.isa.finish_stored(stored, parameters, biases, self._sums, output)
            if finished:
                return finished

        def filter(
            _: Index, parameters: ir.Value, biases: ir.Value, sums: ir.Value, output: ir.Value
        ) -> list[ir.Value]:
            multiplier, packed = (
                emit.load_from(emit.advance(parameters, word * WORD), emit.i32(), WORD) for word in (1, 2)
            )
            shift = arith.extsi(emit.i32(), arith.trunci(ir.IntegerType.get_signless(STEP), packed))
            following = arith.shrsi(packed, _number(STEP))
            for at in range(0, len(places), RESULTS):
                type = emit.vector_type(min(RESULTS, len(places) - at), emit.i32())
                totals = emit.load_from(emit.advance(sums, at * WORD), type, WORD)
                results = self._finish(totals, _number(0), self._requantization(multiplier, shift))
                self.isa.store_strided(results, emit.advance(output, places[at], self._output_type), stride)
            self._begin_sums(parameters, biases, sums)
            step = arith.index_cast(ir.IndexType.get(), following)
            return [
                emit.advance(parameters, PARAMETERS * WORD),
                emit.advance(biases, (apart or PARAMETERS) * WORD),
                emit.advance(sums, stored_sums(len(places))),
                emit.advance(output, step, self._output_type),
            ]

        parameters, _, _, output = emit.loop(0, count, filter, [parameters, biases, self._sums, output])
        return parameters, output

    @property
    def _output_type(self) -> ir.Type:
        return ir.MemRefType(self.output.type).element_type


def own_biases(g: Geometry, plan: Plan, zero_point: int) -> int:
    """Words of each filter and zone that tell what its sums begin with: a bias for each row of a block, or, where
    columns are skipped, an i16 for each sum; none where padding that is skipped would have added nothing."""
    if not plan.skip_padding or not zero_point:
        return 0
    return stored_sums(g.ow * plan.pixel_rows) // WORD // 2 if plan.skips_columns else plan.pixel_rows


def trailing_zeros(number: int) -> int:
    """Bits behind the last one of a number other than 0."""
    return (number & -number).bit_length() - 1


def fit_halves(numbers: np.ndarray) -> bool:
    """Whether all are i16."""
    return bool(np.abs(numbers).max() < 1 << 15)


def _outside(inside: tuple[int, int], count: int) -> list[int]:
    """[count] 1 for what is not in the range, 0 for what is."""
    return [int(not inside[0] <= i < inside[1]) for i in range(count)]


def _number(value: int) -> ir.Value:
    return emit.splat(value, emit.i32())


def _skipped(count: ir.Value, unrolled: int) -> ir.Value:
    """How many filters a pass's first round leaves out."""
    return arith.andi(arith.subi(_number(0), count), _number(unrolled - 1))


def _rounds(count: ir.Value, unrolled: int) -> ir.Value:
    """How many rounds a pass takes."""
    return arith.divui(arith.addi(count, _number(unrolled - 1)), _number(unrolled))


def _entry(chain: Chain, count: ir.Value) -> ir.Value:
    """``Chain.entry`` of a pass with ``count`` filters."""
    skipped = _skipped(count, chain.unrolled)
    pair = arith.shrui(skipped, _number(1))
    straight, stub = (
        arith.addi(arith.muli(pair, _number(step)), _number(chain.entry(first)))
        for step, first in ((chain.pair_bytes, 0), (chain.stub_bytes, 1))
    )
    return arith.select(arith.trunci(ir.IntegerType.get_signless(1), skipped), stub, straight)


def _behind(address: ir.Value, bytes: ir.Value) -> ir.Value:
    return emit.advance(address, arith.index_cast(ir.IndexType.get(), bytes))


def _put(address: ir.Value, *words: ir.Value) -> ir.Value:
    """Stores i32 or addresses one behind the other; returns the address behind them."""
    for word in words:
        emit.store_to(word, address, WORD)
        address = emit.advance(address, WORD)
    return address
