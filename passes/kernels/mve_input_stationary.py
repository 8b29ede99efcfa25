"""The input stationary kernel on MVE: inputs of some pixels stay in vector registers while the filters pass by.

All of it is assembly, because LLVM has no ``vmlava`` on sums that are loaded and stored together.

A *pass* has one vector of inputs per pixel in registers and multiplies it by the weights of all filters that take part.
Passes are code threaded by a list in memory. There are *chains* of code, each of which has the products of
``Chain.unrolled`` filters, and behind them the loads of the next pass's inputs; a pass whose filters are no multiple of
that enters its first round further down. Passes over neighbouring kernel columns may follow each other, each in a chain
of its own, which loads only what the one before has not. The list holds, for each pass, words that tell

- where the addresses of its filters' sums are,
- where its weights are,
- how many bytes the inputs it loads are from those loaded before,
- where in the code its products begin, in bytes from behind the jump.

Addresses of sums are in rounds, each followed by a word that tells where the code goes on. Passes over the same kernel
position share them. A last entry, and one between passes of two kinds, are no passes but jumps elsewhere; they load
again what is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dtmm_mlir.passes.kernels.mve_assembly import SUMS, Rounding, load, scaled

LIST, DATA, START = "r9", "r1", "r11"
"""What ``Passes`` begins with: addresses, and ``Passes.start``."""

PARAMETERS, BIASES, STORED, OUTPUT, LEFT, MASK, ZERO_POINT, OFFSETS = "r1", "r6", "r3", "r11", "lr", "r9", "r8", "q7"
"""What ``Finish`` begins with."""

TEMPORARY = ("r0", "r2", "r4", "r5", "r10", "r12")
"""What ``Finish`` writes besides, and vectors up to ``OFFSETS``: two filters' parameters."""

STEP = 8
"""Where in the last word of a filter's parameters, behind the shift, how far the next results are begins."""

LANES, WORD = 16, 4

HEADER = 4
"""Words of the list that each pass has by itself."""

CHANGED = ("r3", "r5")
"""What ``Passes`` writes besides."""

_NEXT = LIST
_PLACES, _WEIGHTS, _INPUT, _FIRST, _SECOND = "r1", "r3", "r7", "r5", "r11"
_WITH_INPUT = "r6"
"""Its neighbour on the stack, which stays aligned to eight bytes."""

_WEIGHTS_VECTOR, _SHARED_VECTOR = "q7", "q6"
_RESULT, _SECOND_RESULT, _NEXT_OFFSETS = "q5", "q6", "q6"

_JUMP = 2
"""Bytes of ``add pc, register``, which counts from four bytes behind its own address. All others have four bytes."""

FOLLOWING = _JUMP - WORD
"""The word behind a pass's last round: the next one's loads come next."""

_RESIDENT = 7
"""Vector registers that inputs wait in."""


