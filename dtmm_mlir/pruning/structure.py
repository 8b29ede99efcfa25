"""Masks that kernels can make use of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from dtmm_mlir.dialect.ops import Geometry
from dtmm_mlir.pruning.layers import Layer

Costs = Callable[[Geometry, np.ndarray], tuple[float, int]]
"""Instructions and bytes of a convolution with a mask, such as ``cost.LayerCosts``."""

Readers = Mapping[str, Sequence[str]]
"""By layer whose filters go without others, the layers that read their results and lose as many channels."""

_SHARING = (1, 2, 4)
"""Neighbouring filters that keep the same positions; all filters may, too."""

_RESULTS = (0, 1, 2, 4, 8, 16)
"""What a filter's results cost, in filterlets, where filters are pruned that keep too little to be worth that."""

_CHARGES = (0.0, 0.5, 1.0)
"""Of what readers take for a channel, shares that are tried as what its filter costs besides its own instructions."""

_SHARES = (1.0, 0.98, 0.96, 0.94, 0.91, 0.88, 0.84, 0.8, 0.75, 0.69, 0.62, 0.54, 0.45, 0.35, 0.25, 0.15, 0.08)
"""Shares of a layer's importance that are tried."""

_SOME_SHARES, _BEST_UNITS = (0.94, 0.75, 0.45), 2
"""Where all units are tried, and how many of them are at the other shares."""


@dataclass(frozen=True)
class Unit:
    """Filterlets that are kept or pruned together.

    Attributes:
        filters: neighbouring ones.
        width: positions along kx.
        results: filterlets that the results of ``filters`` cost as much as. A unit counts for no more than the
            importance that the best of its filters' units have on average, these added.
    """

    filters: int = 1
    width: int = 1
    results: int = 0


def plain_mask(importance: np.ndarray, share: float) -> np.ndarray:
    """The fewest filterlets that keep ``share`` of the importance.

    Args:
        importance: [F, KH, KW], at least zero.

    Returns:
        [F, KH, KW] bool.
    """
    return _reaching(importance, share, Unit())


def choose_mask(importance: np.ndarray, share: float, geometry: Geometry, costs: Costs) -> np.ndarray:
    """The mask of the fewest instructions, among some that keep ``share`` of the importance.

    A kernel computes blocks of filters together and walks the positions that any filter of the block keeps, so filters
    of a block better share them; runs of neighbouring positions share inputs; and results of a filter that keeps
    nothing are constants. Tried are filterlets of 1, 2, 4 neighbouring filters and of all together, each at single
    positions and in whole kernel rows, those of the largest importance first, or those of the filters that keep most.

    Args:
        importance: [F, KH, KW], at least zero.
        share: of its sum.
        geometry: of the convolution.
        costs: of its target.

    Returns:
        [F, KH, KW] bool.
    """
    masks = [_reaching(importance, share, unit) for unit in _units(importance.shape)]
    return min(masks, key=lambda mask: costs(geometry, mask))


def choose_masks(
    importances: Mapping[str, np.ndarray],
    shares: Mapping[str, float],
    layers: Sequence[Layer],
    costs: Costs,
    readers: Readers,
) -> dict[str, np.ndarray]:
    """Masks of all layers like ``choose_mask``'s, of about the fewest instructions together.

    Filters that keep nothing are counted as removed, so that layers which read their results have fewer channels.

    Args:
        importances: by layer, [F, KH, KW], at least zero.
        shares: by layer, of the sum of its importance.
        costs: of the target.
        readers: of filters that may be removed.

    Returns:
        By layer, [F, KH, KW] bool.
    """

    def chosen(charges: Mapping[str, float]) -> dict[str, np.ndarray]:
        return {
            x.name: choose_mask(importances[x.name], shares[x.name], x.geometry, _Charged(costs, charges[x.name]))
            for x in layers
        }

    return _best_charged(chosen, importances, shares, layers, costs, readers)


