"""Products of int8 vectors on MVE as assembly: which vector is in which register, and addresses that move for nothing.

LLVM knows no accumulators in even registers that survive a loop, and moves them about; here they stay where they are.
A load moves its address on to where the next load is, so that no instruction of its own does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from dtmm_mlir.passes.kernels.products import Product

SUMS = ("r0", "r2", "r4", "r6", "r8", "r10", "r12", "lr")
"""``vmlava`` adds to even registers only."""

WEIGHTS, DATA = "r9", "r11"
"""Addresses."""

PARAMETERS, OUTPUT, OFFSETS = "r1", "r3", "q7"

LEFT, MASK = "lr", "r9"
"""What a loop over results counts down, and the lanes it stores."""

HELD = "r5"
"""What is neither read nor written here."""

VECTORS = tuple(f"q{i}" for i in range(8))

_AHEAD = 2
"""Products that a vector is loaded before it is multiplied, where a register is free."""

_WORD = 4

Rounding: TypeAlias = Literal["single", "double", "rectified"]
"""``double`` as ``rectified`` where negative results end as zero anyway."""

Operand: TypeAlias = tuple[str, int]
"""The register of an address, and how many bytes behind the first one a vector is."""


@dataclass(frozen=True)
class Load:
    """Loads an operand into a vector register."""

    operand: Operand
    vector: str


@dataclass(frozen=True)
class Multiply:
    """Adds the products of two vector registers' lanes to a sum."""

    sum: int
    weights: str
    data: str


def assembly(products: Sequence[Product], alignments: dict[str, int], weights_end: int, started: bool) -> list[str]:
    """The instructions of ``products``, one a line.

    Args:
        alignments: bytes that the addresses in ``WEIGHTS`` and ``DATA`` are multiples of.
        weights_end: bytes behind the first weights that ``WEIGHTS`` is at in the end. ``DATA`` is anywhere.
        started: whether the sums hold something already.
    """
    steps = list(_allocate(products))
    addresses = {WEIGHTS: [], DATA: []}  # type: dict[str, list[int]]
    for step in steps:
        if isinstance(step, Load):
            addresses[step.operand[0]].append(step.operand[1])
    ends = {WEIGHTS: weights_end, DATA: addresses[DATA][-1]}
    following = {register: iter([*offsets[1:], ends[register]]) for register, offsets in addresses.items()}
    lines = [line for register, offsets in addresses.items() for line in move(register, offsets[0])]
    begun = set(range(len(SUMS))) if started else set()
    for step in steps:
        if isinstance(step, Load):
            register, at = step.operand
            lines += load(step.vector, register, next(following[register]) - at, alignments[register])
        else:
            name = "vmlava.s8" if step.sum in begun else "vmlav.s8"
            begun.add(step.sum)
            lines.append(f"{name} {SUMS[step.sum]}, {step.weights}, {step.data}")
    return lines


@dataclass(frozen=True)
class Finish:
    """How eight sums, of four pixels and two filters or of eight pixels, become int8.

    Attributes:
        filters: 1 or 2.
        bias: whether it is added.
        rounding: ``double``, ``single``, or ``double`` as ``rectified`` where negative results end as zero anyway.
        zero_point: of the results.
        packed: whether how far the next filter's results are is in the upper half of the one filter's last word.
    """

    filters: int
    bias: bool
    rounding: Rounding
    zero_point: int
    packed: bool = False

    def assembly(self) -> list[str]:
        """The instructions: sums in ``SUMS``, offsets of the results in ``OFFSETS``.

        ``PARAMETERS`` and ``OUTPUT`` move on to the next block: a filter's parameters are bias, multiplier, shift, and
        one more word, the last of two filters' being how far the next block's results are. Those of one filter are the
        next, if ``packed`` does not say otherwise.
        """
        temporary = [SUMS[at : at + 4] for at in range(0, 4 * self.filters, 4)]
        lines = []
        for vector in range(2):
            a, b, c, d = SUMS[4 * vector : 4 * vector + 4]
            lines += [f"vmov q{vector}[2], q{vector}[0], {a}, {c}", f"vmov q{vector}[3], q{vector}[1], {b}, {d}"]
        for bias, multiplier, shift, more in temporary:
            lines += [f"ldrd {bias}, {multiplier}, [{PARAMETERS}], #8", f"ldrd {shift}, {more}, [{PARAMETERS}], #8"]
        of_vector = [temporary[min(vector, self.filters - 1)] for vector in range(2)]
        if self.bias:
            lines += [f"vadd.i32 q{vector}, q{vector}, {bias}" for vector, (bias, *_) in enumerate(of_vector)]
        for vector, (_, multiplier, shift, _) in enumerate(of_vector):
            lines += scaled(self.rounding, f"q{vector}", f"q{vector + 2}", multiplier, shift)
        low, high = ("q2", "q3") if self.rounding == "double" else ("q0", "q1")
        lines += [f"vqmovnb.s32 {low}, {low}", f"vqmovnt.s32 {low}, {high}"]
        if self.zero_point:
            lines += [constant(SUMS[0], self.zero_point), f"vqadd.s16 {low}, {low}, {SUMS[0]}"]
        step = temporary[1][3] if self.filters == 2 else f"{temporary[0][3]}, asr #16" if self.packed else "#1"
        return [
            *lines,
            f"vqmovnb.s16 {low}, {low}",
            f"vstrb.16 {low}, [{OUTPUT}, {OFFSETS}]",
            f"add.w {OUTPUT}, {OUTPUT}, {step}",
        ]


