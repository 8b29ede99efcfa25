"""Which passes the ``input_stationary`` kernel takes over the inputs of a block of pixels, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise, product

import numpy as np

from dtmm_mlir.dialect.ops import Geometry
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.kernels.conv import RESULTS, WORD
from dtmm_mlir.passes.kernels.mve_input_stationary import HEADER, LANES, Chain, Finish, Loads, Passes, hold
from dtmm_mlir.passes.kernels.rows import RowLayout


def stored_sums(pixels: int) -> int:
    """Bytes of one filter's sums: whole vectors."""
    return -(-pixels // RESULTS) * RESULTS * WORD


def row_layout(g: Geometry, plan: Plan) -> RowLayout:
    """Channels in whole vectors, but for the joined ones."""
    whole = -(-(g.c - plan.joined) // LANES)
    above, beside = any(g.pads[:2]) and not plan.skip_padding, any(g.pads[2:]) and not plan.skips_columns
    return RowLayout.plan(g, whole * LANES, plan.joined, plan.rows, 0, same=True, padded=above or beside)


@dataclass(frozen=True)
class Kind:
    """Passes of one code, at kernel positions or, where inputs are joined or a row's positions in turn, at rows.

    Attributes:
        joined: whether inputs are the joined channels of a kernel row, or the others of a kernel position.
        rows: first and last but one of a block's output rows that they are for; the others' inputs are padding, or the
            block ends below the output.
        columns: how many of a block's columns they are for, from the first one whose inputs are no padding.
        vectors: first and last but one along the channels. The last of joined channels is by itself where it is masked.
    """

    joined: bool
    rows: tuple[int, int]
    columns: int
    vectors: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Counts:
    """How many filters take part in passes.

    Attributes:
        positions: [KH * KW] those that keep a kernel position.
        rows: [KH] those that keep any of a kernel row.
        all: those that keep any.
    """

    positions: np.ndarray
    rows: np.ndarray
    all: int

    @staticmethod
    def of(kept: np.ndarray) -> Counts:
        """``kept`` is [F, KH, KW] bool."""
        rows = np.asarray(kept.any(axis=2))
        return Counts(kept.sum(axis=0).reshape(-1), rows.sum(axis=0), int(rows.any(axis=1).sum()))

    def at(self, joined: bool) -> np.ndarray:
        """Those of rows if ``joined``, or of positions."""
        return self.rows if joined else self.positions


Entries = tuple[tuple[int, int | None], ...]
"""What a list of passes says: a kind's number, and the place of its passes, or ``None`` for the jump behind them."""

Pass = tuple[int, int]
"""The kernel position of a pass, or its row of joined channels, and its vector along the channels."""


@dataclass(frozen=True)
class Zone:
    """Blocks of output rows that take the same passes.

    Attributes:
        start: the first output row.
        rows: [KH] the rows of a block that each kernel row is multiplied for, as it is inside the input or padding is
            not skipped; an empty range where for none.
    """

    start: int
    rows: tuple[tuple[int, int], ...]


@lru_cache
def _zones(g: Geometry, together: int, skips: bool) -> tuple[Zone, ...]:
    """Those of blocks of so many output rows, of which the last may have fewer."""
    zones = list[Zone]()
    for start in range(0, g.oh, together):
        count = min(together, g.oh - start)
        rows = tuple(_rows_inside(g, start, count, ky) if skips else (0, count) for ky in range(g.kh))
        if not zones or rows != zones[-1].rows:
            zones.append(Zone(start, rows))
    return tuple(zones)


def _rows_inside(g: Geometry, start: int, count: int, ky: int) -> tuple[int, int]:
    return _inside((start + np.arange(count)) * g.strides[0] - g.pads[0] + ky * g.dilations[0], g.h)


def columns_inside(g: Geometry, kx: int) -> tuple[int, int]:
    """First and last but one of the output columns at which a kernel column is inside the input."""
    return _inside(np.arange(g.ow) * g.strides[1] - g.pads[2] + kx * g.dilations[1], g.w)


def columns_in_turn(g: Geometry) -> list[int]:
    """The kernel columns; beside each other those that read the same columns of the input for other pixels."""
    return sorted(range(g.kw), key=lambda kx: (kx * g.dilations[1] % g.strides[1], kx))


def share_inputs(g: Geometry, pixels: int) -> bool:
    """Whether kernel columns in turn read some of the same inputs for so many pixels of a row."""
    apart = ((after - before) * g.dilations[1] for before, after in pairwise(columns_in_turn(g)))
    return any(distance > 0 and distance % g.strides[1] == 0 and distance < pixels * g.strides[1] for distance in apart)


def _inside(at: np.ndarray, size: int) -> tuple[int, int]:
    """First and last but one of the places that lie inside the input; an empty range where none do."""
    inside = np.flatnonzero((at >= 0) & (at < size))
    return (int(inside[0]), int(inside[-1]) + 1) if inside.size else (0, 0)


class Schedule:
    """Which passes a convolution takes, and in which order.

    Attributes:
        layout: of its row buffer.
        zones: of its output rows, in their order; where the plan does not skip padding one, and one for a block that
            ends below the output.
        columns: [KW] which columns of a block each kernel column is inside the input for.
        order: kernel positions in the order of what is stored of them; those of most columns first, and beside each
            other those whose passes take the same code.
        kinds: of passes.
        passes: their code.
    """

    def __init__(self, g: Geometry, plan: Plan) -> None:
        self.geometry, self.plan, self.layout = g, plan, row_layout(g, plan)
        self.zones = _zones(g, plan.pixel_rows, bool(plan.skip_padding))
        whole = (0, min(plan.pixels, g.ow))
        self.columns = [columns_inside(g, kx) if plan.skips_columns else whole for kx in range(g.kw)]
        counts = [end - start for start, end in self.columns]
        self._turn = [kx for kx in columns_in_turn(g) if counts[kx]]
        places = (place for place in range(g.kh * g.kw) if counts[place % g.kw])
        self.order = sorted(places, key=lambda place: (-counts[place % g.kw], self.code_of(False, place)))
        ranges = sorted({rows for zone in self.zones for rows in zone.rows if rows[0] < rows[1]})
        ranges.sort(key=self._is_partial)
        self.kinds = [
            Kind(joined, rows, count, vectors)
            for joined in (False, True)
            for rows in ranges
            for count in ([whole[1]] if joined or plan.slides else sorted({*counts} - {0}, reverse=True))
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
        pixel, alignment = (self.plan.joined, 1) if kind.joined else (self.layout.pixel, WORD)
        stored = self.stored(kind.joined)[slice(*kind.vectors)]
        turn = [(0, kind.columns)]
        if self._slides(kind):
            starts = ((kx, *self.columns[kx]) for kx in self._turn)
            turn = [(self.layout.offset(kx) + start * right * pixel, end - start) for kx, start, end in starts]
        blocks = [[(y, x) for y in range(kind.rows[1] - kind.rows[0]) for x in range(columns)] for _, columns in turn]
        inputs = [tuple(y * down * self.layout.row + x * right * pixel for y, x in block) for block in blocks]
        held = hold([[begin + at for at in each] for (begin, _), each in zip(turn, inputs, strict=True)])
        masked = kind.joined and stored[0] < LANES
        loads = [Loads(at, *each, alignment, masked) for at, each in zip(inputs, held, strict=True)]
        sums = [tuple(y * self.pixels + x for y, x in block) for block in blocks]
        codes = list(zip(loads, [*loads[1:], loads[0]], sums, strict=True))
        return tuple(Chain(*code, n, self.plan.unrolled) for n, code in product(stored, codes))

    def _slides(self, kind: Kind) -> bool:
        """Whether a row's positions are in turn for each vector, so that inputs which they share stay in registers."""
        return self.plan.slides and not kind.joined

    def code_of(self, joined: bool, place: int) -> int:
        """Which of the codes in turn is that of passes at a position or row, where they are for different columns;
        0 otherwise."""
        differs = self.plan.slides and self.plan.skips_columns and not joined
        return self._turn.index(place % self.geometry.kw) if differs else 0

    def places(self, kind: Kind, zone: Zone | None = None) -> list[int]:
        """Where a kind's passes are, in one zone or in any: kernel positions in their order, or rows."""
        return self._places[kind, zone]

    def _places_in(self, kind: Kind, zone: Zone | None) -> list[int]:
        zones = [zone] if zone else self.zones
        rows = [ky for ky in range(self.geometry.kh) if any(each.rows[ky] == kind.rows for each in zones)]
        if kind.joined or self._slides(kind):
            return rows
        return [p for p in self.order if p // self.geometry.kw in rows and self._columns_at(p) == kind.columns]

    def passes_at(self, kind: Kind, place: int) -> list[Pass]:
        """The passes of a kind at one of its places, in their order."""
        in_turn = self._in_turn(kind, place)
        return [(each, vector) for vector in range(*kind.vectors) for each in in_turn]

    def _in_turn(self, kind: Kind, place: int) -> list[int]:
        """The kernel positions, or the row, whose passes are in turn for each vector."""
        return self._in_row(place) if self._slides(kind) else [place]

    def _in_row(self, ky: int) -> list[int]:
        """The kernel positions of a row that are inside the input for some columns, in turn."""
        return [ky * self.geometry.kw + kx for kx in self._turn]

    def loaded_again(self, kind: Kind, place: int) -> Pass:
        """The pass whose inputs the jump behind those at ``place`` loads: the last vector's first one."""
        return self._in_turn(kind, place)[0], kind.vectors[1] - 1

    def _filters_at(self, kind: Kind, place: int, counts: Counts) -> list[int]:
        """How many filters take part in each pass."""
        first, end = kind.vectors
        return [int(counts.at(kind.joined)[each]) for each in self._in_turn(kind, place)] * (end - first)

    def _columns_at(self, position: int) -> int:
        start, end = self.columns[position % self.geometry.kw]
        return end - start

    def first_column(self, joined: bool, place: int) -> int:
        """The first column of a block that passes at ``place`` are for."""
        return 0 if joined else self.columns[place % self.geometry.kw][0]

    def offset(self, kind: Kind, place: int, vector: int) -> int:
        """Bytes from a window to the inputs of a kind's pass at a position or row."""
        down, right = self.layout.strides
        rows = kind.rows[0] * down * self.layout.row
        columns = self.first_column(kind.joined, place) * right * self.layout.pixel
        position = place * self.geometry.kw if kind.joined else place
        return self.layout.offset(position) + rows + columns + vector * LANES

    def blocks_of(self, zone: Zone) -> int:
        """How many blocks of output rows a zone has."""
        following = [each.start for each in self.zones if each.start > zone.start]
        return -(-(min([*following, self.geometry.oh]) - zone.start) // self.plan.pixel_rows)

    def lists(self, counts: Counts) -> tuple[list[Entries], dict[Zone, tuple[int, int]]]:
        """The lists of passes, and for each zone which of them is its own, and from which entry on.

        A zone whose passes are the last ones of another's list has no list by itself, but where they begin with joined
        channels and others' are read, too.
        """
        of_zones, lists = {zone: self._entries(zone, counts) for zone in self.zones}, list[Entries]()
        starts = dict[Zone, tuple[int, int]]()
        for zone in sorted(self.zones, key=lambda zone: -len(of_zones[zone])):
            entries = of_zones[zone]
            shares = not entries or self.kinds[entries[0][0]].joined == self.kinds[0].joined
            ends = (shares and each[len(each) - len(entries) :] == entries for each in lists)
            number = next((n for n, same in enumerate(ends) if same), len(lists))
            lists += [entries] if number == len(lists) else []
            starts[zone] = number, len(lists[number]) - len(entries)
        return lists, starts

    def _entries(self, zone: Zone, counts: Counts) -> Entries:
        entries = Entries()
        for number, kind in enumerate(self.kinds):
            places = [
                (number, place) for place in self.places(kind, zone) if any(self._filters_at(kind, place, counts))
            ]
            entries += (*places, (number, None)) if places else ()
        return entries

    def words_of(self, entries: Entries) -> int:
        """Words of a list."""
        return HEADER * sum(self.passes.entries(kind, place is not None) for kind, place in entries)

    def listed_words(self, counts: Counts) -> int:
        """Words of all lists."""
        return sum(map(self.words_of, self.lists(counts)[0]))

    def filters(self, zone: Zone | None, counts: Counts) -> list[list[list[int]]]:
        """For each kind, how many filters take part in each pass at its places where any does; in a zone or any."""
        filters = [[self._filters_at(kind, place, counts) for place in self.places(kind, zone)] for kind in self.kinds]
        return [[each for each in places if any(each)] for places in filters]

    def kept_places(self, counts: Counts) -> tuple[list[int], list[int]]:
        """Positions, and rows, where any filter takes part in passes, in the order of what is stored of them."""
        joins, g = self.plan.joined, self.geometry
        positions = self.order if joins < g.c else []
        rows = range(g.kh if joins else 0)
        return [p for p in positions if counts.positions[p]], [ky for ky in rows if counts.rows[ky]]

    def stored_passes(self, counts: Counts) -> list[tuple[bool, Pass]]:
        """Whose weights are stored, in their order, and whether they are those of joined channels."""
        positions, rows = self.kept_places(counts)
        turns = [[place] for place in positions]
        if self.plan.slides:
            turns = [[each for each in self._in_row(ky) if each in positions] for ky in range(self.geometry.kh)]
        passes = [(False, (place, v)) for turn in turns for v in range(len(self.stored(False))) for place in turn]
        return passes + [(True, (row, v)) for row in rows for v in range(len(self.stored(True)))]

    # Addresses of sums: where all filters take part, places share them.

    def addressed(self, joined: bool, counts: Counts) -> dict[int, int]:
        """For each of ``kept_places`` the one that has the same addresses and comes first."""
        full = dict[tuple[int, int], int]()
        shares = counts.at(joined) == counts.all
        return {
            place: full.setdefault((self.first_column(joined, place), self.code_of(joined, place)), place)
            if shares[place]
            else place
            for place in self.kept_places(counts)[joined]
        }

    def offset_halves(self, counts: Counts) -> int:
        """Numbers that addresses are written from: of each of them, and how many there are at a place."""
        places = ((joined, p) for joined in (False, True) for p in set(self.addressed(joined, counts).values()))
        return sum(1 + int(counts.at(joined)[p]) for joined, p in places)

    def addressed_by(self, kind: Kind, counts: Counts) -> list[int]:
        """Places whose addresses a kind's passes take, in the order of what is stored of them."""
        shared = self.addressed(kind.joined, counts)
        places = [each for place in self.places(kind) for each in self._in_turn(kind, place)]
        taken = {shared[place] for place in places if place in shared}
        return [place for place in shared if place in taken]

    def addresses(self, counts: Counts) -> list[list[int]]:
        """For each kind, how many filters' sums are at each of its ``addressed_by``."""
        return [[int(counts.at(k.joined)[p]) for p in self.addressed_by(k, counts)] for k in self.kinds]

    def addressed_words(self, counts: Counts) -> int:
        """Words of the addresses of sums."""
        return sum(self.passes.round_words(k, each) for k, each in enumerate(self.addresses(counts)))

    def memory_words(self, counts: Counts) -> int:
        """Words of memory for lists and addresses: each kind's are written round by round, up to one beyond their
        end."""
        slack = len(self.kinds) * self.plan.unrolled
        return self.listed_words(counts) + self.addressed_words(counts) + slack

    def sharing(self, counts: Counts) -> Iterator[tuple[list[int], list[int]]]:
        """Neighbours among the places that have addresses, and the numbers of the kinds of passes that take them, all
        in the same code."""
        for joined in (False, True):
            taken = [self.addressed_by(kind, counts) if kind.joined == joined else [] for kind in self.kinds]
            numbers = {
                place: ([k for k, places in enumerate(taken) if place in places], self.code_of(joined, place))
                for place in self.addressed(joined, counts).values()
            }
            for (same, _), places in groupby(numbers, numbers.__getitem__):
                if same:
                    yield same, list(places)

    def are_few(self, joined: bool, places: list[int], counts: Counts) -> bool:
        """Whether the addresses at some places are few enough for code without loops, which is hardly longer then."""
        rounds = sum(-(-int(counts.at(joined)[place]) // self.plan.unrolled) for place in places)
        return rounds <= 2 * self.plan.unrolled


_CONSTANT, _CONSTANTS = 6, 8
"""Instructions that store a constant filter's results of a block of pixels, and those once for all."""


def stores_constants(g: Geometry, plan: Plan, constants: int) -> bool:
    """Whether results of so many filters without weights are stored as constants; a few are computed from their biases
    as those of the others, which then lie beside each other."""
    pixels = min(plan.pixels, g.ow) * plan.pixel_rows
    apart, together = (
        Finish(filters, pixels, "double", 1, adjacent=all, even=g.f % 2 == 0).instructions()
        for filters, all in ((g.f - constants, False), (g.f, True))
    )
    return apart + constants * _CONSTANT + _CONSTANTS < together


def computed_filters(g: Geometry, plan: Plan, kept: np.ndarray) -> int:
    """How many filters are computed, of [F, KH, KW] bool."""
    some = int(kept.any(axis=(1, 2)).sum())
    return some if stores_constants(g, plan, g.f - some) else g.f
