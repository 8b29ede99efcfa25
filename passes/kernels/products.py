"""What a run multiplies: vectors of weights with vectors of activations, each product added to one sum."""

from __future__ import annotations

from dataclasses import dataclass

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
