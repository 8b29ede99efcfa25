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

_SHARES = (1.0, 0.97, 0.93, 0.88, 0.81, 0.72, 0.6, 0.45, 0.25)
"""Shares of a layer's importance that are tried."""

_SOME_SHARES, _BEST_UNITS = (0.93, 0.72, 0.45), 2
"""Where all units are tried, and how many of them are tried everywhere."""

_STEPS = (4, 8, 16)
"""Filters whose multiples are tried next as how many stay."""

_ROUNDING = 1e-12
"""Share of an importance that sums of it may be off."""

_LEAST_GAIN = 1e-3
"""Share of all instructions that another number of filters has to save."""


@dataclass(frozen=True)
class Unit:
    """Filterlets that are kept or pruned together.

    Attributes:
        filters: neighbouring ones.
        width: positions along kx.
    """

    filters: int = 1
    width: int = 1


def plain_mask(importance: np.ndarray, share: float) -> np.ndarray:
    """The fewest filterlets that keep ``share`` of the importance.

    Args:
        importance: [F, KH, KW], at least zero.

    Returns:
        [F, KH, KW] bool.
    """
    return _reaching(importance, share * importance.sum(), Unit())


def choose_mask(importance: np.ndarray, share: float, geometry: Geometry, costs: Costs) -> np.ndarray:
    """The mask of the fewest instructions, among some that keep ``share`` of the importance.

    A kernel computes blocks of filters together and walks the positions that any filter of the block keeps, so filters
    of a block better share them; runs of neighbouring positions share inputs; and results of a filter that keeps
    nothing are constants. Tried are filterlets of 1, 2, 4 neighbouring filters and of all together, each at single
    positions and in whole kernel rows, those of the largest importance first, of all filters or of those that matter
    most.

    Args:
        importance: [F, KH, KW], at least zero.
        share: of its sum.
        geometry: of the convolution.
        costs: of its target.

    Returns:
        [F, KH, KW] bool.
    """
    return choose_masks({"": importance}, {"": share}, [Layer("", geometry)], costs, {})[""]


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
    return _Network(importances, layers, costs, readers, shares).masks(np.inf)


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
        unit = next(unit for unit in reversed(_units(mask.shape)) if _consists_of(mask[stays], unit))
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
    instructions plus a price times the importance it loses, with the one price that keeps enough.

    Args:
        importances: by layer, [F, KH, KW], at least zero, of one scale.
        share: of the sum over all layers.
        readers: of filters that may be removed.
    """
    allowed = (1 - share) * sum(scores.sum() for scores in importances.values())
    masks = _Network(importances, layers, costs, readers or {}).masks(allowed)
    kept = {name: importances[name][mask].sum() for name, mask in masks.items()}
    return {name: float(sum / (importances[name].sum() or 1.0)) for name, sum in kept.items()}


@dataclass(frozen=True)
class _Choice:
    """One mask of a layer.

    Attributes:
        lost: importance.
        taken: instructions.
        mask: [F, KH, KW] bool.
    """

    lost: float
    taken: float
    mask: np.ndarray


class _Network:
    """Convolutions whose masks are chosen together.

    Args:
        wanted: by layer, the share of its importance that stays; by default some are tried.
    """

    def __init__(
        self,
        importances: Mapping[str, np.ndarray],
        layers: Sequence[Layer],
        costs: Costs,
        readers: Readers,
        wanted: Mapping[str, float] | None = None,
    ) -> None:
        self._importances, self._costs, self._readers, self._wanted = importances, costs, readers, wanted
        self._geometries = {layer.name: layer.geometry for layer in layers}
        self._writers = {reader: name for name, each in readers.items() for reader in each}
        self._units = {name: self._best_units(name) for name in self._geometries}
        self._known: dict[tuple[str, int, int], list[_Choice]] = {}

    def masks(self, allowed: float) -> dict[str, np.ndarray]:
        """Those of the fewest instructions that lose no more importance than ``allowed``.

        How many filters a layer keeps is moved where that saves most, as long as it does.
        """
        counts = {name: g.f for name, g in self._geometries.items()}
        least, masks = self._best(counts, allowed)
        while True:
            moved = [
                {**counts, name: count} for name, g in self._geometries.items() for count in _near(counts[name], g.f)
            ]
            tried = [(*self._best(other, allowed), other) for other in moved]
            best = min(tried, key=lambda each: each[0], default=(np.inf, {}, {}))
            if best[0] >= least * (1 - _LEAST_GAIN):
                return masks
            least, masks, counts = best

    def _best(self, counts: Mapping[str, int], allowed: float) -> tuple[float, dict[str, np.ndarray]]:
        """The fewest instructions with so many filters in each layer, and masks; infinity where too much is lost."""
        choices = {name: self._choices(name, counts) for name in self._geometries}
        if not all(choices.values()) or sum(min(x.lost for x in each) for each in choices.values()) > allowed:
            return np.inf, {}
        lost, taken = (
            np.array([[getattr(x, n) for x in each] for each in choices.values()]) for n in ("lost", "taken")
        )
        picked = _cheapest(lost, taken, allowed)
        masks = {name: each[index].mask for (name, each), index in zip(choices.items(), picked, strict=True)}
        return float(taken[np.arange(len(picked)), picked].sum()), masks

    def _choices(self, name: str, counts: Mapping[str, int]) -> list[_Choice]:
        """Masks of one layer that keep some of its filters, those of the largest importance."""
        channels = counts[self._writers[name]] if name in self._writers else self._geometries[name].c
        key = name, counts[name], channels
        if key not in self._known:
            scores, stays = self._importances[name], self._stays(name, counts[name])
            each = [
                [self._mask(scores, stays, goal, x) for x in self._units[name]] for goal in self._goals(name, stays)
            ]
            self._known[key] = [
                min((self._judged(name, stays, mask, channels) for mask in masks), key=lambda x: x.taken)
                for masks in each
            ]
        return self._known[key]

    def _stays(self, name: str, count: int) -> np.ndarray:
        """[F] bool: the ``count`` filters of the largest importance."""
        stays = np.zeros(len(self._importances[name]), bool)
        stays[np.argsort(-self._importances[name].sum(axis=(1, 2)), kind="stable")[:count]] = True
        return stays

    def _goals(self, name: str, stays: np.ndarray) -> list[float]:
        """Importance that masks of a layer are to keep, of what its filters that stay have."""
        left = self._importances[name][stays].sum()
        if self._wanted is None:
            return [share * left for share in _SHARES]
        share, goal = self._wanted[name], self._wanted[name] * self._importances[name].sum()
        return [goal] if stays.all() or (share < 1 and goal <= left * (1 + _ROUNDING)) else []

    @staticmethod
    def _mask(importance: np.ndarray, stays: np.ndarray, goal: float, unit: Unit) -> np.ndarray:
        mask = np.zeros(importance.shape, bool)
        mask[stays] = _reaching(importance[stays], goal, unit)
        return mask

    def _judged(self, name: str, stays: np.ndarray, mask: np.ndarray, channels: int) -> _Choice:
        """A mask whose empty filters are removed where others read them."""
        g = replace(self._geometries[name], c=channels)
        left = mask[stays] if name in self._readers else mask
        lost = self._importances[name][~mask].sum()
        return _Choice(float(lost), self._costs(replace(g, f=len(left)), left)[0], mask)

    def _best_units(self, name: str) -> list[Unit]:
        """What the cheapest masks consist of where all filters may stay."""
        importance, g = self._importances[name], self._geometries[name]
        shares = _SOME_SHARES if self._wanted is None else (self._wanted[name],)

        def taken(unit: Unit, share: float) -> float:
            return self._costs(g, _reaching(importance, share * importance.sum(), unit))[0]

        best = [sorted(_units(importance.shape), key=lambda x: taken(x, share))[:_BEST_UNITS] for share in shares]
        return list(dict.fromkeys(unit for units in best for unit in units))


def _near(count: int, most: int) -> set[int]:
    """Numbers of filters to try beside ``count``: one less, and the next multiples."""
    fewer = {(count - 1) // step * step for step in _STEPS}
    more = {min(count // step * step + step, most) for step in _STEPS}
    return ({count - 1} | fewer | more) - {0, count}


def filters_left(mask: np.ndarray) -> np.ndarray:
    """[F] bool: the filters that ``mask`` [F, KH, KW] keeps something of; the first one where it keeps nothing."""
    stays = np.asarray(mask.any(axis=(1, 2)))
    stays[0] |= not stays.any()
    return stays


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
    return [Unit(*unit) for unit in product(sharing, sorted({1, shape[2]}))]


def _reaching(importance: np.ndarray, goal: float, unit: Unit) -> np.ndarray:
    """The fewest units that keep ``goal`` of the importance."""
    reached = np.cumsum(-np.sort(-_sums(importance, unit), axis=None))
    goal *= 1 - _ROUNDING
    return _largest(
        importance,
        reached.size if goal >= reached[-1] * (1 - 2 * _ROUNDING) else int(np.searchsorted(reached, goal)) + 1,
        unit,
    )


def _largest(importance: np.ndarray, count: int, unit: Unit) -> np.ndarray:
    """Keeps the ``count`` units of the largest importance."""
    f, _, kw = importance.shape
    sums = _sums(importance, unit)
    kept = np.zeros(sums.shape, bool)
    kept.flat[np.argsort(-sums, axis=None, kind="stable")[:count]] = True
    return np.ascontiguousarray(kept.repeat(unit.filters, axis=0).repeat(unit.width, axis=2)[:f, :, :kw])


def _sums(array: np.ndarray, unit: Unit) -> np.ndarray:
    """Of each unit."""
    f, kh, kw = array.shape
    padded = np.pad(array, ((0, -f % unit.filters), (0, 0), (0, -kw % unit.width)))
    return padded.reshape(padded.shape[0] // unit.filters, unit.filters, kh, -1, unit.width).sum(axis=(1, 4))


def _consists_of(mask: np.ndarray, unit: Unit) -> bool:
    """Whether ``mask`` keeps and prunes whole units."""
    return bool((_largest(mask, int((_sums(mask, unit) > 0).sum()), unit) == mask).all())