@dataclass(frozen=True)
class FinishFour:
    """How the sums of four filters, of one pixel or two, become int8: a vector holds those of a pixel.

    Attributes:
        pixels: 1 or 2.
        stride: bytes from a pixel's results to the next one's, less than 4096.
        bias: whether it is added.
        rounding: as of ``Finish``.
        zero_point: of the results.
        apart: whether the filters need not be neighbours: their last words tell in the lower half how far results are
            from the first filter's, and how far the next block's are is in the upper half of the last one.
    """

    pixels: int
    stride: int
    bias: bool
    rounding: Rounding
    zero_point: int
    apart: bool = False

    def assembly(self) -> list[str]:
        """The instructions; registers and parameters are as of ``Finish``, but for ``OFFSETS``."""
        bias, multiplier, shift, more = VECTORS[:4]
        results = VECTORS[4 : 4 + self.pixels]
        lines = list[str]()
        for pixel, result in enumerate(results):
            a, b, c, d = SUMS[pixel : 4 * self.pixels : self.pixels]
            lines += [f"vmov {result}[2], {result}[0], {a}, {c}", f"vmov {result}[3], {result}[1], {b}, {d}"]
        loaded = f"{{{bias}, {multiplier}, {shift}, {more}}}, [{PARAMETERS}]"
        lines += [f"vld4{part}.32 {loaded}{'!' if part == 3 else ''}" for part in range(4)]
        lines += [f"vadd.i32 {result}, {result}, {bias}" for result in results if self.bias]
        for result in results:
            lines += self._scaled(result, VECTORS[6], multiplier, shift)
        step, zero_point, places = *SUMS[:2], VECTORS[6]
        if self.zero_point:
            lines += [constant(zero_point, self.zero_point)]
        lines += [f"vmovlb.u16 {places}, {more}"] if self.apart else []
        for pixel, result in enumerate(results):
            lines += [f"vqmovnb.s32 {result}, {result}"]
            lines += [f"vqadd.s16 {result}, {result}, {zero_point}"] if self.zero_point else []
            at = f"{OUTPUT if pixel == 0 else step}{f', {places}' if self.apart else ''}"
            lines += [f"addw {step}, {OUTPUT}, #{pixel * self.stride}"] if pixel else []
            lines += [f"vqmovnb.s16 {result}, {result}", f"vstrb.32 {result}, [{at}]"]
        distance = f"{step}, asr #16" if self.apart else step
        return [*lines, f"vmov.32 {step}, {more}[3]", f"add.w {OUTPUT}, {OUTPUT}, {distance}"]

    def _scaled(self, sums: str, other: str, multiplier: str, shift: str) -> list[str]:
        """As ``scaled``, by vectors; no product is added to there."""
        if self.rounding == "single":
            return [f"vqdmulh.s32 {sums}, {sums}, {multiplier}", f"vrshl.s32 {sums}, {sums}, {shift}"]
        sign = [f"vshr.s32 {other}, {sums}, #31"] if self.rounding == "double" else []
        less = [f"vadd.i32 {sums}, {sums}, {other}"] if self.rounding == "double" else []
        product = f"vqrdmulh.s32 {sums}, {sums}, {multiplier}"
        return [*sign, product, *less, f"vrshl.s32 {sums}, {sums}, {shift}"]


