"""The search for how much to prune where."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import optuna
import torch
from optuna.samplers import PartialFixedSampler
from optuna.trial import FrozenTrial, TrialState
from torch import nn

from dtmm_mlir.errors import DtmmError
from dtmm_mlir.pruning.annealing import AnnealingSampler
from dtmm_mlir.pruning.branches import find_branches, remove_branches
from dtmm_mlir.pruning.budget import Budget
from dtmm_mlir.pruning.cost import Cost, Predictor
from dtmm_mlir.pruning.filters import find_groups, readers_of, remove_empty, remove_filters
from dtmm_mlir.pruning.importance import Importance, contributions, importance
from dtmm_mlir.pruning.layers import find_layers
from dtmm_mlir.pruning.masks import masks_of
from dtmm_mlir.pruning.recipe import Recipe
from dtmm_mlir.pruning.structure import choose_masks, choose_shares
from dtmm_mlir.pruning.tuning import fine_tune

Method = Literal["both", "filterlets", "filters"]
METHODS: tuple[Method, ...] = ("both", "filterlets", "filters")
Sampler = Literal["tpe", "annealing"]
SAMPLERS: tuple[Sampler, ...] = ("tpe", "annealing")

_MOST_FILTERS = 0.9
"""Share of a group's filters that is removed at most."""
_MOST_IMPORTANCE = 0.8
"""Share of a layer's importance that its filterlets lose at most."""
_FIRST_SHARES = (1.0, 0.97, 0.93, 0.88, 0.8, 0.7, 0.55, 0.4)
"""Shares of the whole importance that filterlets keep where a search for them alone begins."""
_FIRST_RATES = (0.0, 0.25, 0.4, 0.5, 0.6, 0.75)
"""Shares of all groups' filters that are removed where other searches begin."""
_LOST = (0.02, 0.4)
"""Share of the whole importance that filterlets lose, least and most, after filters were removed."""

