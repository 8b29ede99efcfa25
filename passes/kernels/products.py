"""What a run multiplies: vectors of weights with vectors of activations, each product added to one sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

from iree.compiler import ir


@dataclass(frozen=True)
class Product:
    """One product of two vectors.

    Attributes:
        sum: which sum it is added to.
        weights: bytes from the first weights of the run to the vector of weights.
        data: bytes from the first activations to the vector of activations.
    """

    sum: int
    weights: int
    data: int


@dataclass(frozen=True)
class Vectors:
    """Where vectors are loaded from.

    Attributes:
        address: of the first one.
        alignment: bytes that all their addresses are multiples of.
    """

    address: ir.Value
    alignment: int


Tile: TypeAlias = dict[int, dict[int, int]]
"""Of some vectors of weights, in bytes from the first ones: which sum the product with each vector of inputs, likewise,
is added to."""


def tiles(products: Sequence[Product], most: int) -> list[Tile]:
    """The products in parts whose weights fit into registers, so that each input is loaded once for all of them.

    A part has up to ``most`` vectors of weights, all or none of those that are multiplied by the same inputs if these
    fit.
    """
    return list(_each_tile(products, most))


def _each_tile(products: Sequence[Product], most: int) -> Iterator[Tile]:
    sums: Tile = {}
    for p in sorted(products, key=lambda p: (p.weights, p.data)):
        sums.setdefault(p.weights, {})[p.data] = p.sum
    tile: Tile = {}
    for inputs, group in groupby(sums, lambda at: sums[at].keys()):
        same = list(group)
        for some in (same[start : start + most] for start in range(0, len(same), most)):
            shared = any(inputs & tile[weights].keys() for weights in tile)
            if tile and (not shared or len(tile) + len(some) > most):
                yield tile
                tile = {}
            tile |= {weights: sums[weights] for weights in some}
    yield tile
