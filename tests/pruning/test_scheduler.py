"""The search."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

optuna = pytest.importorskip("optuna")
torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning")

from dtmm_mlir.errors import DtmmError  # noqa: E402
from dtmm_mlir.pruning import Budget, ImageClassifier, masks_of  # noqa: E402
from dtmm_mlir.pruning.cost import Cost, Predictor  # noqa: E402
from dtmm_mlir.pruning.importance import contributions  # noqa: E402
from dtmm_mlir.pruning.layers import find_layers  # noqa: E402
from dtmm_mlir.pruning.scheduler import METHODS, SAMPLERS, Candidate, Space, front, none_within, search  # noqa: E402
from dtmm_mlir.targets import get_target  # noqa: E402

M55 = get_target("cortex-m55")
MEASURED = Cost(200_000, 60_000, 4_000)


def space_of(recipe: ImageClassifier, method: str = "both") -> Space:
    predictor = Predictor.of(recipe.model(), recipe.example(), MEASURED, M55)
    names = [layer.name for layer in predictor.layers]
    scores = contributions(recipe.model(), names, "taylor", recipe.batches(), recipe.loss)
    return Space(recipe, predictor, scores, "taylor", method)


@pytest.mark.parametrize("method", METHODS)
def test_methods_prune_what_they_say(recipe: ImageClassifier, method: str) -> None:
    space = space_of(recipe, method)
    kinds = {name.partition("/")[0] for name in space.most}
    filterlets = {"lost", "branches"}
    assert kinds == {"both": {"filters", *filterlets}, "filterlets": filterlets, "filters": {"filters"}}[method]
    assert space.smallest().instructions < MEASURED.instructions
    assert all(set(point) == set(space.most) for point in space.first())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_search_keeps_the_budget_and_resumes(recipe: ImageClassifier, tmp_path: Path, sampler: str) -> None:
    budget = Budget(instructions=180_000)
    fronts = []
    for name, steps in (("whole", [20]), ("resumed", [19, 20])):
        storage = f"sqlite:///{tmp_path / name}.db"
        for trials in steps:
            found = search(
                space_of(recipe), budget, trials, effort=0, seed=3, storage=storage, name="s", sampler=sampler
            )
        fronts.append([(trial.values, trial.params) for trial in front(found)])
    assert fronts[0] == fronts[1]
    assert fronts[0]
    assert all(values[1] <= budget.instructions for values, _ in fronts[0])
    losses = [values[0] for values, _ in fronts[0]]
    assert losses == sorted(losses, reverse=True)  # fewer instructions cost accuracy


def test_filters_alone_are_searched_in_turn(recipe: ImageClassifier, tmp_path: Path) -> None:
    """Every other trial prunes filterlets, or a branch, of an earlier one; the others keep the branches of one."""
    storage = f"sqlite:///{tmp_path}/s.db"
    trials = search(space_of(recipe), Budget(), 18, effort=0, seed=0, storage=storage, name="s")
    candidates = [Candidate.of(trial.params) for trial in trials]
    sparse = [any(candidate.lost.values()) for candidate in candidates]
    assert not any(sparse[:6])
    assert not any(sparse[7::2])
    shallower = 0
    for number in range(6, 18):
        before, each = candidates[:number], candidates[number]
        assert each.branches in [earlier.branches for earlier in before] or number % 2 == 0
        if number % 2 == 0:
            parents = [earlier for earlier in before if earlier.filters == each.filters]
            assert parents
            shallower += bool(each.removed()) and not any(earlier.removed() for earlier in parents)
            assert sparse[number] or each.removed()
    assert 0 < shallower < 6


@pytest.mark.parametrize("method", ["both", "filterlets"])
def test_branches_are_removed_while_there_are_any(recipe: ImageClassifier, method: str) -> None:
    space, random = space_of(recipe, method), np.random.default_rng(0)
    none = dict.fromkeys(space.most, 0.0)
    fewer = space.shallower(none, random)
    assert fewer == {**none, "branches/second.0": 1.0}
    model, masks = space.build(Candidate.of(fewer))
    assert [layer.name for layer in find_layers(model, recipe.example())] == ["stem.0"]
    assert not masks
    assert space.cost(Candidate.of(fewer)).instructions < space.cost(Candidate.of(none)).instructions
    assert space.shallower(fewer, random) is None


def test_filters_go_from_groups_that_have_lost_a_branch(recipe: ImageClassifier) -> None:
    """Those of the stem go at the rate that they and those of the branch have together."""
    space = space_of(recipe)
    gone = {**dict.fromkeys(space.most, 0.0), "filters/stem.0": 0.5, "branches/second.0": 1.0}
    model, _ = space.build(Candidate.of(gone))
    assert model.get_submodule("stem.0").out_channels == 4
    assert model(recipe.example()).shape == (1, 4)


def test_workers_share_a_study(recipe: ImageClassifier, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/shared.db"
    for seed, trials in ((0, 9), (1, 12)):
        search(space_of(recipe), Budget(), trials, effort=0, seed=seed, storage=storage, name="s")
    study = optuna.load_study(storage=storage, study_name="s")
    assert len([trial for trial in study.trials if trial.state.is_finished()]) == 12


def test_impossible_budget_names_the_nearest(recipe: ImageClassifier, tmp_path: Path) -> None:
    with pytest.raises(DtmmError, match=r"\(1,000 instructions\) cannot be met.*predicted to take [\d,]+ instructions"):
        search(
            space_of(recipe),
            Budget(instructions=1000),
            5,
            effort=0,
            seed=0,
            storage=f"sqlite:///{tmp_path}/s.db",
            name="s",
        )


def test_a_budget_that_no_candidate_meets_names_the_nearest(recipe: ImageClassifier, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/s.db"
    trials = search(space_of(recipe), Budget(), 3, effort=0, seed=0, storage=storage, name="s")
    least = min(int(trial.values[1]) for trial in trials)
    told = str(none_within(trials, Budget(instructions=least - 1)))
    assert "none of 3 candidates meets the budget" in told
    assert f"the nearest is predicted to take {least:,} instructions" in told


def test_what_fits_for_sure_is_tried_first(recipe: ImageClassifier, tmp_path: Path) -> None:
    """So that a budget just above the least is met by a single trial."""
    space = space_of(recipe)
    budget, storage = Budget(instructions=space.smallest().instructions), f"sqlite:///{tmp_path}/s.db"
    assert front(search(space, budget, 1, effort=0, seed=0, storage=storage, name="s"))


def test_candidate_of_parameters() -> None:
    candidate = Candidate.of({"filters/a.0": 0.5, "lost/b": 0.1})
    assert candidate == Candidate({"a.0": 0.5}, {"b": 0.1})


def test_a_trained_network_loses_more_filterlets(recipe: ImageClassifier) -> None:
    space, model = space_of(recipe), copy.deepcopy(recipe.model())
    model.first[0].weight.data[2, :, 1] = 0
    before = sum(mask.sum() for mask in masks_of(model).values())
    masks = space.prune_further(model, 0.7)
    left = masks_of(model)
    assert all((mask <= left[name]).all() for name, mask in masks.items())
    assert all(mask.any(axis=(1, 2)).all() for name, mask in masks.items() if name == "first.0")
    assert 0 < sum(masks.get(name, mask).sum() for name, mask in left.items()) < before
