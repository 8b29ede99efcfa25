"""Masks that kernels can make use of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from dtmm_mlir.dialect.ops import Geometry
from dtmm_mlir.pruning.cost import LayerCosts
from dtmm_mlir.pruning.layers import Layer

_SHARING = (1, 2, 4)
"""Neighbouring filters that keep the same positions; all filters may, too."""

_SHARES = (1.0, 0.97, 0.93, 0.88, 0.8, 0.7, 0.6, 0.45, 0.3, 0.2)
"""Shares of a layer's importance that are tried."""


def plain_mask(importance: np.ndarray, share: float) -> np.ndarray:
    """The fewest filterlets that keep ``share`` of the importance.

    Args:
        importance: [F, KH, KW], at least zero.

    Returns:
        [F, KH, KW] bool.
    """
    return _reaching(importance, share, 1, 1)


def choose_mask(importance: np.ndarray, share: float, geometry: Geometry, costs: LayerCosts) -> np.ndarray:
    """The mask of the fewest instructions, among some that keep ``share`` of the importance.

    A kernel computes blocks of filters together and walks the positions that any filter of the block keeps, so filters
    of a block better share them; and runs of neighbouring positions share inputs. Tried are filterlets of 1, 2, 4
    neighbouring filters and of all together, each at single positions and in whole kernel rows, those of the largest
    importance first.

    Args:
        importance: [F, KH, KW], at least zero.
        share: of its sum.
        geometry: of the convolution.
        costs: of its target.

    Returns:
        [F, KH, KW] bool.
    """
    masks = [_reaching(importance, share, *unit) for unit in _units(importance.shape)]
    return min(masks, key=lambda mask: costs(geometry, mask))


def choose_again(mask: np.ndarray, importance: np.ndarray, grown: float = 0.0) -> np.ndarray:
    """As many filterlets as ``mask`` keeps, in the same units of filters and positions, by another importance.

    Args:
        mask: [F, KH, KW] bool, from ``choose_mask``.
        importance: [F, KH, KW], at least zero.
        grown: 0 to 1, how much of the way from ``mask`` back to all filterlets, in equal factors.

    Returns:
        [F, KH, KW] bool.
    """
    filters, width = next(unit for unit in reversed(_units(mask.shape)) if _consists_of(mask, *unit))
    kept = _sums(mask, filters, width) > 0
    count = round(kept.sum() ** (1 - grown) * kept.size**grown)
    return _largest(importance, max(count, 1), filters, width)


def choose_shares(
    importances: Mapping[str, np.ndarray], share: float, layers: Sequence[Layer], costs: LayerCosts
) -> dict[str, float]:
    """How much of each layer's importance to keep, so that all keep ``share`` and take the fewest instructions.

    Importance is given up where an instruction costs least of it: each layer takes the share that minimises its
    instructions plus a price times the importance it loses, with the one price that keeps enough.

    Args:
        importances: by layer, [F, KH, KW], at least zero, of one scale.
        share: of the sum over all layers.
    """
    lost, taken = [], []
    for layer in layers:
        scores = importances[layer.name]
        masks = [choose_mask(scores, each, layer.geometry, costs) for each in _SHARES]
        lost.append([scores.sum() - scores[mask].sum() for mask in masks])
        taken.append([costs(layer.geometry, mask)[0] for mask in masks])
    allowed = (1 - share) * sum(scores.sum() for scores in importances.values())
    picked = _cheapest(np.array(lost), np.array(taken, np.float64), allowed)
    return {layer.name: _SHARES[index] for layer, index in zip(layers, picked, strict=True)}


def _cheapest(lost: np.ndarray, taken: np.ndarray, allowed: float) -> np.ndarray:
    """The column of each row that makes the sum of ``taken`` small while that of ``lost`` stays within ``allowed``."""
    rows = np.arange(len(lost))
    low, high = 0.0, 1e-9
    while lost[rows, (taken + high * lost).argmin(axis=1)].sum() > allowed:
        high *= 4
        if high > 1e30:
            return np.zeros(len(lost), int)
    for _ in range(60):
        price = (low + high) / 2
        if lost[rows, (taken + price * lost).argmin(axis=1)].sum() > allowed:
            low = price
        else:
            high = price
    return _use_rest((taken + high * lost).argmin(axis=1), lost, taken, allowed)


def _use_rest(picked: np.ndarray, lost: np.ndarray, taken: np.ndarray, allowed: float) -> np.ndarray:
    """Moves rows to columns that take less while what is left of ``allowed`` permits, those that save most first."""
    rows = np.arange(len(picked))
    while True:
        rest = allowed - lost[rows, picked].sum()
        saved = taken[rows, picked][:, None] - taken
        saved[lost - lost[rows, picked][:, None] > rest] = 0
        if saved.max() <= 0:
            return picked
        row, column = np.unravel_index(saved.argmax(), saved.shape)
        picked[row] = column


def _units(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Filters and positions along kx that are kept or pruned together, for masks of ``shape`` [F, KH, KW]."""
    sharing = sorted({min(filters, shape[0]) for filters in (*_SHARING, shape[0])})
    return list(product(sharing, sorted({1, shape[2]})))


def _reaching(importance: np.ndarray, share: float, filters: int, width: int) -> np.ndarray:
    """The fewest units that keep ``share`` of the importance."""
    units = np.sort(_sums(importance, filters, width), axis=None)[::-1]
    reached = np.cumsum(units)
    goal = share * reached[-1] * (1 - 1e-12)
    return _largest(importance, units.size if share >= 1 else int(np.searchsorted(reached, goal)) + 1, filters, width)


def _largest(importance: np.ndarray, count: int, filters: int, width: int) -> np.ndarray:
    """Keeps the ``count`` units of the largest importance."""
    f, _, kw = importance.shape
    units = _sums(importance, filters, width)
    kept = np.zeros(units.shape, bool)
    kept.flat[np.argsort(-units, axis=None, kind="stable")[:count]] = True
    return np.ascontiguousarray(kept.repeat(filters, axis=0).repeat(width, axis=2)[:f, :, :kw])


def _sums(array: np.ndarray, filters: int, width: int) -> np.ndarray:
    """Of each unit of ``filters`` by ``width`` along kx."""
    f, kh, kw = array.shape
    padded = np.pad(array, ((0, -f % filters), (0, 0), (0, -kw % width)))
    return padded.reshape(padded.shape[0] // filters, filters, kh, -1, width).sum(axis=(1, 4))


def _consists_of(mask: np.ndarray, filters: int, width: int) -> bool:
    """Whether ``mask`` keeps and prunes whole units."""
    return bool((_largest(mask, int((_sums(mask, filters, width) > 0).sum()), filters, width) == mask).all())
