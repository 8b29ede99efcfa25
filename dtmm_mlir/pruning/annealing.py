"""Simulated annealing, which DTMM searches with, as a sampler of Optuna's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

_COOLING = 0.97
"""Of the temperature, per trial."""
_STEP = 0.25
"""Standard deviation of a move, relative to a parameter's range."""


class AnnealingSampler(optuna.samplers.BaseSampler):
    """Moves on from the trial it last accepted; which those are follows from the study's history alone.

    A trial's energy is the sum of the logarithms of its values plus ten times what it exceeds its budget by; a worse
    one is accepted with the probability that Metropolis gives it.

    Args:
        seed: of the next move.
    """

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """What all trials have in common."""
        return optuna.search_space.intersection_search_space(study.get_trials(deepcopy=False))

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A neighbour of the accepted trial: some of its parameters are moved."""
        current = _accepted(study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]))
        if current is None:
            return {}
        moved = {}
        for name, distribution in search_space.items():
            assert isinstance(distribution, FloatDistribution)
            step = _STEP * (distribution.high - distribution.low) * self._random.standard_normal()
            value = current.params[name] + (step if self._random.random() < 0.4 else 0.0)
            moved[name] = float(np.clip(value, distribution.low, distribution.high))
        return moved

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Any value, for the first trials."""
        assert isinstance(param_distribution, FloatDistribution)
        return float(self._random.uniform(param_distribution.low, param_distribution.high))


def _accepted(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """The last trial that Metropolis accepts, going through them in order."""
    current = None
    for number, trial in enumerate(trials):
        if current is None:
            current = trial
            continue
        rise = _energy(trial) - _energy(current)
        chance = np.random.default_rng(number).random()
        if rise <= 0 or chance < math.exp(-rise / _COOLING**number):
            current = trial
    return current


def _energy(trial: FrozenTrial) -> float:
    excess = sum(max(each, 0.0) for each in trial.constraints.values())
    return sum(math.log(max(value, 1e-9)) for value in trial.values) + 10 * excess
