"""The ``input_stationary`` kernel: inputs stay in registers while the filters that multiply them pass by.

Costs follow the filterlets that are kept, wherever they are: nothing is loaded for a filter but its own weights and
sums. The name is that of the dataflow in Eyeriss (Chen et al., ISCA 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial

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
from dtmm_mlir.passes.kernels.mve_input_stationary import FOLLOWING, HEADER, LANES, STEP, Passes
from dtmm_mlir.passes.kernels.rows import RowLayout
from dtmm_mlir.passes.kernels.stationary_schedule import (
    Counts,
    Entries,
    Pass,
    Schedule,
    Zone,
    stored_sums,
    stores_constants,
)

PARAMETERS = 3
"""Words per filter: bias, multiplier, and shift with how far the next one's results are, see ``STEP``."""

_BEGUN = 4
"""Filters whose sums are begun in one turn of a loop."""


class InputStationaryKernel(WindowKernel):
    """Kernel position after kernel position, each with all filters that keep it; sums are in memory between them.

    Behind the row buffer lie the sums, the lists of passes, and of each kind the addresses of sums.
    """

    def _layout(self) -> RowLayout:
        self._schedule = Schedule.of(self.geometry, self.plan)
        return self._schedule.layout

    @property
    def row_type(self) -> ir.Type:
        return ir.Type.parse(self.element)

    @property
    def _drops_constants(self) -> bool:
        constants = self.geometry.f - np.count_nonzero(self.conv.counts)
        return super()._drops_constants and stores_constants(self.geometry, self.plan, constants)

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

    def _taking_part(self, joined: bool, place: int) -> np.ndarray:
        """Numbers of the filters that take part at a position, or at any of a row."""
        kept = self._kept.any(axis=2) if joined else self._kept.reshape(self.geometry.f, -1)
        return np.flatnonzero(kept[:, place])

    @cached_property
    def _counts(self) -> Counts:
        return Counts.of(self._kept)

    @cached_property
    def _places(self) -> tuple[list[int], list[int]]:
        """Positions, and rows, where any filter takes part in passes, in the order of what is stored of them."""
        return self._schedule.kept_places(self._counts)

    # What the kernel is given.

    @property
    def values(self) -> np.ndarray:
        """By pass, then filter."""
        parts = [
            self._weights(joined, place)[:, v * LANES : v * LANES + self._schedule.stored(joined)[v]].reshape(-1)
            for joined, (place, v) in self._schedule.stored_passes(self._counts)
        ]
        vectors = [self._schedule.stored(joined) for joined in (False, True) if self._places[joined]]
        return np.concatenate([*parts, np.zeros(LANES - vectors[-1][-1] if vectors else 0, np.int8)])

    def _weights(self, joined: bool, place: int) -> np.ndarray:
        """[filters, channels] of those that take part at a position or row, filled up to whole vectors."""
        channels, width = self.geometry.c - self.plan.joined, self.geometry.kw
        filters = self._taking_part(joined, place)
        if joined:
            rows = self._dense[filters, place * width : (place + 1) * width, channels:].reshape(len(filters), -1)
        else:
            rows = self._dense[filters, place, :channels]
        return np.pad(rows, ((0, 0), (0, -rows.shape[1] % LANES)))

    @property
    def offsets(self) -> np.ndarray:
        """i16, or i32 where they do not fit: of each position, and of each row of joined channels, how many filters
        take part, and where their sums are, in bytes; but for those that share them with one before."""
        table = list[int]()
        for joined, place in self._addressed:
            filters = self._taking_part(joined, place)
            sums = np.searchsorted(self._blocks, filters) * stored_sums(self._pixels)
            sums += self._schedule.first_column(joined, place) * WORD
            table += [len(filters), *sums.tolist()]
            first = len(table) - len(filters)
        table += [0] * max(0, first + self.plan.unrolled - len(table)) if table else []  # read with the last round
        numbers = np.array(table, np.int32)
        return numbers.astype(np.int16) if not numbers.size or fit_halves(numbers) else numbers

    @cached_property
    def _addressed(self) -> list[tuple[bool, int]]:
        """The positions, and rows, of ``offsets``."""
        shared = ((joined, self._schedule.addressed(joined, self._counts)) for joined in (False, True))
        return [(joined, place) for joined, first in shared for place in dict.fromkeys(first.values())]

    def _offsets_before(self, joined: bool, place: int) -> int:
        """Entries of ``offsets`` before those of a position or row."""
        before = self._addressed[: self._addressed.index((joined, place))]
        return sum(1 + int(self._counts.at(each)[other]) for each, other in before)

    @cached_property
    def _weights_before(self) -> dict[tuple[bool, Pass], int]:
        """Bytes of ``values`` before those of each pass."""
        before, end = dict[tuple[bool, Pass], int](), 0
        for joined, (place, v) in self._schedule.stored_passes(self._counts):
            before[joined, (place, v)] = end
            end += int(self._counts.at(joined)[place]) * self._schedule.stored(joined)[v]
        return before

    @property
    def parameters(self) -> np.ndarray:
        """[computed filters, 3] i32, see ``PARAMETERS``; then the constant filters, lists of passes, ``_biases``, and a
        pattern."""
        table = np.ascontiguousarray(super().parameters.T)[self._blocks, :PARAMETERS]
        table[:, 2] = table[:, 2] & (1 << STEP) - 1 | self._steps[: len(table)] << STEP
        table = self._with_constants(table, self._steps[len(table) :])
        parts = table, *self._list_pieces, self._biases
        return self._with_pattern(np.concatenate([part.reshape(-1) for part in parts]).astype(np.int32))

    @cached_property
    def _lists(self) -> tuple[list[Entries], dict[Zone, tuple[int, int]]]:
        return self._schedule.lists(self._counts) if self._has_passes else ([], {})

    @cached_property
    def _headers(self) -> np.ndarray:
        """[entries of all lists, 4] i64: the words of each, of addresses the bytes behind the first list and the first
        weights. A step from other channels to joined ones is without the distance of their windows."""
        return np.array([words for entries in self._lists[0] for words in self._headers_of(entries)], np.int64)

    def _headers_of(self, entries: Entries) -> Iterator[tuple[int, int, int, int]]:
        schedule, passes = self._schedule, self._passes
        rounds = weights = 0
        for i, ((k, place), at) in enumerate(zip(entries, self._reached(entries), strict=False)):
            kind, chains = schedule.kinds[k], passes.kinds[k]
            if place is None:
                begin = schedule.offset(kind, *self._loaded_again(entries, i))
                yield rounds, weights, begin - at, passes.leave(k, self._first_kind(entries[i + 1 :]))
                continue
            for n, (at_place, vector) in enumerate(schedule.passes_at(kind, place)):
                chain, begin = chains[n], schedule.offset(kind, at_place, vector)
                count = int(self._counts.at(kind.joined)[at_place])
                if count:
                    addressed = schedule.addressed(kind.joined, self._counts)[at_place]
                    rounds = self._rounds_at(k, addressed) - self._lists_at[0]
                    weights = self._weights_before[kind.joined, (at_place, vector)]
                yield rounds, weights, begin + chain.loads.entered - at, passes.jump(chains[n - 1], chain, count)
                at = begin + chain.loads.left

    @staticmethod
    def _first_kind(entries: Entries) -> int | None:
        """The kind of the first of some passes; None without passes."""
        return entries[0][0] if entries else None

    def _loaded_again(self, entries: Entries, jump: int) -> Pass:
        """The pass whose inputs the jump behind some passes loads."""
        kind, place = entries[jump - 1]
        assert place is not None
        return self._schedule.loaded_again(self._schedule.kinds[kind], place)

    def _reached(self, entries: Entries) -> list[int]:
        """How far from the window, of the channels before, the address of inputs is ahead of each entry, and behind the
        last one."""
        reached = [0]
        for i, (k, place) in enumerate(entries):
            kind, chains = self._schedule.kinds[k], self._passes.kinds[k]
            last = self._loaded_again(entries, i) if place is None else self._schedule.passes_at(kind, place)[-1]
            reached.append(self._schedule.offset(kind, *last) + chains[0 if place is None else -1].loads.left)
        return reached

    @cached_property
    def _pieces(self) -> list[np.ndarray]:
        """``_headers`` in parts whose words are at most an i16 apart from entry to entry."""
        if not self._has_passes:
            return []
        apart = np.abs(np.diff(self._headers, axis=0)).max(axis=1)
        return np.split(self._headers, np.flatnonzero(apart >= 1 << 15) + 1)

    @property
    def _list_pieces(self) -> list[np.ndarray]:
        """[words] i32 of each piece: how much each entry's words are more than those before, as i16; nothing for the
        first, whose words are in the code."""
        steps = [np.diff(piece, axis=0, prepend=piece[:1]) for piece in self._pieces]
        return [np.ascontiguousarray(each, "<i2").reshape(-1).view("<i4") for each in steps]

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
        halves = missing * (self.conv.input_zero_point >> self._missing_shift)
        halves = halves.reshape(*missing.shape[:2], self._pixels)
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
        """Bytes to each list of passes, and to behind the last one."""
        begin = self._sums_at + len(self._blocks) * stored_sums(self._pixels)
        return (begin + np.cumsum([0, *(WORD * self._schedule.words_of(each) for each in self._lists[0])])).tolist()

    def _rounds_at(self, kind: int, place: int) -> int:
        """Bytes to the addresses of the sums of the filters that take part at ``place``, as ``kind`` takes them."""
        schedule = self._schedule
        addresses = schedule.addresses(self._counts)
        words = sum(self._passes.round_words(k, addresses[k]) + self.plan.unrolled for k in range(kind))
        before = schedule.addressed_by(schedule.kinds[kind], self._counts).index(place)
        words += self._passes.round_words(kind, addresses[kind][:before])
        return self._lists_at[-1] + words * WORD

    # What is written ahead of the loops.

    def _begin(self) -> None:
        """Biases as the first sums, and the lists of passes."""
        self._ends: ir.Value | None = None
        if not len(self._blocks):
            return  # there may be no memory
        self._sums = emit.opaque(emit.pointer(self.memory, self._sums_at))
        self._first_list = emit.opaque(emit.pointer(self.memory, self._lists_at[0]))
        self._store_biases(self._biases_from(0) if self._own_biases else emit.pointer(self.parameter_table))
        if not self._has_passes:
            return
        for kinds, places in self._schedule.sharing(self._counts):
            self._write_rounds(kinds, places)
        self._write_lists()

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
        turns, rest = divmod(len(self._blocks), _BEGUN)
        if turns:
            cursor = emit.loop(0, turns, lambda _, *at: filters(_BEGUN, *at), cursor)
        filters(rest, *cursor)

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
        return emit.advance(self._first_list, at - self._lists_at[0])

    def _entries(self, joined: bool, place: int) -> ir.Value:
        """The address of a position's or row's entries in ``offsets``."""
        return emit.pointer(self.offset_table, self._offsets_before(joined, place))

    def _read(self, address: ir.Value) -> tuple[ir.Value, ir.Value]:
        """An entry of ``offsets`` as i32, and the address of the next."""
        entry = ir.MemRefType(self.offset_table.type).element_type
        size = entry.width // 8
        value = emit.load_from(address, entry, size)
        return (value if size == WORD else arith.extsi(emit.i32(), value)), emit.advance(address, size)

    def _write_rounds(self, numbers: list[int], places: list[int]) -> None:
        """The addresses of the sums of the filters that take part at some places, for some kinds of passes."""
        kinds = [self._schedule.kinds[number] for number in numbers]
        code = self._schedule.code_of(kinds[0].joined, places[0])
        chains = [self._passes.kinds[number][code] for number in numbers]
        unrolled, joined = self.plan.unrolled, kinds[0].joined
        entry, lanes = ir.MemRefType(self.offset_table.type).element_type, min(unrolled, RESULTS)
        narrow, wide = (emit.vector_type(lanes, type) for type in (entry, emit.i32()))
        rows = [emit.advance(self._sums, kind.rows[0] * self._schedule.pixels * WORD) for kind in kinds]
        begins = [emit.broadcast(llvm.PtrToIntOp(emit.i32(), sums).result, wide) for sums in rows]
        counts = self._counts.at(joined)[places].tolist()

        def copy(at: int, source: ir.Value, targets: Sequence[ir.Value]) -> None:
            value = emit.load_from(emit.advance(source, at, entry), narrow, entry.width // 8)
            value = value if narrow == wide else arith.extsi(wide, value)
            for begin, target in zip(begins, targets, strict=True):
                emit.store_to(arith.addi(value, begin), emit.advance(target, at * WORD), WORD)

        def round(filters: Index, source: ir.Value, *targets: ir.Value) -> list[ir.Value]:
            """Whole vectors are copied, of which what is too much is overwritten by what follows."""
            for at in range(0, filters if isinstance(filters, int) else unrolled, lanes):
                copy(at, source, targets)
            source = emit.advance(source, filters, entry)
            behind = [emit.advance(target, emit.mul(filters, WORD)) for target in targets]
            again = [_number(chain.again) for chain in chains]
            return [source, *(_put(target, word) for target, word in zip(behind, again, strict=True))]

        def place(number: Index, source: ir.Value, *targets: ir.Value) -> list[ir.Value]:
            count: Index
            if isinstance(number, int):
                count, source = counts[number], emit.advance(source, 1, entry)
            else:
                word, source = self._read(source)
                count = arith.index_cast(ir.IndexType.get(), word)
            rounds, first = _rounds(count, unrolled)
            source, *ends = round(first, source, *targets)
            if max(counts) > unrolled:
                whole = partial(round, unrolled)
                source, *ends = emit.loop(0, emit.sub(rounds, 1), lambda _, *at: whole(*at), [source, *ends])
            for end in ends:
                _put(emit.advance(end, -WORD), _number(FOLLOWING))
            return [source, *ends]

        targets = [self._at_lists(self._rounds_at(number, places[0])) for number in numbers]
        cursor = [self._entries(joined, places[0]), *targets]
        if not self._schedule.are_few(joined, places, self._counts):
            emit.loop(0, len(places), place, cursor)
            return
        for number in range(len(places)):
            cursor = place(number, *cursor)

    def _write_lists(self) -> None:
        """The lists of passes, one behind the other."""
        narrow, wide = (emit.vector_type(HEADER, type) for type in (ir.IntegerType.get_signless(16), emit.i32()))

        def entry(_: Index, source: ir.Value, target: ir.Value, words: ir.Value) -> list[ir.Value]:
            words = arith.addi(words, arith.extsi(wide, emit.load_from(source, narrow, WORD)))
            emit.store_to(words, target, WORD)
            return [emit.advance(source, HEADER * 2), emit.advance(target, HEADER * WORD), words]

        behind = self._pattern_words + self._biases.size + sum(each.size for each in self._list_pieces)
        source, target = emit.pointer(self.parameter_table, self.parameters.size - behind), self._first_list
        for piece in self._pieces:
            rounds, weights, *others = (int(number) for number in piece[0])
            addresses = emit.advance(self._first_list, rounds), emit.pointer(self.weights, weights)
            words = [llvm.PtrToIntOp(emit.i32(), address).result for address in addresses]
            begin = [source, target, emit.from_lanes([*words, *map(_number, others)])]
            source, target, _ = emit.loop(0, len(piece), entry, begin, unroll=False)

    # The loops.

    def _begin_row(self, y: Index) -> None:
        """Which list serves output row ``y``, and which biases it and the row that is next."""
        if self._has_passes:
            begins = [self._start_of(zone) for zone in self._schedule.zones]
            at, self._ahead, start = (self._of_row(y, [begin[i] for begin in begins]) for i in range(3))
            self._list = emit.advance(self._first_list, at)
            self._start = arith.index_cast(emit.i32(), emit.index(start))
        if self._joined_steps:
            at, self._joined_start = (self._of_row(y, [step[i] for step in self._joined_steps]) for i in range(2))
            self._joined_step = emit.advance(self._first_list, at)
        if self._fewer:
            rows = emit.index(emit.add(y, self.plan.pixel_rows))
            self._ends = arith.cmpi(arith.CmpIPredicate.sgt, rows, emit.index(self.geometry.oh))
        if self._own_biases:
            starts = [zone.size * number for number, zone in enumerate(self._biases)]
            following = emit.add(y, self.plan.pixel_rows)
            ends = arith.cmpi(arith.CmpIPredicate.sge, emit.index(following), emit.index(self.geometry.oh))
            behind = arith.select(ends, emit.index(starts[0]), emit.index(self._of_row(following, starts)))
            self._row_biases = self._biases_from(self._of_row(y, starts))
            self._next_biases = self._biases_from(behind)

    def _start_of(self, zone: Zone) -> tuple[int, int, int]:
        """Bytes from the first list to a zone's first entry, from a window to where the address of inputs is then, and
        ``Passes.start``."""
        number, first = self._lists[1][zone]
        entries = self._lists[0][number]
        at = self._lists_at[number] - self._lists_at[0] + self._schedule.words_of(entries[:first]) * WORD
        return at, self._reached(entries)[first], self._passes.start(self._first_kind(entries[first:]))

    def _of_row(self, y: Index, values: Sequence[int]) -> Index:
        """The one of ``values``, one for each zone, that output row ``y`` is in."""
        chosen: Index = values[0]
        if len(set(values)) == 1:
            return chosen
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
        kinds = self._schedule.kinds
        both = all(any(kind.joined == joined for kind in kinds) for joined in (False, True))
        if not both or not self._has_passes:
            return []
        return [self._joined_step_of(self._lists[1][zone][0]) for zone in self._schedule.zones]

    def _joined_step_of(self, number: int) -> tuple[int, int]:
        """That of one list; a word that nobody reads where it has no joined channels."""
        entries, schedule = self._lists[0][number], self._schedule
        first = next((i for i, (kind, _) in enumerate(entries) if schedule.kinds[kind].joined), None)
        if first is None:
            return self._lists_at[number + 1] - self._lists_at[0] - HEADER * WORD, 0
        at = self._lists_at[number] - self._lists_at[0] + schedule.words_of(entries[:first]) * WORD
        return at + 2 * WORD, int(self._headers[at // (HEADER * WORD), 2])

    def _block(self, pixels: int, window: Window, target: Index) -> None:
        output = emit.pointer(self.output, emit.add(target, int(self._order[0])))
        if self._has_passes:
            self._multiply(window)
        parameters = emit.pointer(self.parameter_table)
        if len(self._blocks):
            biases = self._biases_behind(target) if self._own_biases else parameters
            parameters, output = self._finish_all(parameters, biases, output)
        self._of_block(lambda places: self._store_constants(places, parameters, output))

    @property
    def _fewer(self) -> int:
        """Pixels of a block that ends below the output; 0 if there is no such block."""
        return self.geometry.oh % self.plan.pixel_rows * self._schedule.pixels

    def _of_block(self, store: Callable[[Sequence[int]], None]) -> None:
        """Stores results of the pixels that a block has, given where they are."""
        if self._ends is None:
            store(self._results_at)
        else:
            emit.branch(self._ends, lambda: store(self._results_at[: self._fewer]), lambda: store(self._results_at))

    def _multiply(self, window: Window) -> None:
        if self._joined_steps:
            distance = emit.add(emit.sub(window.joined, window.source), self._joined_start)
            emit.store_to(arith.index_cast(emit.i32(), emit.index(distance)), self._joined_step, WORD)
        start = window.joined if self._schedule.kinds[0].joined else window.source
        data = emit.pointer(self.data, emit.add(start, self._ahead))
        self.isa.pass_filters(self._passes, self._list, self._start, data)

    def _finish_all(self, parameters: ir.Value, biases: ir.Value, output: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Results of the computed filters; returns addresses behind their parameters, and of the next result."""
        count, stride, places, apart = len(self._blocks), self.geometry.f, self._results_at, self._own_biases
        if self.rescale:
            all, clamp = not len(self._constants), self.clamp or (-128, 127)
            stored = Stored(count, places, all, apart, self._missing_shift, self._fewer, self.rescale, clamp)
            finished = self.isa.finish_stored(stored, self._ends, parameters, biases, self._sums, output)
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

            def store(places: Sequence[int]) -> None:
                for at in range(0, len(places), RESULTS):
                    type = emit.vector_type(min(RESULTS, len(places) - at), emit.i32())
                    totals = emit.load_from(emit.advance(sums, at * WORD), type, WORD)
                    results = self._finish(totals, _number(0), self._requantization(multiplier, shift))
                    self.isa.store_strided(results, emit.advance(output, places[at], self._output_type), stride)

            self._of_block(store)
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


def _rounds(count: Index, unrolled: int) -> tuple[Index, Index]:
    """How many rounds a pass takes, and how many filters the first one has: what the others leave."""
    if isinstance(count, int):
        return -(-count // unrolled), (count - 1) % unrolled + 1
    rounds = arith.divui(emit.index(emit.add(count, unrolled - 1)), emit.index(unrolled))
    return rounds, emit.sub(count, emit.mul(emit.sub(rounds, 1), unrolled))


def _put(address: ir.Value, *words: ir.Value) -> ir.Value:
    """Stores i32 or addresses one behind the other; returns the address behind them."""
    for word in words:
        emit.store_to(word, address, WORD)
        address = emit.advance(address, WORD)
    return address
