"""The input stationary kernel on MVE: inputs of some pixels stay in vector registers while the filters pass by.

All of it is assembly, because LLVM has no ``vmlava`` on sums that are loaded and stored together.

The list of passes is in memory, as words: one that belongs to the assembly, and for each kernel position that any
filter keeps

- where its inputs are, in bytes behind those loaded before,
- how many filters keep it, and the addresses of their sums,
- if there are several vectors of channels, the address of the first of these addresses,
- if there are more than ``UNROLLED``, how many turns of the loop over them are left.

A position that no filter keeps ends it. Where there are words behind the addresses, as many come before the first
position too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dtmm_mlir.passes.kernels.mve_assembly import SUMS, Rounding, load, move, scaled

LIST, WEIGHTS, DATA = "r1", "r3", "r9"
"""Addresses that ``Passes`` begins with; that of the list is the same in the end."""

PARAMETERS, STORED, OUTPUT, LEFT, MASK, ZERO_POINT, OFFSETS = "r1", "r3", "r11", "lr", "r9", "r8", "q7"
"""What ``Finish`` begins with."""

UNROLLED = 4
"""Vectors of channels whose code is straight-line; more take turns of a loop."""

LANES, WORD = 16, 4

CHANGED = ("r5", "r11")
"""What ``Passes`` writes besides."""

_INPUT, _FIRST, _SECOND, _COUNT = "r7", "r5", "r11", "r9"
_WEIGHTS_VECTOR, _SHARED_VECTOR = "q7", "q6"


@dataclass(frozen=True)
class Passes:
    """All products of some pixels with the filters of one convolution.

    Attributes:
        inputs: bytes from the first pixel's inputs to each one's, of 1 to 8; no load reaches from the seventh to the
            eighth if they are more than 508 apart.
        vectors: along the channels.
        last: weights stored of the last vector; 16 where the vectors are a loop.
    """

    inputs: tuple[int, ...]
    vectors: int
    last: int

    @property
    def pixels(self) -> int:
        return len(self.inputs)

    @property
    def turns(self) -> int:
        """Turns of the loop over the vectors."""
        return 1 if self.vectors <= UNROLLED else self.vectors

    @property
    def words_behind(self) -> int:
        """Words behind the addresses of a position's sums."""
        return (self.vectors > 1) + (self.turns > 1)

    @property
    def moved(self) -> int:
        """Bytes from the inputs at a kernel position to where the address of inputs is after it."""
        return self._last_loaded + (self.turns > 1) * self.vectors * LANES + self._behind_last

    @property
    def _behind_last(self) -> int:
        if self.turns > 1:
            return -self._last_loaded
        return (self.vectors - 1) * LANES

    @property
    def _loaded(self) -> int:
        """Pixels whose inputs wait in registers."""
        return min(self.pixels, 7)

    @property
    def _last_loaded(self) -> int:
        return self.inputs[self._loaded - 1]

    def list_words(self, positions: int, filterlets: int) -> int:
        """Words of the list of passes."""
        return 1 + (positions + 1) * (2 + self.words_behind) + filterlets

    def instructions(self, filterlets: list[int]) -> int:
        """Instructions executed.

        Args:
            filterlets: of each kernel position that any filter keeps.
        """
        header = 6 + (self.turns > 1) * 2
        around = self._loaded + (4 if self.pixels == 8 else 3) + (self.turns > 1) * 5
        back = (self.vectors - 1) * (1 + (self.pixels == 8)) if self.turns == 1 else 0
        one = len(self._filterlet(_FIRST, LANES, 0)) + 1
        pair = 2 * one - 1
        total = 6
        for count in filterlets:
            single = one + (self.pixels == 8) if count % 2 else 0
            loop = 1 if self.pixels < 8 else 2
            total += header + back + self.vectors * (around + single + count // 2 * (pair + loop))
        return total

    def assembly(self, positions: int, filterlets: int) -> list[str]:
        """The instructions; labels are numbers."""
        header = [*["r2", "r4"][: self.words_behind], _FIRST, _COUNT]
        lines = [f"str {_INPUT}, [{LIST}], #{WORD}", f"mov {_INPUT}, {DATA}", "1:"]
        lines += [f"ldm.w {LIST}!, {{{', '.join(header)}}}", f"cmp {_COUNT}, #0", "beq.w 9f"]
        lines += [f"add {_INPUT}, {_FIRST}"]
        if self.turns > 1:
            lines += ["2:", *self._vector(LANES, LANES - self._last_loaded)]
            lines += [f"ldrd r0, r2, [{LIST}]", "subs r2, #1", f"str r2, [{LIST}, #{WORD}]"]
            restart = [f"mov {LIST}, r0"] + ([f"ldr {_COUNT}, [{LIST}, #-{WORD}]"] if self.pixels == 8 else [])
            lines += ["beq.w 3f", *restart, "b.w 2b", "3:", f"mov r2, #{self.turns}", f"str r2, [{LIST}, #{WORD}]"]
        else:
            for vector in range(self.vectors):
                ends = vector == self.vectors - 1
                stored = self.last if ends else LANES
                lines += self._vector(stored, 0 if ends else LANES - self._last_loaded)
                if not ends:
                    lines.append(f"ldr {LIST}, [{LIST}]")
                    lines += [f"ldr {_COUNT}, [{LIST}, #-{WORD}]"] if self.pixels == 8 else []
        size = (self.list_words(positions, filterlets)) * WORD
        return [*lines, "b.w 1b", "9:", *move(LIST, -size), f"ldr {_INPUT}, [{LIST}]"]

    def _vector(self, stored: int, step: int) -> list[str]:
        """The products of one vector along the channels.

        Args:
            stored: bytes of each of its weights.
            step: bytes that the address of the inputs moves on from the last one loaded.
        """
        late = self.pixels > self._loaded
        lines = []
        for pixel in range(self._loaded):
            last = pixel == self._loaded - 1
            following = (0 if late else step) if last else self.inputs[pixel + 1] - self.inputs[pixel]
            lines += load(f"q{pixel}", _INPUT, following, WORD)
        first, second = (self._filterlet(register, stored, turned) for register, turned in ((_FIRST, 0), (_SECOND, 1)))
        left = _COUNT if late else LEFT
        lines += [f"lsrs.w {left}, {_COUNT}, #1", "bcc.w 5f", f"ldr {_FIRST}, [{LIST}], #{WORD}", *first]
        lines += self._reload(turned=True) if late else []
        lines += ["5:", "beq.w 7f" if late else f"wls {LEFT}, {LEFT}, 7f", "6:"]
        lines += [f"ldrd {_FIRST}, {_SECOND}, [{LIST}], #{2 * WORD}", *first, *second]
        lines += [f"subs {left}, #1", "bne.w 6b"] if late else [f"le {LEFT}, 6b"]
        return [*lines, "7:", *(move(_INPUT, step) if late else [])]

    def _filterlet(self, register: str, stored: int, turned: int) -> list[str]:
        """The products of one vector of weights with those of all pixels.

        Args:
            register: of the address of the sums.
            turned: whether the last pixel's inputs are in the shared register already, not the last but one's.
        """
        products = [f"vmlava.s8 {SUMS[p]}, {_WEIGHTS_VECTOR}, q{min(p, 6)}" for p in range(self.pixels)]
        if self.pixels > self._loaded:
            others, shared = products[:-2], products[-2:]
            shared = shared[::-1] if turned else shared
            products = [shared[0], *self._reload(bool(turned)), *others, shared[1]]
        sums = ", ".join(SUMS[: self.pixels])
        read, write = ("ldr", "str") if self.pixels == 1 else ("ldm.w", "stm.w")
        places = f"{sums}, [{register}]" if self.pixels == 1 else f"{register}, {{{sums}}}"
        weights = f"vldrb.u8 {_WEIGHTS_VECTOR}, [{WEIGHTS}], #{stored}"
        return [f"{read} {places}", weights, *products, f"{write} {places}"]

    def _reload(self, turned: bool) -> list[str]:
        """Loads the other one of the two pixels that share a register."""
        return [f"vldrw.u32 {_SHARED_VECTOR}, [{_INPUT}, #{0 if turned else self.inputs[7] - self.inputs[6]}]"]


@dataclass(frozen=True)
class Finish:
    """How the sums of each filter become int8, and the biases that sums begin with again.

    Attributes:
        pixels: 1 to 8.
        rounding: as of ``mve_assembly.Finish``.
        zero_point: of the results.
    """

    pixels: int
    rounding: Rounding
    zero_point: int

    @property
    def pixel_of_lane(self) -> np.ndarray:
        """[8] int: pixels four apart are neighbours; lanes without one have 0."""
        pixels = np.arange(8) % 2 * 4 + np.arange(8) // 2
        return np.where(pixels < self.pixels, pixels, 0)

    @property
    def mask(self) -> int:
        """Two bits for each i16 lane that holds a result."""
        return sum(3 << 2 * (2 * (p % 4) + p // 4) for p in range(self.pixels))

    def instructions(self, filters: int) -> int:
        """Instructions executed."""
        return 1 + filters * (len(self.assembly()) - 2)

    def assembly(self) -> list[str]:
        """A loop over the filters; their parameters are bias, multiplier, shift, and one more word."""
        vectors = range(1 + (self.pixels > 4))
        lines = [f"vmsr p0, {MASK}", "1:", f"ldrd r0, r2, [{PARAMETERS}], #8", f"ldr r4, [{PARAMETERS}], #8"]
        lines += [f"vldrw.u32 q{v}, [{STORED}, #{LANES * v}]" for v in vectors]
        lines += ["vdup.32 q4, r0", *(f"vstrw.32 q4, [{STORED}], #{LANES}" for _ in vectors)]
        for v in vectors:
            lines += scaled(self.rounding, f"q{v}", f"q{v + 2}", "r2", "r4")
        low, high = ("q2", "q3") if self.rounding == "double" else ("q0", "q1")
        lines += [f"vqmovnb.s32 {low}, {low}"] + ([f"vqmovnt.s32 {low}, {high}"] if len(vectors) > 1 else [])
        lines += [f"vqadd.s16 {low}, {low}, {ZERO_POINT}"] if self.zero_point else []
        lines += [f"vqmovnb.s16 {low}, {low}", "vpst", f"vstrbt.16 {low}, [{OUTPUT}, {OFFSETS}]"]
        return [*lines, f"add.w {OUTPUT}, {OUTPUT}, #1", f"le {LEFT}, 1b"]
