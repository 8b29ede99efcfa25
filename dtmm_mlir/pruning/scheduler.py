"""The search for how much to prune where."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import optuna
import torch
from optuna.trial import FrozenTrial, TrialState
from torch import nn

from dtmm_mlir.errors import DtmmError
from dtmm_mlir.pruning.annealing import AnnealingSampler
from dtmm_mlir.pruning.budget import Budget
from dtmm_mlir.pruning.cost import Cost, Predictor
from dtmm_mlir.pruning.filters import find_groups, remove_filters
from dtmm_mlir.pruning.importance import Importance, importance
from dtmm_mlir.pruning.layers import find_layers
from dtmm_mlir.pruning.masks import apply_masks
from dtmm_mlir.pruning.recipe import Recipe
from dtmm_mlir.pruning.structure import choose_mask, choose_shares

Method = Literal["both", "filterlets", "filters"]
METHODS: tuple[Method, ...] = ("both", "filterlets", "filters")
Sampler = Literal["tpe", "annealing"]
SAMPLERS: tuple[Sampler, ...] = ("tpe", "annealing")

_MOST_FILTERS = 0.75
"""Share of a group's filters that is removed at most."""
_MOST_IMPORTANCE = 0.8
"""Share of a layer's importance that its filterlets lose at most."""
_FIRST_SHARES = {
    "both": (1.0, 0.9, 0.75, 0.5),
    "filterlets": (1.0, 0.97, 0.93, 0.88, 0.8, 0.7, 0.55, 0.4),
    "filters": (1.0,),
}
"""By method, shares of the whole importance that filterlets keep where a search begins."""
_FIRST_RATES = (0.0, 0.2, 0.4, 0.55, 0.65, 0.72)
"""Shares of all groups' filters that are removed where a search begins."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Candidate:
    """How much to prune where.

    Attributes:
        filters: share of the filters to remove, by the root of their group.
        lost: share of the importance that pruned filterlets may have, by layer.
    """

    filters: Mapping[str, float]
    lost: Mapping[str, float]

    @staticmethod
    def of(parameters: Mapping[str, float]) -> Candidate:
        """From the parameters of a trial."""
        kinds: dict[str, dict[str, float]] = {"filters": {}, "lost": {}}
        for name, value in parameters.items():
            kind, _, layer = name.partition("/")
            kinds[kind][layer] = value
        return Candidate(**kinds)


class Space:
    """Builds pruned versions of a recipe's network and predicts what they cost.

    Args:
        scores: of ``importance.contributions``.
    """

    def __init__(
        self, recipe: Recipe, predictor: Predictor, scores: Mapping[str, np.ndarray], kind: Importance, method: Method
    ) -> None:
        self.recipe, self.predictor, self.kind, self.method = recipe, predictor, kind, method
        self._model, self._example = recipe.model(), recipe.example()
        self._twin = copy.deepcopy(self._model)
        for name, array in scores.items():
            self._twin.get_submodule(name).get_parameter("weight").data = torch.from_numpy(array).float()
        groups = find_groups(self._model, self._example) if method != "filterlets" else []
        layers = list(scores) if method != "filters" else []
        self.most = {f"filters/{group.root}": _MOST_FILTERS for group in groups}
        self.most |= {f"lost/{name}": _MOST_IMPORTANCE for name in layers}

    def build(self, candidate: Candidate) -> tuple[nn.Module, dict[str, np.ndarray]]:
        """The network without the candidate's filters, and the masks of its filterlets, not applied yet."""
        model, twin = self._without(candidate.filters)
        masks = {}
        for layer in find_layers(model, self._example):
            lost = candidate.lost.get(layer.name, 0.0)
            if lost > 0:
                scores = self._importance(twin, layer.name)
                if scores.any():
                    masks[layer.name] = choose_mask(scores, 1 - lost, layer.geometry, self.predictor.costs)
        return model, masks

    def cost(self, candidate: Candidate) -> Cost:
        """Predicted, without training or compiling it."""
        model, masks = self.build(candidate)
        return self.predictor(model, self._example, masks)

    def first(self) -> list[dict[str, float]]:
        """Parameters to begin with, from little pruning to much: filters at one rate in all groups, of what is left
        importance where giving it up saves most."""
        shares = _FIRST_SHARES[self.method]
        rates = _FIRST_RATES if self.method != "filterlets" else (0.0,)
        steps = sorted(product(range(len(rates)), range(len(shares))), key=sum)
        return [self._point(rates[rate], shares[share]) for rate, share in steps]

    def _point(self, rate: float, share: float) -> dict[str, float]:
        point = {name: rate if name.startswith("filters/") else 0.0 for name in self.most}
        if share < 1:
            model, twin = self._without(Candidate.of(point).filters)
            layers = [layer for layer in find_layers(model, self._example) if f"lost/{layer.name}" in self.most]
            scores = {layer.name: self._importance(twin, layer.name) for layer in layers}
            kept = choose_shares(scores, share, layers, self.predictor.costs)
            point |= {f"lost/{name}": min(1 - each, _MOST_IMPORTANCE) for name, each in kept.items()}
        return point

    def _without(self, rates: Mapping[str, float]) -> tuple[nn.Module, nn.Module]:
        """The network without some of its filters, and its twin that holds contributions in place of weights."""
        model, twin = copy.deepcopy(self._model), copy.deepcopy(self._twin)
        remove_filters(model, twin, self._example, rates, self.kind)
        return model, twin

    def smallest(self) -> Cost:
        """The cost of the most that the search would prune."""
        return self.cost(Candidate.of(self.most))

    def _importance(self, twin: nn.Module, name: str) -> np.ndarray:
        """[F, KH, KW] of the layer ``name`` of a network that holds contributions in place of weights."""
        return importance(twin.get_submodule(name).get_parameter("weight").detach().double().numpy(), self.kind)


