"""Neighbouring elements in vectors, none of which leaves them."""

from __future__ import annotations

from collections.abc import Callable

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.emit import Index


def for_each_piece(count: int, lanes: int, body: Callable[[Index, int], None]) -> None:
    """Calls ``body(first element, elements)`` in a loop over vectors of ``count`` elements.

    The last vector overlaps the one before: what is computed twice must be the same. Where ``count`` is less than
    ``lanes``, vectors are of the largest power of two that is not more.
    """
    lanes = min(lanes, 1 << (count.bit_length() - 1))
    whole = count // lanes * lanes
    emit.loop(0, whole, lambda i: body(i, lanes), step=lanes)
    if whole != count:
        body(count - lanes, lanes)