def choose_again(mask: np.ndarray, importance: np.ndarray, grown: float = 0.0) -> np.ndarray:
    """As many filterlets as ``mask`` keeps, in the same units of filters and positions, by another importance.

    Filters that ``mask`` prunes stay pruned.

    Args:
        mask: [F, KH, KW] bool, from ``choose_mask``.
        importance: [F, KH, KW], at least zero.
        grown: 0 to 1, how much of the way from ``mask`` back to all filterlets of its filters, in equal factors.

    Returns:
        [F, KH, KW] bool.
    """
    stays, again = mask.any(axis=(1, 2)), np.zeros_like(mask)
    if stays.any():
        unit = next(unit for unit in reversed(_units(mask.shape)) if _consists_of(mask, unit))
        kept = _sums(mask[stays], unit) > 0
        count = round(kept.sum() ** (1 - grown) * kept.size**grown)
        again[stays] = _largest(importance[stays], count, unit)
    return again


def choose_shares(
    importances: Mapping[str, np.ndarray],
    share: float,
    layers: Sequence[Layer],
    costs: Costs,
    readers: Readers | None = None,
) -> dict[str, float]:
    """How much of each layer's importance to keep, so that all keep ``share`` and take the fewest instructions.

    Importance is given up where an instruction costs least of it: each layer takes the share that minimises its
    instructions, and those of other layers for its results, plus a price times the importance it loses, with the one
    price that keeps enough.

    Args:
        importances: by layer, [F, KH, KW], at least zero, of one scale.
        share: of the sum over all layers.
        readers: of filters that may be removed; none by default.
    """
    readers = readers or {}
    allowed = (1 - share) * sum(scores.sum() for scores in importances.values())

    def chosen(charges: Mapping[str, float]) -> dict[str, np.ndarray]:
        tried, lost, taken = [], [], []
        for layer in layers:
            scores, charged = importances[layer.name], _Charged(costs, charges[layer.name])
            tried.append(_each_share(scores, layer.geometry, charged))
            lost.append([scores.sum() - scores[mask].sum() for mask in tried[-1]])
            taken.append([charged(layer.geometry, mask)[0] for mask in tried[-1]])
        picked = _cheapest(np.array(lost), np.array(taken, np.float64), allowed)
        return {layer.name: masks[index] for layer, masks, index in zip(layers, tried, picked, strict=True)}

    best = _best_charged(chosen, importances, dict.fromkeys(importances, share), layers, costs, readers)
    kept = {name: importances[name][mask].sum() for name, mask in best.items()}
    return {name: float(sum / (importances[name].sum() or 1.0)) for name, sum in kept.items()}


@dataclass(frozen=True)
class _Charged:
    """Costs of a layer, and what others take for the results of each filter that keeps something."""

    costs: Costs
    charge: float

    def __call__(self, geometry: Geometry, mask: np.ndarray) -> tuple[float, int]:
        instructions, bytes = self.costs(geometry, mask)
        return instructions + self.charge * int(mask.any(axis=(1, 2)).sum()), bytes


def _best_charged(
    choose: Callable[[Mapping[str, float]], dict[str, np.ndarray]],
    importances: Mapping[str, np.ndarray],
    shares: Mapping[str, float],
    layers: Sequence[Layer],
    costs: Costs,
    readers: Readers,
) -> dict[str, np.ndarray]:
    """The masks of the fewest instructions that ``choose`` makes of what each layer is charged for a filter: shares of
    what its readers take about for a channel."""
    geometries = {layer.name: layer.geometry for layer in layers}
    whole = dict.fromkeys(geometries, 0.0)
    for name, g in geometries.items():
        for reader in readers.get(name, ()):
            mask = plain_mask(importances[reader], shares[reader])
            whole[name] += costs(geometries[reader], mask)[0] / g.f
    parts = _CHARGES if any(whole.values()) else (0.0,)
    tried = [choose({name: part * charge for name, charge in whole.items()}) for part in parts]
    return min(tried, key=lambda masks: _instructions(masks, layers, costs, readers))


