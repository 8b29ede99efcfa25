"""Products of int8 weights with i32 inputs as Thumb-1 assembly: weights stay in registers while pixels pass by.

Only eight registers can be multiplied, and a product overwrites one of its factors. So inputs are loaded to be
overwritten, two by one instruction, and sums are in the upper registers, to which Thumb-1 can add.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby, pairwise

from dtmm_mlir.passes.kernels.products import Product

SUMS = ("r8", "r9", "r10", "r11")

WEIGHTS, DATA = "r12", "r6"
"""Addresses."""

CHANGED = ("r0", "r1", "r2", "r3", "r4", "r5", "lr")
"""What is written besides."""

CHANNEL_WEIGHTS = "r5"
"""The address of ``channel``'s weights; not written."""

_LANES = 4
"""Weights of a vector."""

_STEPS = ("r2", "r3", "r4")
"""Distances of ``channel``'s pixels from the first one."""

_INPUTS, _WEIGHTS_VECTOR, _DISTANCE = ("r0", "r1"), ("r2", "r3", "r4", "r5"), "lr"

_WORD = 4
_IMMEDIATE = 255
_REACH = {True: 31 * _WORD, False: 31 - 3}
"""Largest offset of a load of weights, by whether they are aligned words."""


def assembly(products: Sequence[Product], aligned: bool) -> list[str]:
    """The instructions of ``products``, one a line; those of the same weights follow each other.

    Args:
        aligned: whether vectors of weights are aligned words.
    """
    vectors = [(at, list(of_vector)) for at, of_vector in groupby(products, lambda p: p.weights)]
    data = [p.data for p in products]
    moves = [following - at - _LANES * _WORD for at, following in pairwise(data)]
    distance = _worth_holding([data[0], *moves])
    lines = [*_set("r0", distance), f"mov {_DISTANCE}, r0"] if distance else []
    lines += _move(data[0], distance)
    moved = iter([*moves, 0])
    base = 0
    for at, of_vector in vectors:
        lines.append(f"mov r0, {WEIGHTS}")
        if at - base > _REACH[aligned]:
            lines += [*_add("r0", at - base), f"mov {WEIGHTS}, r0"]
            base = at
        lines += _words(at - base) if aligned else _bytes(at - base)
        for product in of_vector:
            lines += [*_product(SUMS[product.sum]), *_move(next(moved), distance)]
    return lines


def channel(inputs: Sequence[int], pixels: int, step: int) -> list[str]:
    """The products of one channel's weights with i8 inputs at neighbouring pixels, one instruction a line.

    ``CHANNEL_WEIGHTS`` has the address of one weight per kernel position, ``DATA`` that of the first pixel's input.

    Args:
        inputs: of each position, bytes from the first pixel's input to the one it multiplies; at most 32.
        pixels: at most 4.
        step: bytes from pixel to pixel.
    """
    moves = [following - at for at, following in pairwise(inputs)]
    distance = _worth_holding([move for move in moves if move != step])
    lines = [*_set("r0", distance), f"mov {_DISTANCE}, r0"] if distance else []
    if pixels > 1:
        lines += [*_set(_STEPS[0], step), f"adds {_STEPS[1]}, {_STEPS[0]}, {_STEPS[0]}"]
        lines.append(f"adds {_STEPS[2]}, {_STEPS[1]}, {_STEPS[0]}")
    lines += _add(DATA, inputs[0])
    for position, move in enumerate([*moves, 0]):
        lines += [f"ldrb r0, [{CHANNEL_WEIGHTS}, #{position}]", "sxtb r0, r0"]
        for pixel in range(pixels):
            load = f"ldrsb r1, [{DATA}, {_STEPS[pixel - 1]}]"
            lines += [load] if pixel else [f"ldrb r1, [{DATA}]", "sxtb r1, r1"]
            lines += ["muls r1, r0, r1", f"add {SUMS[pixel]}, r1"]
        near = pixels > 1 and move == step
        lines += [f"add {DATA}, {_STEPS[0]}"] if near else _move(move, distance)
    return lines


def _product(total: str) -> list[str]:
    """Adds the products of one pixel."""
    lines = []
    for first in range(0, _LANES, len(_INPUTS)):
        lines.append(f"ldm {DATA}!, {{{', '.join(_INPUTS)}}}")
        for x, w in zip(_INPUTS, _WEIGHTS_VECTOR[first:], strict=False):
            lines += [f"muls {x}, {w}, {x}", f"add {total}, {x}"]
    return lines


def _words(at: int) -> list[str]:
    """Loads a vector of weights ``at`` bytes behind ``r0``, an aligned word."""
    *others, last = _WEIGHTS_VECTOR
    lines = [f"ldr {last}, [r0, #{at}]", f"sxtb {others[0]}, {last}"]
    for lane, register in enumerate(others[1:], 1):
        lines += [f"lsls {register}, {last}, #{24 - 8 * lane}", f"asrs {register}, {register}, #24"]
    return [*lines, f"asrs {last}, {last}, #24"]


def _bytes(at: int) -> list[str]:
    """The same for any address."""
    loads = [f"ldrb {w}, [r0, #{at + lane}]" for lane, w in enumerate(_WEIGHTS_VECTOR)]
    return loads + [f"sxtb {w}, {w}" for w in _WEIGHTS_VECTOR]


def _worth_holding(moves: Sequence[int]) -> int:
    """The distance that is moved most often beyond an immediate operand; 0 where there is none."""
    far = Counter(move for move in moves if abs(move) > _IMMEDIATE)
    if not far:
        return 0
    move, times = max(far.items(), key=lambda item: (item[1], item[0]))
    return move if times > 1 else 0


def _move(step: int, distance: int) -> list[str]:
    """Moves the address of data by ``step`` bytes; ``distance`` is in a register."""
    if step and step == distance:
        return [f"add {DATA}, {_DISTANCE}"]
    return _add(DATA, step)


def _add(register: str, step: int) -> list[str]:
    """Adds a constant; ``r1`` changes where it is large."""
    name, size = ("subs" if step < 0 else "adds"), abs(step)
    if size > 2 * _IMMEDIATE:
        return [*_set("r1", size), f"{name} {register}, {register}, r1"]
    parts = [min(size, _IMMEDIATE), size - min(size, _IMMEDIATE)]
    return [f"{name} {register}, #{part}" for part in parts if part]


def _set(register: str, value: int) -> list[str]:
    """A register to a constant."""
    size = abs(value)
    zeros = (size & -size).bit_length() - 1
    digits = size >> zeros
    lines = [f"movs {register}, #{digits >> 8 * place & 255}" for place in [max(digits.bit_length() - 1, 0) // 8]]
    for place in reversed(range(max(digits.bit_length() - 1, 0) // 8)):
        lines += [f"lsls {register}, {register}, #8", f"adds {register}, #{digits >> 8 * place & 255}"]
    lines += [f"lsls {register}, {register}, #{zeros}"] if zeros else []
    return [*lines, f"rsbs {register}, {register}, #0"] if value < 0 else lines
