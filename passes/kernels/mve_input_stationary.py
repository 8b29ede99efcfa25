"""The input stationary kernel on MVE: inputs of some pixels stay in vector registers while the filters pass by.

All of it is assembly, because LLVM has no ``vmlava`` on sums that are loaded and stored together.

A *pass* loads one vector of inputs per pixel and multiplies it by the weights of all filters that take part. Passes are
code threaded by a list in memory. There are *chains* of code, each of which begins by loading the inputs and goes on
with the products of ``Chain.unrolled`` filters; a pass whose filters are no multiple of that enters its first round
further down. The list holds, for each pass, words that tell

- where the addresses of its filters' sums are,
- where its weights are,
- how many bytes its inputs are from those loaded before,
- where in the code its products begin, in bytes from behind the jump.

Addresses of sums are in rounds, each followed by a word that tells where the code goes on. Passes over the same kernel
position share them. A last entry, and one between passes of two kinds, are no passes but jumps elsewhere; they load
again what is there.
"""

from __future__ import annotations

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


@dataclass(frozen=True)
class Chain:
    """Code that loads some pixels' inputs and multiplies them by one filter after another.

    Attributes:
        inputs: bytes from the first pixel's inputs to each one's, of 1 to 8; no load reaches from the seventh to the
            eighth if they are more than 508 apart.
        sums: words from the first pixel's sum to each one's, up to 7; what is between is not changed.
        alignment: bytes that the inputs' addresses are multiples of.
        stored: bytes of each vector of weights, up to 16.
        unrolled: filters, an even number.
        masked: whether the lanes of inputs behind those of stored weights are not loaded but zero. Otherwise zeros are
            in memory.
    """

    inputs: tuple[int, ...]
    sums: tuple[int, ...]
    alignment: int
    stored: int
    unrolled: int
    masked: bool = False

    @property
    def pixels(self) -> int:
        return len(self.inputs)

    @property
    def _loaded(self) -> int:
        """Pixels whose inputs wait in registers; an eighth one shares the last register."""
        return min(self.pixels, 7)

    @property
    def _late(self) -> bool:
        return self.pixels > self._loaded

    @property
    def moved(self) -> int:
        """Bytes from the inputs to where their address is after the loads."""
        return self.inputs[self._loaded - 1]

    @cached_property
    def loads(self) -> list[str]:
        """From the list's words of a pass to its inputs in registers; the jump to the products follows."""
        lines = [
            f"ldm.w {_NEXT}!, {{{_PLACES}, {_WEIGHTS}, {_FIRST}, {_SECOND}}}",
            f"add.w {_INPUT}, {_INPUT}, {_FIRST}",
        ]
        for pixel in range(self._loaded):
            following = 0 if pixel == self._loaded - 1 else self.inputs[pixel + 1] - self.inputs[pixel]
            lines += self._only_stored(load(f"q{pixel}", _INPUT, following, self.alignment))
        return lines

    def _only_stored(self, lines: list[str]) -> list[str]:
        """A load, of the lanes that have weights where the others are not zero in memory."""
        return ["vpst", lines[0].replace("vldrb.u8", "vldrbt.u8"), *lines[1:]] if self.masked else lines

    @cached_property
    def pair(self) -> tuple[list[str], list[str]]:
        """The products of two filters."""
        first = [f"ldrd {_FIRST}, {_SECOND}, [{_PLACES}], #{2 * WORD}", *self._products(_FIRST, 0)]
        return first, self._products(_SECOND, 1)

    @cached_property
    def stub(self) -> list[str]:
        """What comes before the products where the first filter is the second of a pair; a branch there follows."""
        return [*(self._reload(0) if self._late else []), f"ldr.w {_SECOND}, [{_PLACES}], #{WORD}"]

    @property
    def behind_loads(self) -> int:
        """Bytes from the chain to behind the jump that follows the loads."""
        return WORD * len(self.loads) + _JUMP

    @property
    def pair_bytes(self) -> int:
        return WORD * sum(map(len, self.pair))

    @property
    def stub_bytes(self) -> int:
        return WORD * (len(self.stub) + 1)

    @property
    def behind_round(self) -> int:
        """Bytes from the chain to behind the jump that follows a round."""
        return self.behind_loads + self.unrolled // 2 * self.pair_bytes + WORD + _JUMP

    @property
    def bytes(self) -> int:
        return self.behind_round + self.unrolled // 2 * self.stub_bytes

    def entry(self, skipped: int) -> int:
        """Bytes from the chain to where a round begins of which ``skipped`` filters are left out."""
        if skipped % 2:
            return self.behind_round + skipped // 2 * self.stub_bytes
        return self.behind_loads + skipped // 2 * self.pair_bytes

    def instructions(self, filters: int) -> int:
        """Of one pass with ``filters`` filters."""
        first, second = map(len, self.pair)
        total = len(self.loads) + 1 + filters // 2 * (first + second) - (-filters // self.unrolled) * 2
        return total + (len(self.stub) + 1 + second if filters % 2 else 0)

    def assembly(self, label: int) -> list[str]:
        """The instructions; local labels begin with ``label``."""
        lines, stubs = [*self.loads, f"add pc, {_SECOND}"], list[str]()
        for number in range(self.unrolled // 2):
            first, second = self.pair
            lines += [*first, f"{label + number}:", *second]
            stubs += [*self.stub, f"b.w {label + number}b"]
        return [*lines, f"ldr.w {_FIRST}, [{_PLACES}], #{WORD}", f"add pc, {_FIRST}", *stubs]

    def _products(self, register: str, turned: int) -> list[str]:
        """The products of one vector of weights with those of all pixels.

        Args:
            register: of the address of the sums.
            turned: whether the last pixel's inputs are in the shared register already, not the last but one's.
        """
        products = [f"vmlava.s8 {SUMS[at]}, {_WEIGHTS_VECTOR}, q{min(p, 6)}" for p, at in enumerate(self.sums)]
        if self._late:
            others, shared = products[:-2], products[-2:]
            shared = shared[::-1] if turned else shared
            products = [shared[0], *self._reload(turned), *others, shared[1]]
        sums = ", ".join(SUMS[: self.sums[-1] + 1])
        read, write = ("ldr.w", "str.w") if self.pixels == 1 else ("ldm.w", "stm.w")
        places = f"{sums}, [{register}]" if self.pixels == 1 else f"{register}, {{{sums}}}"
        weights = f"vldrb.u8 {_WEIGHTS_VECTOR}, [{_WEIGHTS}], #{self.stored}"
        return [f"{read} {places}", weights, *products, f"{write} {places}"]

    def _reload(self, turned: int) -> list[str]:
        """Loads the other one of the two pixels that share a register."""
        if turned:
            return self._only_stored(load(_SHARED_VECTOR, _INPUT, 0, self.alignment))
        name = "vldrw.u32" if self.alignment % WORD == 0 else "vldrb.u8"
        return self._only_stored([f"{name} {_SHARED_VECTOR}, [{_INPUT}, #{self.inputs[7] - self.inputs[6]}]"])


@dataclass(frozen=True)
class Passes:
    """All products of some pixels with the filters of one convolution.

    Attributes:
        kinds: of passes: the chain that each vector along the channels takes, at each place where inputs are. A list
            has first the passes of the first kind, then those of the next. All masked chains have the same mask.
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

    def at(self, chain: Chain) -> int:
        """Bytes from the first chain to ``chain``."""
        return sum(each.bytes for each in self.chains[: self.chains.index(chain)])

    def jump(self, before: Chain, to: Chain) -> int:
        """The list's word for a pass in chain ``to`` behind one in ``before``, without its ``Chain.entry``."""
        return self.at(to) - self._behind_loads(before)

    def leave(self, before: Chain, to: Chain | None) -> int:
        """The list's word of what is no pass: to the loads of ``to``, or to the end."""
        return self._loads(to) - self._behind_loads(before)

    def start(self, to: Chain | None) -> int:
        """What ``START`` begins with: where the first pass is one of ``to``, or there is none."""
        return self._loads(to) - (WORD - _JUMP)

    def _loads(self, chain: Chain | None) -> int:
        return self.at(chain) if chain else self.bytes

    def _behind_loads(self, chain: Chain) -> int:
        return self.at(chain) + chain.behind_loads + WORD - _JUMP

    @staticmethod
    def again(chain: Chain) -> int:
        """The word behind a round that another one follows."""
        return chain.behind_loads - (chain.behind_round + WORD - _JUMP)

    @staticmethod
    def following(chain: Chain) -> int:
        """The word behind a pass's last round."""
        return -(chain.behind_round + WORD - _JUMP)

    def entries(self, kind: int, passes: bool) -> int:
        """Entries of a list for the passes at one place of ``kind``, or for the jump behind the last of them."""
        return len(self.kinds[kind]) if passes else 1

    def round_words(self, kind: int, filters: list[int]) -> int:
        """Words of the addresses of sums; ``filters`` take part at each place of ``kind``."""
        unrolled = self.kinds[kind][0].unrolled
        return sum(count - (-count // unrolled) for count in filters)

    def instructions(self, filters: list[list[int]]) -> int:
        """Instructions executed along one list.

        Args:
            filters: for each kind, how many filters take part at each place.
        """
        if not self.kinds:
            return 0
        total = len(self._begin) + 1
        for kind, each in zip(self.kinds, filters, strict=True):
            total += sum(chain.instructions(count) for chain in kind for count in each)
            total += len(kind[-1].loads) + 1 if each else 0
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
            lines += [f"movw {_FIRST}, #{(1 << chain.stored) - 1}", f"vmsr p0, {_FIRST}"] if chain.masked else []
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