_SHALLOWER = 0.5
"""Share of every other trial that removes a branch, where there is one."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Candidate:
    """How much to prune where.

    Attributes:
        filters: share of the filters to remove, by the root of their group.
        lost: share of the importance that pruned filterlets may have, by layer.
        branches: from a half on, the branch that ends with this layer is removed.
    """

    filters: Mapping[str, float]
    lost: Mapping[str, float]
    branches: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def of(parameters: Mapping[str, float]) -> Candidate:
        """From the parameters of a trial."""
        kinds: dict[str, dict[str, float]] = {"filters": {}, "lost": {}, "branches": {}}
        for name, value in parameters.items():
            kind, _, layer = name.partition("/")
            kinds[kind][layer] = value
        return Candidate(**kinds)

    def removed(self) -> list[str]:
        """The last layers of the branches that are removed."""
        return [name for name, value in self.branches.items() if value >= 0.5]


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
        self._groups = find_groups(self._model, self._example) if method != "filterlets" else []
        layers = list(scores) if method != "filters" else []
        branches = find_branches(self._model, self._example) if method != "filters" else []
        self.most = {f"filters/{group.root}": _MOST_FILTERS for group in self._groups}
        self.most |= {f"lost/{name}": _MOST_IMPORTANCE for name in layers}
        self.most |= {f"branches/{name}": 1.0 for name in branches}

    def build(self, candidate: Candidate) -> tuple[nn.Module, dict[str, np.ndarray]]:
        """The network without the candidate's filters, and the masks of its filterlets, not applied yet; filters that
        would keep none are removed, too."""
        model, twin = self._without(candidate)
        if not any(candidate.lost.values()):
            return model, {}
        scores = {layer.name: self._importance(twin, layer.name) for layer in find_layers(model, self._example)}
        shares = {name: 1 - candidate.lost.get(name, 0.0) * each.any() for name, each in scores.items()}
        return model, self._prune(model, scores, shares)

    def cost(self, candidate: Candidate) -> Cost:
        """Predicted, without training or compiling it."""
        model, masks = self.build(candidate)
        return self.predictor(model, self._example, masks)

    def first(self) -> list[dict[str, float]]:
        """Parameters to begin with, from little pruning to much: filters at one rate in all groups, or importance
        where giving it up saves most."""
        none = dict.fromkeys(self.most, 0.0)
        if self.method == "filterlets":
            return [self.sparser(none, share) for share in _FIRST_SHARES]
        return [{n: rate if n.startswith("filters/") else 0.0 for n in none} for rate in _FIRST_RATES]

    def sparser(self, parameters: Mapping[str, float], share: float) -> dict[str, float]:
        """``parameters`` with other filterlets pruned: those that save most while ``share`` of the importance stays."""
        model, twin = self._without(Candidate.of(parameters))
        layers = [layer for layer in find_layers(model, self._example) if f"lost/{layer.name}" in self.most]
        scores = {layer.name: self._importance(twin, layer.name) for layer in layers}
        kept = choose_shares(scores, share, layers, self.predictor.costs, self._readers(model))
        return {**parameters, **{f"lost/{name}": min(1 - each, _MOST_IMPORTANCE) for name, each in kept.items()}}

    def shallower(self, parameters: Mapping[str, float], random: np.random.Generator) -> dict[str, float] | None:
        """``parameters`` with one more branch removed, rather one that saves much; ``None`` where none is left."""
        model, _ = self._without(Candidate.of(parameters))
        left = [{**parameters, f"branches/{name}": 1.0} for name in find_branches(model, self._example)]
        costs = [self.cost(Candidate.of(each)).instructions for each in (parameters, *left)]
        saved = np.maximum(costs[0] - np.array(costs[1:]), 0)
        return left[random.choice(len(left), p=saved / saved.sum())] if saved.any() else None

    def prune_further(self, model: nn.Module, share: float) -> dict[str, np.ndarray]:
        """Masks of ``model``, one of the space's that was trained, with which ``share`` of what its filterlets are
        worth by now stays, and what is pruned stays pruned; filters that would keep none are removed from it."""
        layers = find_layers(model, self._example)
        names = [layer.name for layer in layers]
        found = contributions(model, names, self.kind, self.recipe.batches(), self.recipe.loss)
        scores = {name: importance(found[name], self.kind) for name in names}
        shares = choose_shares(scores, share, layers, self.predictor.costs, self._readers(model))
        return self._prune(model, scores, shares)

    def _prune(
        self, model: nn.Module, scores: Mapping[str, np.ndarray], shares: Mapping[str, float]
    ) -> dict[str, np.ndarray]:
        """Masks that keep ``shares`` of the layers' importance, and nothing that is pruned already, of those that lose
        any; filters that would keep nothing are removed from ``model``."""
        layers, kept = find_layers(model, self._example), masks_of(model)
        masks = choose_masks(scores, shares, layers, self.predictor.costs, self._readers(model))
        left = remove_empty(model, self._example, {name: mask & kept[name] for name, mask in masks.items()})
        return {name: mask for name, mask in left.items() if not mask.all()}

    def _without(self, candidate: Candidate) -> tuple[nn.Module, nn.Module]:
        """The network without some of its branches and filters, and its twin that holds contributions in place of
        weights."""
        removed = candidate.removed()
        model, twin = (
            remove_branches(copy.deepcopy(each), self._example, removed) for each in (self._model, self._twin)
        )
        rates = {name: candidate.filters.get(group.root, 0.0) for group in self._groups for name in group.convs}
        remove_filters(model, twin, self._example, rates, self.kind)
        return model, twin

    def _readers(self, model: nn.Module) -> dict[str, tuple[str, ...]]:
        return readers_of(model, self._example)

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
    shared: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> list[FrozenTrial]:
    """Tries candidates until the study has ``trials``; goes on where an earlier or another process has left it.

    Where both filters and filterlets may go, the sampler moves the filters, and every other trial prunes filterlets of
    one of the best networks so far, or removes one of its branches.

    A trial's values are the loss on validation data after a short training, and the predicted instructions.

    Args:
        effort: of that training, see ``Recipe.train``.
        storage: database URL of the study, such as ``sqlite:///study.db``.
        name: of the study.
        shared: whether other processes work on it at the same time: trials that have begun and not ended are theirs.
            Otherwise they are what was interrupted, and done again.

    Returns:
        All trials; ``front`` picks the best of them.

    Raises:
        DtmmError: no network that the search could find meets the budget.
    """
    _reject_impossible(space, budget)
    study = optuna.create_study(
        storage=storage, study_name=name, directions=["minimize", "minimize"], load_if_exists=True
    )
    smallest = [] if budget.without_limits() else [space.most]  # which is known to be within
    first = [*smallest, *space.first()]
    while len(finished := study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])) < trials:
        progress(f"trial {len(finished) + 1} of {trials}")
        running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING]) if shared else []
        begun = [trial.params for trial in (*finished, *running)]
        left = [point for point in first if point not in begun]
        step = seed * 1_000_003 + len(finished)
        fixed = left[0] if left else _fixed(space, finished, step)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.sampler = PartialFixedSampler(fixed, _sampler(sampler, step))
        study.optimize(lambda trial: _evaluate(trial, space, budget, effort, seed), n_trials=1)
    return study.get_trials(states=[TrialState.COMPLETE])


def pareto(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those that no other one beats in both values, by instructions."""
    chosen: list[FrozenTrial] = []
    for trial in sorted(trials, key=lambda t: (t.values[1], t.values[0], t.number)):
        if not chosen or trial.values[0] < chosen[-1].values[0]:
            chosen.append(trial)
    return chosen


def front(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The feasible trials that no other one beats in both values, by instructions."""
    return pareto([trial for trial in trials if max(trial.constraints.values(), default=0) <= 0])


def _evaluate(trial: optuna.Trial, space: Space, budget: Budget, effort: float, seed: int) -> tuple[float, float]:
    parameters = {name: trial.suggest_float(name, 0.0, most) for name, most in space.most.items()}
    model, masks = space.build(Candidate.of(parameters))
    cost = space.predictor(model, space.recipe.example(), masks)
    trial.set_user_attr("cost", vars(cost))
    for name, excess in budget.excess(cost).items():
        trial.set_constraint(name, excess)
    torch.manual_seed(seed)
    fine_tune(space.recipe, model, masks, effort)
    return space.recipe.validate(model), float(cost.instructions)


def _sampler(kind: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    return AnnealingSampler(seed) if kind == "annealing" else optuna.samplers.TPESampler(seed=seed, multivariate=True)


def _fixed(space: Space, finished: Sequence[FrozenTrial], seed: int) -> dict[str, float]:
    """Parameters that the sampler does not choose in the next trial, in turns none of it or some."""
    if space.method == "filters":
        return {}
    random = np.random.default_rng(seed)
    best = front(finished) or pareto(finished)
    parent = best[random.integers(len(best))].params
    if len(finished) % 2 == 0:
        if random.random() < _SHALLOWER and (fewer := space.shallower(parent, random)):
            return fewer
        if space.method == "both":
            return space.sparser(parent, 1 - math.exp(random.uniform(*np.log(_LOST))))
    lost = {name: 0.0 for name in space.most if name.startswith("lost/")} if space.method == "both" else {}
    return lost | {name: value for name, value in parent.items() if name.startswith("branches/")}


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
