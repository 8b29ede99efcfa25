"""Products of int8 vectors as RISC-V assembly: each weight and each input is loaded once for a block of sums.

LLVM loads everything early and spills what does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TypeAlias

from dtmm_mlir.passes.kernels.products import Product

SUMS = (*(f"a{i}" for i in range(8)), *(f"s{i}" for i in range(2, 10)))

WEIGHTS, DATA = "t0", "t1"
"""Addresses."""

CHANGED = ("t2", "t3", "t4", "t5", "t6", "s10", "s11")
"""What is written besides."""

_WEIGHTS_OF_FILTERS, _INPUT, _PRODUCTS = CHANGED[:4], CHANGED[4], CHANGED[5:]

_LANES = 4
"""Weights of a vector."""

_REACH = 1 << 11
"""Offsets of loads are less than this, or down to its negative."""


Tile: TypeAlias = dict[int, dict[int, int]]
"""Of some vectors of weights, in bytes from the first ones: which sum the product with each vector of inputs, likewise,
is added to."""


def assembly(products: Sequence[Product], length: int) -> list[str]:
    """The instructions of ``products``, one a line; ``WEIGHTS`` moves by ``length`` bytes, ``DATA`` anywhere."""
    lines, base = list[str](), {WEIGHTS: 0, DATA: 0}

    def load(target: str, address: str, at: int) -> None:
        if not -_REACH <= at - base[address] < _REACH:
            lines.extend(_move(address, at - base[address]))
            base[address] = at
        lines.append(f"lb {target}, {at - base[address]}({address})")

    for tile in _tiles(products):
        registers = dict(zip(tile, _WEIGHTS_OF_FILTERS, strict=False))
        inputs = sorted({at for sums in tile.values() for at in sums})
        for lane in range(_LANES):
            for weights, register in registers.items():
                load(register, WEIGHTS, weights + lane)
            for at in inputs:
                load(_INPUT, DATA, at + lane)
                used = [weights for weights in tile if at in tile[weights]]
                lines += _add_products([(SUMS[tile[weights][at]], registers[weights]) for weights in used])
    return lines + _move(WEIGHTS, length - base[WEIGHTS])


def _tiles(products: Sequence[Product]) -> Iterator[Tile]:
    """As many vectors of weights as fit into registers, all or none of those that are multiplied by the same inputs."""
    sums: Tile = {}
    for p in sorted(products, key=lambda p: (p.weights, p.data)):
        sums.setdefault(p.weights, {})[p.data] = p.sum
    tile: Tile = {}
    for inputs, group in groupby(sums, lambda at: sums[at].keys()):
        same, most = list(group), len(_WEIGHTS_OF_FILTERS)
        for some in (same[start : start + most] for start in range(0, len(same), most)):
            shared = any(inputs & tile[weights].keys() for weights in tile)
            if tile and (not shared or len(tile) + len(some) > most):
                yield tile
                tile = {}
            tile |= {weights: sums[weights] for weights in some}
    yield tile


def _add_products(factors: Sequence[tuple[str, str]]) -> list[str]:
    """Adds the products of an input to sums, each with a weight; two in turn, so that none is needed at once."""
    lines = []
    for start in range(0, len(factors), len(_PRODUCTS)):
        some = list(zip(_PRODUCTS, factors[start:], strict=False))
        lines += [f"mul {product}, {_INPUT}, {weight}" for product, (_, weight) in some]
        lines += [f"add {total}, {total}, {product}" for product, (total, _) in some]
    return lines


def _move(address: str, step: int) -> list[str]:
    """Moves an address by ``step`` bytes."""
    if not step:
        return []
    if -_REACH <= step < _REACH:
        return [f"addi {address}, {address}, {step}"]
    return [f"li {_INPUT}, {step}", f"add {address}, {address}, {_INPUT}"]