def search(
    space: Space,
    budget: Budget,
    trials: int,
    *,
    effort: float,
    seed: int,
    storage: str,
    name: str,
    sampler: Sampler = "tpe",
    progress: Callable[[str], None] = lambda step: None,
) -> list[FrozenTrial]:
    """Tries candidates until the study has ``trials``; goes on where an earlier or another process has left it.

    A trial's values are the loss on validation data after a short training, and the predicted instructions.

    Args:
        effort: of that training, see ``Recipe.train``.
        storage: database URL of the study, such as ``sqlite:///study.db``.
        name: of the study.

    Returns:
        All trials; ``front`` picks the best of them.

    Raises:
        DtmmError: no network that the search could find meets the budget.
    """
    _reject_impossible(space, budget)
    study = optuna.create_study(
        storage=storage, study_name=name, directions=["minimize", "minimize"], load_if_exists=True
    )
    if not study.trials:
        smallest = [] if budget.without_limits() else [space.most]  # which is known to be within
        for point in [*smallest, *space.first()]:
            study.enqueue_trial(point, skip_if_exists=True)
    while (done := len(study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]))) < trials:
        progress(f"trial {done + 1} of {trials}")
        study.sampler = _sampler(sampler, seed * 1_000_003 + done)
        study.optimize(lambda trial: _evaluate(trial, space, budget, effort, seed), n_trials=1)
    return study.get_trials(states=[TrialState.COMPLETE])


def front(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The feasible trials that no other one beats in both values, by instructions."""
    feasible = [trial for trial in trials if max(trial.constraints.values(), default=0) <= 0]
    chosen: list[FrozenTrial] = []
    for trial in sorted(feasible, key=lambda t: (t.values[1], t.values[0], t.number)):
        if not chosen or trial.values[0] < chosen[-1].values[0]:
            chosen.append(trial)
    return chosen


def _evaluate(trial: optuna.Trial, space: Space, budget: Budget, effort: float, seed: int) -> tuple[float, float]:
    parameters = {name: trial.suggest_float(name, 0.0, most) for name, most in space.most.items()}
    model, masks = space.build(Candidate.of(parameters))
    cost = space.predictor(model, space.recipe.example(), masks)
    trial.set_user_attr("cost", vars(cost))
    for name, excess in budget.excess(cost).items():
        trial.set_constraint(name, excess)
    apply_masks(model, masks)
    torch.manual_seed(seed)
    if effort > 0:
        space.recipe.train(model, effort)
    return space.recipe.validate(model), float(cost.instructions)


def _sampler(kind: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    if kind == "annealing":
        return AnnealingSampler(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, multivariate=True)


def none_within(trials: Sequence[FrozenTrial], budget: Budget) -> DtmmError:
    """What to say where no trial is within the budget."""
    costs = [Cost(**trial.user_attrs["cost"]) for trial in trials]
    nearest = min(costs, key=lambda cost: max(budget.excess(cost).values()))
    return DtmmError(
        f"none of {len(trials)} candidates meets the budget ({_limits(budget, budget)}); the nearest is predicted to "
        f"take {_limits(budget, nearest)}. Allow more trials, or raise the budget."
    )


def _reject_impossible(space: Space, budget: Budget) -> None:
    least = space.smallest()
    if budget.allows(least):
        return
    raise DtmmError(
        f"the budget ({_limits(budget, budget)}) cannot be met by pruning this network: with as much pruned as the "
        f"search would, it is predicted to take {_limits(budget, least)}. Raise the budget to that or more, or begin "
        "with a smaller network."
    )


def _limits(budget: Budget, amounts: Budget | Cost) -> str:
    """Of what ``budget`` limits, the ``amounts`` in words."""
    return ", ".join(f"{getattr(amounts, name):,} {_UNITS[name]}" for name in budget.limits())


_UNITS = {"instructions": "instructions", "flash": "bytes of flash", "ram": "bytes of RAM"}