def hold(inputs: Sequence[Sequence[int]]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Where passes that follow each other have their inputs, and which ones they load.

    Args:
        inputs: where those of each pixel are, up to eight of each pass, two of which share the last register then.

    Yields:
        Of each pass the numbers of its pixels' vector registers, and the pixels whose inputs are not there already.
    """
    held, last = dict[int, int](), _RESIDENT - 1
    for places in inputs:
        own, shared = (places[:last], places[last:]) if len(places) > _RESIDENT else (places, [])
        kept = {place: held[place] for place in own if place in held and not (shared and held[place] == last)}
        free = (register for register in range(_RESIDENT) if register not in kept.values())
        held = {place: kept[place] if place in kept else next(free) for place in own}
        loaded = [pixel for pixel, place in enumerate(own) if place not in kept]
        yield (*held.values(), *(last for _ in shared)), (*loaded, *(last for _ in shared[:1]))
        held |= dict.fromkeys(shared[:1], last)


@dataclass(frozen=True)
class Loads:
    """Code that loads some pixels' inputs.

    Attributes:
        inputs: bytes from the first pixel's inputs to each one's, of 1 to 8; no load reaches from the seventh to the
            eighth if they are more than 508 apart.
        registers: numbers of the vector registers that they are in, see ``hold``.
        loaded: the pixels whose inputs are loaded, of eight not the last one, which shares the seventh's register; the
            others' are in their registers already.
        alignment: bytes that the inputs' addresses are multiples of.
        masked: whether the lanes of inputs behind those of stored weights are not loaded but zero. Otherwise zeros are
            in memory.
    """

    inputs: tuple[int, ...]
    registers: tuple[int, ...]
    loaded: tuple[int, ...]
    alignment: int
    masked: bool = False

    @property
    def is_shared(self) -> bool:
        """Whether the last two of eight pixels share a register."""
        return len(self.inputs) > _RESIDENT

    @property
    def entered(self) -> int:
        """Bytes from the first pixel's inputs to those loaded first, if any are."""
        return self.inputs[self.loaded[0]] if self.loaded else 0

    @property
    def left(self) -> int:
        """Bytes from the first pixel's inputs to those loaded last, where their address is then."""
        return self.inputs[self.loaded[-1]] if self.loaded else 0

    @cached_property
    def lines(self) -> list[str]:
        """From the list's words of a pass to the jump to its products."""
        lines = [
            f"ldm.w {_NEXT}!, {{{_PLACES}, {_WEIGHTS}, {_FIRST}, {_SECOND}}}",
            f"add.w {_INPUT}, {_INPUT}, {_FIRST}",
        ]
        for pixel, following in zip(self.loaded, [*self.loaded[1:], *self.loaded[-1:]], strict=True):
            step = self.inputs[following] - self.inputs[pixel]
            lines += self._only_stored(load(f"q{self.registers[pixel]}", _INPUT, step, self.alignment))
        return [*lines, f"add pc, {_SECOND}"]

    @property
    def bytes(self) -> int:
        return WORD * (len(self.lines) - 1) + _JUMP

    def reload(self, turned: int) -> list[str]:
        """Loads the other one of the two pixels that share a register.

        Args:
            turned: whether it holds the last pixel's inputs, not the last but one's.
        """
        if turned:
            return self._only_stored(load(_SHARED_VECTOR, _INPUT, 0, self.alignment))
        name = "vldrw.u32" if self.alignment % WORD == 0 else "vldrb.u8"
        return self._only_stored([f"{name} {_SHARED_VECTOR}, [{_INPUT}, #{self.inputs[7] - self.inputs[6]}]"])

    def _only_stored(self, lines: list[str]) -> list[str]:
        """A load, of the lanes that have weights where the others are not zero in memory."""
        return ["vpst", lines[0].replace("vldrb.u8", "vldrbt.u8"), *lines[1:]] if self.masked else lines


@dataclass(frozen=True)
class Chain:
    """Code that multiplies some pixels' inputs by one filter after another, and then loads the next pass's.

    Attributes:
        loads: what has loaded the inputs.
        following: the loads behind the products.
        sums: words from the first pixel's sum to each one's, up to 7; what is between is not changed.
        stored: bytes of each vector of weights, up to 16.
        unrolled: filters, an even number.
    """

    loads: Loads
    following: Loads
    sums: tuple[int, ...]
    stored: int
    unrolled: int

    @property
    def pixels(self) -> int:
        return len(self.sums)

    @cached_property
    def pair(self) -> tuple[list[str], list[str]]:
        """The products of two filters."""
        first = [f"ldrd {_FIRST}, {_SECOND}, [{_PLACES}], #{2 * WORD}", *self._products(_FIRST, 0)]
        return first, self._products(_SECOND, 1)

    @cached_property
    def stub(self) -> list[str]:
        """What comes before the products where the first filter is the second of a pair; a branch there follows."""
        return [*(self.loads.reload(0) if self.loads.is_shared else []), f"ldr.w {_SECOND}, [{_PLACES}], #{WORD}"]

    @property
    def pair_bytes(self) -> int:
        return WORD * sum(map(len, self.pair))

    @property
    def stub_bytes(self) -> int:
        return WORD * (len(self.stub) + 1)

    @property
    def _first_pair(self) -> int:
        """Bytes from the chain to the products of a whole round."""
        return self.unrolled // 2 * self.stub_bytes

    @property
    def behind_round(self) -> int:
        """Bytes from the chain to behind the jump that follows a round: to the loads."""
        return self._first_pair + self.unrolled // 2 * self.pair_bytes + WORD + _JUMP

    @property
    def bytes(self) -> int:
        return self.behind_round + self.following.bytes

    @property
    def again(self) -> int:
        """The word behind a round that another one follows."""
        return self._first_pair - (self.behind_round + WORD - _JUMP)

    def entry(self, filters: int) -> int:
        """Bytes from the chain to where the first round of a pass with ``filters`` filters begins."""
        skipped = -filters % self.unrolled
        if not filters:
            return self.behind_round
        return skipped // 2 * self.stub_bytes if skipped % 2 else self._first_pair + skipped // 2 * self.pair_bytes

    def instructions(self, filters: int) -> int:
        """Of one pass with ``filters`` filters."""
        first, second = map(len, self.pair)
        total = len(self.loads.lines) + filters // 2 * (first + second) - (-filters // self.unrolled) * 2
        return total + (len(self.stub) + 1 + second if filters % 2 else 0)

    def assembly(self, label: int) -> list[str]:
        """The instructions; local labels begin with ``label``."""
        lines, stubs = list[str](), list[str]()
        for number in range(self.unrolled // 2):
            first, second = self.pair
            lines += [*first, f"{label + number}:", *second]
            stubs += [*self.stub, f"b.w {label + number}f"]
        lines += [f"ldr.w {_FIRST}, [{_PLACES}], #{WORD}", f"add pc, {_FIRST}"]
        return [*stubs, *lines, *self.following.lines]

    def _products(self, register: str, turned: int) -> list[str]:
        """The products of one vector of weights with those of all pixels.

        Args:
            register: of the address of the sums.
            turned: whether the last pixel's inputs are in the shared register already, not the last but one's.
        """
        pixels = zip(self.sums, self.loads.registers, strict=True)
        products = [f"vmlava.s8 {SUMS[sum]}, {_WEIGHTS_VECTOR}, q{inputs}" for sum, inputs in pixels]
        if self.loads.is_shared:
            others, shared = products[:-2], products[-2:]
            shared = shared[::-1] if turned else shared
            products = [shared[0], *self.loads.reload(turned), *others, shared[1]]
        sums = ", ".join(SUMS[: self.sums[-1] + 1])
        read, write = ("ldr.w", "str.w") if self.pixels == 1 else ("ldm.w", "stm.w")
        places = f"{sums}, [{register}]" if self.pixels == 1 else f"{register}, {{{sums}}}"
        weights = f"vldrb.u8 {_WEIGHTS_VECTOR}, [{_WEIGHTS}], #{self.stored}"
        return [f"{read} {places}", weights, *products, f"{write} {places}"]


@dataclass(frozen=True)
class Passes:
    """All products of some pixels with the filters of one convolution.

    Attributes:
        kinds: of passes: the chains of those at one place, in turn. A list has first the passes of the first kind, then
            those of the next. All masked chains have the same mask.
    """

    kinds: tuple[tuple[Chain, ...], ...]

    @cached_property
    def chains(self) -> list[Chain]:
        """Each once, in the order of the code."""
        return list(dict.fromkeys(chain for kind in self.kinds for chain in kind))

    @property
    def bytes(self) -> int:
        """Of all chains."""
        return sum(chain.bytes for chain in self.chains)

    @cached_property
    def _at(self) -> dict[Chain, int]:
        """Bytes from the first chain to each."""
        sizes = [chain.bytes for chain in self.chains]
        return dict(zip(self.chains, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))

    def jump(self, before: Chain, to: Chain, filters: int) -> int:
        """The list's word for a pass with ``filters`` filters in chain ``to`` behind one in ``before``."""
        return self._at[to] + to.entry(filters) - self._behind(before)

    def leave(self, kind: int, to: int | None) -> int:
        """The list's word of what is no pass, behind those of one kind: to the loads of another one, or to the end."""
        return self._loads(to) - self._behind(self.kinds[kind][-1])

    def start(self, to: int | None) -> int:
        """What ``START`` begins with: where the first pass is of kind ``to``, or there is none."""
        return self._loads(to) - (WORD - _JUMP)

    def _loads(self, kind: int | None) -> int:
        """Bytes from the first chain to the loads of a kind's first pass, which are behind its last chain."""
        if kind is None:
            return self.bytes
        last = self.kinds[kind][-1]
        return self._at[last] + last.behind_round

    def _behind(self, chain: Chain) -> int:
        """Where the jump behind the loads that follow a chain counts from."""
        return self._at[chain] + chain.bytes + WORD - _JUMP

    def entries(self, kind: int, passes: bool) -> int:
        """Entries of a list for the passes at one place of ``kind``, or for the jump behind the last of them."""
        return len(self.kinds[kind]) if passes else 1

    def round_words(self, kind: int, filters: list[int]) -> int:
        """Words of the addresses of sums; ``filters`` take part at each place of ``kind``."""
        unrolled = self.kinds[kind][0].unrolled
        return sum(count - (-count // unrolled) for count in filters)

    def instructions(self, filters: list[list[list[int]]]) -> int:
        """Instructions executed along one list.

        Args:
            filters: for each kind, how many filters take part in each pass at each place.
        """
        if not self.kinds:
            return 0
        total = len(self._begin) + 1
        for kind, places in zip(self.kinds, filters, strict=True):
            for counts in places:
                total += sum(chain.instructions(count) for chain, count in zip(kind, counts, strict=True))
            total += len(kind[0].loads.lines) if places else 0
        return total

    def assembly(self) -> list[str]:
        """The instructions; labels are numbers. What is in r7 is on the stack meanwhile."""
        lines, label = list(self._begin), 1
        for chain in self.chains:
            lines += chain.assembly(label)
            label += chain.unrolled // 2
        return [*lines, f"pop.w {{{_WITH_INPUT}, {_INPUT}}}"]

    @cached_property
    def _begin(self) -> list[str]:
        """The first pass begins as if one of its kind had been before."""
        lines = [f"push.w {{{_WITH_INPUT}, {_INPUT}}}", f"mov.w {_INPUT}, {DATA}"]
        for chain in self.chains:
            lines += [f"movw {_FIRST}, #{(1 << chain.stored) - 1}", f"vmsr p0, {_FIRST}"] if chain.loads.masked else []
        return [*lines, f"add pc, {START}"]


@dataclass(frozen=True)
class Finish:
    """How the sums of each filter become int8, and the biases that sums begin with again.

    Attributes:
        filters: how many.
        pixels: 1 to 8.
        rounding: as of ``mve_assembly.Finish``.
        zero_point: of the results.
        adjacent: whether each filter's results are one byte behind those of the one before.
        even: whether the addresses of the first filter's results are even.
        apart: biases of each filter in a table of their own, one per vector of sums or one for all; 0 if it is the
            first parameter.
        missing_shift: as of ``isa.Stored``.
        partial: whether results of some pixels may be left out.
    """

    filters: int
    pixels: int
    rounding: Rounding
    zero_point: int
    adjacent: bool
    even: bool
    apart: int = 0
    missing_shift: int | None = None
    partial: bool = False

    @property
    def pixel_of_lane(self) -> np.ndarray:
        """[8] int: pixels four apart are neighbours; lanes without one have 0."""
        pixels = np.arange(8) % 2 * 4 + np.arange(8) // 2
        return np.where(pixels < self.pixels, pixels, 0)

    @staticmethod
    def mask(pixels: int) -> int:
        """Two bits for each i16 lane that holds a result of so many pixels."""
        return sum(3 << 2 * (2 * (p % 4) + p // 4) for p in range(pixels))

    @property
    def turns(self) -> int:
        """What ``LEFT`` begins with."""
        return self._pairs or self.filters

    @property
    def _pairs(self) -> int:
        return self.filters // 2

    @property
    def _is_masked(self) -> bool:
        """Whether some lanes hold no result."""
        return self.pixels < 8 or self.partial

    def instructions(self) -> int:
        """Instructions executed."""
        return len(self._begin) + self.turns * (len(self._turn) + 1) + len(self._last)

    def assembly(self) -> list[str]:
        """A loop over the filters; their parameters are bias, multiplier, and a word that holds shift and step."""
        return [*self._begin, "1:", *self._turn, f"le {LEFT}, 1b", *self._last]

    @property
    def _turn(self) -> list[str]:
        return self._pair() if self._pairs else self._single()

    @property
    def _last(self) -> list[str]:
        """The filter that has no other one beside it."""
        return self._single() if self._pairs and self.filters % 2 else []

    @cached_property
    def _begin(self) -> list[str]:
        lines = [f"vmsr p0, {MASK}"] if self._is_masked else []
        if self._pairs and self.adjacent and not self.even:
            lines += [f"mov.w {TEMPORARY[0]}, #1", f"vadd.i16 {_NEXT_OFFSETS}, {OFFSETS}, {TEMPORARY[0]}"]
        return lines

    def _single(self) -> list[str]:
        load = f"ldm.w {PARAMETERS}!, {{{', '.join(TEMPORARY[:3])}}}"
        return [load, *self._alone(TEMPORARY[:3])]

    def _alone(self, parameters: tuple[str, ...]) -> list[str]:
        """One filter whose parameters are loaded, to the next one's results."""
        step = f"add.w {OUTPUT}, {OUTPUT}, {parameters[2]}, asr #{STEP}"
        return [*self._bytes(parameters), *self._store("vstrb", OFFSETS), step]

    def _pair(self) -> list[str]:
        """Two filters; neighbours' results in one store where that is aligned."""
        load = f"ldm.w {PARAMETERS}!, {{{', '.join(TEMPORARY)}}}"
        first, second, step = TEMPORARY[:3], TEMPORARY[3:], f"add.w {OUTPUT}, {OUTPUT}, #2"
        if not self.adjacent:
            return [load, *self._alone(first), *self._alone(second)]
        if not self.even:
            apart = [*self._bytes(first), *self._store("vstrb", OFFSETS)]
            return [load, *apart, *self._bytes(second), *self._store("vstrb", _NEXT_OFFSETS), step]
        together = [*self._halves(_RESULT, first), self._narrow("b", _RESULT), *self._halves(_SECOND_RESULT, second)]
        together += [self._narrow("t", _SECOND_RESULT), *self._moved]
        return [load, *together, *self._store("vstrh", OFFSETS), step]

    def _bytes(self, parameters: tuple[str, ...]) -> list[str]:
        """One filter's results in the lower bytes of the i16 lanes of ``_RESULT``."""
        return [*self._halves(_RESULT, parameters), self._narrow("b", _RESULT), *self._moved]

    @property
    def _is_unsigned(self) -> bool:
        """Whether the zero point is that of a ReLU: results are narrowed as u8 ahead of it, for two filters at once."""
        return self.zero_point == -128

    def _narrow(self, half: str, source: str) -> str:
        """Results to the lower or upper bytes, ``b`` or ``t``, of ``_RESULT``."""
        return f"vqmov{'u' if self._is_unsigned else ''}n{half}.s16 {_RESULT}, {source}"

    @property
    def _moved(self) -> list[str]:
        """From u8 to i8."""
        return [f"vadd.i8 {_RESULT}, {_RESULT}, {ZERO_POINT}"] if self._is_unsigned else []

    def _halves(self, result: str, parameters: tuple[str, ...]) -> list[str]:
        """One filter's results as i16, and its sums begun again."""
        bias, multiplier, shift = parameters
        vectors = range(1 + (self.pixels > 4))
        lines = [f"vldrw.u32 q{v}, [{STORED}, #{LANES * v}]" for v in vectors]
        for v in vectors:
            lines += [*self._begin_with(bias, v), f"vstrw.32 q4, [{STORED}], #{LANES}"]
        for v in vectors:
            lines += scaled(self.rounding, f"q{v}", f"q{v + 2}", multiplier, shift)
        low, high = ("q2", "q3") if self.rounding == "double" else ("q0", "q1")
        lines += [f"vqmovnb.s32 {result}, {low}"] + ([f"vqmovnt.s32 {result}, {high}"] if len(vectors) > 1 else [])
        adds = self.zero_point and not self._is_unsigned
        return lines + ([f"vqadd.s16 {result}, {result}, {ZERO_POINT}"] if adds else [])

    def _begin_with(self, bias: str, vector: int) -> list[str]:
        """What a vector of sums begins with again, in q4, which holds that of the vector before."""
        if self.missing_shift is not None:
            shift = [f"vshl.i32 q4, q4, #{self.missing_shift}"] if self.missing_shift else []
            return [f"vldrh.s32 q4, [{BIASES}], #{LANES // 2}", *shift, f"vadd.i32 q4, q4, {bias}"]
        lines = [f"ldr.w {bias}, [{BIASES}], #{WORD}"] if vector < self.apart else []
        return lines + ([f"vdup.32 q4, {bias}"] if vector < max(self.apart, 1) else [])

    def _store(self, name: str, offsets: str) -> list[str]:
        before, then = (["vpst"], "t") if self._is_masked else ([], "")
        return [*before, f"{name}{then}.16 {_RESULT}, [{OUTPUT}, {offsets}]"]