def _instructions(masks: Mapping[str, np.ndarray], layers: Sequence[Layer], costs: Costs, readers: Readers) -> float:
    """Of all layers, once filters that keep nothing are removed where they have ``readers``."""
    channels: dict[str, int] = {}
    left = dict(masks)
    for name in masks.keys() & readers.keys():
        left[name] = masks[name][filters_left(masks[name])]
        channels |= dict.fromkeys(readers[name], len(left[name]))
    total = 0.0
    for layer in layers:
        g, mask = layer.geometry, left[layer.name]
        total += costs(replace(g, c=channels.get(layer.name, g.c), f=len(mask)), mask)[0]
    return total


def filters_left(mask: np.ndarray) -> np.ndarray:
    """[F] bool: the filters that ``mask`` [F, KH, KW] keeps something of; the first one where it keeps nothing."""
    stays = np.asarray(mask.any(axis=(1, 2)))
    stays[0] |= not stays.any()
    return stays


def _each_share(importance: np.ndarray, geometry: Geometry, costs: Costs) -> list[np.ndarray]:
    """A mask for each of ``_SHARES``, about those of ``choose_mask``."""
    best = {
        unit
        for share in _SOME_SHARES
        for unit in sorted(
            _units(importance.shape), key=lambda unit: costs(geometry, _reaching(importance, share, unit))
        )[:_BEST_UNITS]
    }
    return [
        min((_reaching(importance, share, unit) for unit in best), key=lambda mask: costs(geometry, mask))
        for share in _SHARES
    ]


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


def _units(shape: tuple[int, ...]) -> list[Unit]:
    """What masks of ``shape`` [F, KH, KW] may be made of."""
    sharing = sorted({min(filters, shape[0]) for filters in (*_SHARING, shape[0])})
    widths = sorted({1, shape[2]})
    return [
        Unit(*unit, results) for unit in product(sharing, widths) for results in (_RESULTS if unit[0] == 1 else (0,))
    ]


def _reaching(importance: np.ndarray, share: float, unit: Unit) -> np.ndarray:
    """The fewest units that keep ``share`` of the importance."""
    sums = _sums(importance, unit)
    reached = np.cumsum(sums.flat[_order(sums, unit)])
    goal = share * reached[-1] * (1 - 1e-12)
    return _largest(importance, sums.size if share >= 1 else int(np.searchsorted(reached, goal)) + 1, unit)


def _largest(importance: np.ndarray, count: int, unit: Unit) -> np.ndarray:
    """Keeps the ``count`` units of the largest importance."""
    f, _, kw = importance.shape
    sums = _sums(importance, unit)
    kept = np.zeros(sums.shape, bool)
    kept.flat[_order(sums, unit)[:count]] = True
    return np.ascontiguousarray(kept.repeat(unit.filters, axis=0).repeat(unit.width, axis=2)[:f, :, :kw])


def _order(sums: np.ndarray, unit: Unit) -> np.ndarray:
    """Flat indices of units, most important first."""
    largest = -np.sort(-sums.reshape(len(sums), -1), axis=1)
    counts = np.arange(largest.shape[1]) + 1 + unit.results / (unit.filters * unit.width)
    means = (largest.cumsum(axis=1) / counts).max(axis=1)
    return np.lexsort((-sums.ravel(), -np.minimum(sums, means[:, None, None]).ravel()))


def _sums(array: np.ndarray, unit: Unit) -> np.ndarray:
    """Of each unit."""
    f, kh, kw = array.shape
    padded = np.pad(array, ((0, -f % unit.filters), (0, 0), (0, -kw % unit.width)))
    return padded.reshape(padded.shape[0] // unit.filters, unit.filters, kh, -1, unit.width).sum(axis=(1, 4))


def _consists_of(mask: np.ndarray, unit: Unit) -> bool:
    """Whether ``mask`` keeps and prunes whole units."""
    return bool((_largest(mask, int((_sums(mask, unit) > 0).sum()), unit) == mask).all())