@dataclass(frozen=True)
class Constants:
    """Stores results that do not depend on the input.

    Attributes:
        pixels: 1 to 8, lane by lane.
    """

    pixels: int

    @property
    def mask(self) -> int:
        """Two bits for each i16 lane that holds a result."""
        return (1 << 2 * self.pixels) - 1

    def assembly(self) -> list[str]:
        """A loop over the results; their parameters are the result, and how far the next one is."""
        value, following = SUMS[:2]
        masked = self.pixels < 8
        store = ["vpst", "vstrbt.16"] if masked else ["vstrb.16"]
        return [
            *([f"vmsr p0, {MASK}"] if masked else []),
            "1:",
            f"ldrd {value}, {following}, [{PARAMETERS}], #{2 * _WORD}",
            f"vdup.16 q0, {value}",
            *store[:-1],
            f"{store[-1]} q0, [{OUTPUT}, {OFFSETS}]",
            f"add.w {OUTPUT}, {OUTPUT}, {following}",
            f"le {LEFT}, 1b",
        ]


def constant(register: str, number: int) -> str:
    """Sets a register to a number from -256 to 255."""
    return f"mvn {register}, #{~number}" if number < 0 else f"mov {register}, #{number}"


def scaled(rounding: Rounding, sums: str, other: str, multiplier: str, shift: str) -> list[str]:
    """Four sums scaled; in ``other`` for double rounding.

    That takes one off negative products, so that ties of the shift go away from zero: the sign begins as what the
    product is added to.
    """
    if rounding == "double":
        sign = f"vshr.s32 {other}, {sums}, #31"
        return [sign, f"vqrdmlah.s32 {other}, {sums}, {multiplier}", f"vrshl.s32 {other}, {shift}"]
    name = "vqdmulh.s32" if rounding == "single" else "vqrdmulh.s32"
    return [f"{name} {sums}, {sums}, {multiplier}", f"vrshl.s32 {sums}, {shift}"]


def _allocate(products: Sequence[Product]) -> Iterator[Load | Multiply]:
    """Loads and multiplications in turn, every operand in a register when it is needed, loaded early where one is free.

    Where all registers are taken, the operand that is needed last makes way.
    """
    operands = [((WEIGHTS, p.weights), (DATA, p.data)) for p in products]
    uses: dict[Operand, list[int]] = {}
    for i, pair in enumerate(operands):
        for operand in pair:
            uses.setdefault(operand, []).append(i)
    free, held = list(VECTORS), dict[Operand, str]()

    def next_use(operand: Operand, i: int) -> int:
        return next((use for use in uses[operand] if use >= i), len(products))

    for i, pair in enumerate(operands):
        wanted = [operand for ahead in operands[i : i + 1 + _AHEAD] for operand in ahead]
        for operand in dict.fromkeys(wanted):
            if operand in held:
                continue
            if not free and operand in pair:
                last = max((o for o in held if o not in pair), key=lambda o: next_use(o, i))
                free.append(held.pop(last))
            if free:
                held[operand] = free.pop(0)
                yield Load(operand, held[operand])
        weights, data = pair
        yield Multiply(products[i].sum, held[weights], held[data])
        for operand in pair:
            if uses[operand][-1] == i:
                free.append(held.pop(operand))


def load(vector: str, register: str, step: int, alignment: int) -> list[str]:
    """Loads a vector and moves the address by ``step`` bytes."""
    aligned = alignment % _WORD == 0
    name, reach = ("vldrw.u32", 127 * _WORD) if aligned else ("vldrb.u8", 127)
    if step and abs(step) <= reach and not (aligned and step % _WORD):
        return [f"{name} {vector}, [{register}], #{step}"]
    return [f"{name} {vector}, [{register}]", *move(register, step)]


def move(register: str, step: int) -> list[str]:
    """Moves an address by ``step`` bytes, less than a MiB."""
    name = "sub" if step < 0 else "add"
    low, high = abs(step) % (1 << 12), abs(step) >> 12 << 12
    lines = [f"{name}w {register}, {register}, #{low}"] if low else []
    return lines + ([f"{name}.w {register}, {register}, #{high}"] if high else [])
