"""Products of int8 weights with i16 inputs as assembly of Arm's DSP extension.

As many weights wait in registers as the sums leave room for, so that neighbouring positions of a run share their
inputs. LLVM spills some of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from dtmm_mlir.passes.kernels.mve_assembly import move
from dtmm_mlir.passes.kernels.products import Product, Tile, tiles

SUMS = ("r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8")

WEIGHTS, DATA = "r9", "r10"
"""Addresses."""

_SPARE = ("r11", "r12", "lr")
"""Registers beside those of sums that there are not."""

_SAVED = "r7"
"""The compiler's, which gets it back."""

_DOUBLE_REACH, _REACH = 1020, 255
"""By how many bytes loads of two words, in multiples of four, and of one move their address."""


def held(sums: int) -> int:
    """Vectors of weights that wait in registers beside so many sums."""
    return (len(SUMS) - sums + len(_SPARE) + 1) // 2 - 1


def changed(sums: int) -> list[str]:
    """What is written besides so many sums and the addresses, and given back by nobody."""
    return [*SUMS[sums:], *_SPARE]


def assembly(products: Sequence[Product], sums: int, alignment: int, length: int) -> list[str]:
    """The instructions of ``products``, one a line; ``WEIGHTS`` moves by ``length`` bytes, ``DATA`` anywhere.

    A load moves its address on to where the next load is, where that is within reach.

    Args:
        sums: how many there are.
        alignment: bytes that addresses of inputs are multiples of, at least 2.
    """
    *registers, first, second = [*changed(sums), _SAVED]
    order = list(_in_order(tiles(products, held(sums))))
    weights = [at for tile, _ in order for at in tile]
    data = [at for _, inputs in order for at in inputs]
    weight_steps = iter([after - at for at, after in pairwise([*weights, length])])
    data_steps = iter([after - at for at, after in pairwise([*data, data[-1]])])
    lines = [f"push {{{_SAVED}}}", *move(WEIGHTS, weights[0]), *move(DATA, data[0])]
    for tile, inputs in order:
        pairs = dict(zip(tile, zip(registers[::2], registers[1::2], strict=False), strict=False))
        for even, odd in pairs.values():
            lines += _load_weights(even, odd, next(weight_steps))
        for at in inputs:
            lines += _load_inputs(first, second, next(data_steps), alignment)
            for vector, pair in pairs.items():
                if at in tile[vector]:
                    total = SUMS[tile[vector][at]]
                    lines += [f"smlad {total}, {w}, {x}, {total}" for w, x in zip(pair, (first, second), strict=True)]
    return [*lines, f"pop {{{_SAVED}}}"]


def _in_order(all: Sequence[Tile]) -> list[tuple[Tile, list[int]]]:
    """Each tile and its inputs, forward or backward, whichever begins nearer to the inputs before."""
    order, last = list[tuple[Tile, list[int]]](), 0
    for tile in all:
        inputs = sorted({at for sums in tile.values() for at in sums})
        inputs = inputs if abs(inputs[0] - last) <= abs(inputs[-1] - last) else inputs[::-1]
        order.append((tile, inputs))
        last = inputs[-1]
    return order


def _load_weights(even: str, odd: str, step: int) -> list[str]:
    """Four weights as two pairs of i16: of bytes 0 and 2, and of bytes 1 and 3."""
    return [
        *_load(even, WEIGHTS, step),
        f"sxtb16 {odd}, {even}, ror #8",
        f"sxtb16 {even}, {even}",
    ]


def _load_inputs(first: str, second: str, step: int, alignment: int) -> list[str]:
    """Four inputs of two bytes each."""
    if alignment % 4:
        return [f"ldr.w {second}, [{DATA}, #4]", *_load(first, DATA, step)]
    if step % 4 or abs(step) > _DOUBLE_REACH:
        return [f"ldrd {first}, {second}, [{DATA}]", *move(DATA, step)]
    return [f"ldrd {first}, {second}, [{DATA}], #{step}"]


def _load(register: str, address: str, step: int) -> list[str]:
    """Loads a word and moves its address by ``step`` bytes."""
    if abs(step) > _REACH:
        return [f"ldr.w {register}, [{address}]", *move(address, step)]
    return [f"ldr.w {register}, [{address}], #{step}"]
