"""Importance, masks, removed filters, structure and predicted costs."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning")

from torch import nn  # noqa: E402
from torch.nn.utils import prune as torch_prune  # noqa: E402

from dtmm_mlir.passes.cost import costs_of, estimate  # noqa: E402
from dtmm_mlir.passes.kernels.select import isa_of  # noqa: E402
from dtmm_mlir.passes.plan import choose  # noqa: E402
from dtmm_mlir.pruning import IMPORTANCES, ImageClassifier, apply_masks, bake, choose_mask, importance, masks_of  # noqa: E402
from dtmm_mlir.pruning.cost import Cost, LayerCosts, Masked, Predictor  # noqa: E402
from dtmm_mlir.pruning.filters import find_groups, readers_of, remove_empty, remove_filters  # noqa: E402
from dtmm_mlir.pruning.importance import contributions  # noqa: E402
from dtmm_mlir.pruning.layers import find_layers  # noqa: E402
from dtmm_mlir.pruning.structure import choose_again, choose_masks, choose_shares, plain_mask  # noqa: E402
from dtmm_mlir.pruning.tuning import fine_tune  # noqa: E402
from dtmm_mlir.targets import get_target  # noqa: E402
from tests.kernels.convolutions import geometry  # noqa: E402

M55 = get_target("cortex-m55")


def scores_of(recipe: ImageClassifier, kind: str) -> dict[str, np.ndarray]:
    names = [layer.name for layer in find_layers(recipe.model(), recipe.example())]
    return contributions(recipe.model(), names, kind, recipe.batches(), recipe.loss)


def test_layers_in_the_order_they_run(recipe: ImageClassifier) -> None:
    layers = find_layers(recipe.model(), recipe.example())
    assert [layer.name for layer in layers] == ["stem.0", "first.0", "second.0"]
    assert [(g.h, g.c, g.f, g.pads) for g in (layer.geometry for layer in layers)] == [
        (8, 1, 8, (1, 1, 1, 1)),
        (8, 8, 12, (1, 1, 1, 1)),
        (8, 12, 8, (1, 1, 1, 1)),
    ]


@pytest.mark.parametrize("kind", IMPORTANCES)
def test_importance_is_what_its_name_says(recipe: ImageClassifier, kind: str) -> None:
    scores = importance(scores_of(recipe, kind)["first.0"], kind)
    assert scores.shape == (12, 3, 3)
    assert (scores >= 0).all()
    weight = recipe.model().first[0].weight
    if kind == "magnitude":
        np.testing.assert_allclose(scores, weight.detach().norm(dim=1).numpy(), rtol=1e-5)
        return
    position = (3, 1, 2)
    changes = []
    for batch in recipe.batches():
        gradient = torch.autograd.grad(recipe.loss(recipe.model().eval(), batch), weight)[0]
        changes.append((weight * gradient)[3, :, 1, 2].detach().double().numpy())
    sums = np.sum(changes, axis=0) if kind == "taylor" else np.sum(np.square(changes), axis=0)
    assert scores[position] == pytest.approx(abs(sums.sum()), rel=1e-4)


def test_taylor_predicts_a_small_change_of_the_loss(recipe: ImageClassifier) -> None:
    """The loss of all batches without a filterlet changes by about its importance."""
    model, batches = recipe.model().eval(), list(recipe.batches())
    scores = importance(scores_of(recipe, "taylor")["second.0"], "taylor")
    position = np.unravel_index(np.argsort(scores, axis=None)[scores.size // 2], scores.shape)
    weight = model.second[0].weight

    def total() -> float:
        with torch.no_grad():
            return sum(float(recipe.loss(model, batch)) for batch in batches)

    before = total()
    with torch.no_grad():
        weight[position[0], :, position[1], position[2]] *= 0.99
    assert abs(total() - before) == pytest.approx(0.01 * scores[position], rel=0.3, abs=2e-5)


def test_pruned_filterlets_stay_zero_in_training(recipe: ImageClassifier) -> None:
    model = recipe.model()
    mask = np.random.default_rng(0).random((12, 3, 3)) < 0.4
    apply_masks(model, {"first.0": mask})
    recipe.train(model, 0.3)
    bake(model)
    assert type(model.first[0]) is nn.Conv2d
    assert "weight" in dict(model.first[0].named_parameters())
    np.testing.assert_array_equal(masks_of(model)["first.0"], mask)
    assert masks_of(model)["second.0"].all()


def test_masks_of_torch_are_baked(recipe: ImageClassifier) -> None:
    model = recipe.model()
    torch_prune.ln_structured(model.first[0], "weight", 0.5, n=2, dim=0)
    bake(model)
    assert not torch_prune.is_pruned(model.first[0])
    assert masks_of(model)["first.0"].any(axis=(1, 2)).sum() == 6


def test_filters_go_with_everything_that_depends_on_them(recipe: ImageClassifier) -> None:
    model, example = recipe.model(), recipe.example()
    groups = {group.root: group for group in find_groups(model, example)}
    assert groups["stem.0"].convs == ("stem.0", "second.0")  # their results are added
    assert groups["first.0"].convs == ("first.0",)
    scores = scores_of(recipe, "taylor")
    twin = copy.deepcopy(model)
    for name, array in scores.items():
        twin.get_submodule(name).weight.data = torch.from_numpy(array).float()
    least = importance(scores["first.0"], "taylor").sum(axis=(1, 2)).argsort()[:3]
    before = model.first[0].weight.detach().clone()
    remove_filters(model, twin, example, {"first.0": 0.25}, "taylor")
    stays = [f for f in range(12) if f not in least]
    assert torch.equal(model.first[0].weight, before[stays])
    remove_filters(model, twin, example, {"stem.0": 0.5}, "taylor")
    assert model(example).shape == (1, 4)
    assert model.first[0].weight.shape == (9, 4, 3, 3)
    assert model.second[0].weight.shape == (4, 9, 3, 3)
    assert model.classify.in_features == 4 * 4


def test_empty_filters_are_removed(recipe: ImageClassifier) -> None:
    """Filters of the stem are added to those of the second layer: only where neither keeps anything they go."""
    model, example = recipe.model(), recipe.example()
    masks = {layer.name: np.ones(layer.geometry.f, bool) for layer in find_layers(model, example)}
    masks["first.0"][[3, 5]] = masks["stem.0"][[0, 1]] = masks["second.0"][[1, 2]] = False
    masks = {name: np.repeat(kept, 9).reshape(-1, 3, 3) for name, kept in masks.items()}
    for part, gone in ((model.stem, [0, 1]), (model.first, [3, 5]), (model.second, [1, 2])):
        for parameter in (part[1].weight, part[1].bias):
            parameter.data[gone] = 0  # so that nothing is lost with them
    apply_masks(model, masks)
    bake(model)
    expected = model.eval()(example)
    left = remove_empty(model, example, masks)
    torch.testing.assert_close(model(example), expected)
    assert {name: len(mask) for name, mask in left.items()} == {"stem.0": 7, "first.0": 10, "second.0": 7}
    assert model.second[0].weight.shape == (7, 10, 3, 3)
    assert not left["stem.0"][0].any()
    assert not left["second.0"][1].any()


def test_one_filter_stays(recipe: ImageClassifier) -> None:
    model, example = recipe.model(), recipe.example()
    left = remove_empty(model, example, {"first.0": np.zeros((12, 3, 3), bool)})
    assert left["first.0"].shape == (1, 3, 3)
    assert model(example).shape == (1, 4)


def test_readers_lose_as_many_channels(recipe: ImageClassifier) -> None:
    assert readers_of(recipe.model(), recipe.example()) == {"first.0": ("second.0",)}
    mobile = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 4, 1))
    assert readers_of(mobile, recipe.example()) == {"0": ("2",), "2": ("3",)}


def test_filters_go_that_save_most_in_layers_that_read_them() -> None:
    """A small layer ahead of a large one keeps fewer filters than it would by itself."""
    model = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1))
    layers = find_layers(model, torch.zeros(1, 16, 8, 8))
    random, costs = np.random.default_rng(3), LayerCosts(M55)
    scores = {x.name: random.gamma(0.4, size=(x.geometry.f, 3, 3)) for x in layers}
    shares = {"0": 0.7, "1": 0.9}
    alone, together = (choose_masks(scores, shares, layers, costs, readers) for readers in ({}, {"0": ["1"]}))
    for masks in (alone, together):
        assert all(scores[n][mask].sum() >= shares[n] * scores[n].sum() * (1 - 1e-9) for n, mask in masks.items())
    assert together["0"].any(axis=(1, 2)).sum() < alone["0"].any(axis=(1, 2)).sum()


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95, 1.0])
def test_masks_keep_the_share_they_are_asked_for(share: float) -> None:
    scores = np.random.default_rng(1).gamma(0.4, size=(11, 3, 3))
    shape = find_layers(nn.Sequential(nn.Conv2d(20, 11, 3, padding=1)), torch.zeros(1, 20, 9, 9))[0].geometry
    costs = LayerCosts(M55)
    plain, chosen = plain_mask(scores, share), choose_mask(scores, share, shape, costs)
    for mask in (plain, chosen):
        assert scores[mask].sum() >= share * scores.sum() * (1 - 1e-9)
    assert scores[plain].sum() - scores[plain].min() < share * scores.sum() or plain.all()
    assert costs(shape, chosen)[0] <= costs(shape, plain)[0]


def test_layers_without_importance_stay_whole() -> None:
    layers = find_layers(nn.Sequential(nn.Conv2d(4, 9, 3), nn.Conv2d(9, 6, 3)), torch.zeros(1, 4, 9, 9))
    scores = {"0": np.zeros((9, 3, 3)), "1": np.random.default_rng(0).gamma(0.4, size=(6, 3, 3))}
    costs, readers = LayerCosts(M55), {"0": ["1"]}
    shares = choose_shares(scores, 0.5, layers, costs, readers)
    masks = choose_masks(scores, {"0": 1.0, "1": shares["1"]}, layers, costs, readers)
    assert masks["0"].all()
    assert 0 < masks["1"].sum() < masks["1"].size


@pytest.mark.parametrize("target", ["cortex-m55", "cortex-m4", "riscv32"])
def test_costs_are_those_of_the_planners_choice(target: str) -> None:
    """Within 5 %, as not all plans are looked at for every mask."""
    chip, random = get_target(target), np.random.default_rng(5)
    isa, costs, ours = isa_of(chip.isa, chip.vector_bytes), costs_of(chip.isa), LayerCosts(chip)
    for g in (geometry(8, 8, 24, 20), geometry(4, 4, 50, 32), geometry(6, 6, 16, 24, 1)):
        for kept in (1.0, 0.8, 0.4, 0.1):
            mask = random.random((g.f, g.kh, g.kw)) < kept
            exact = estimate(Masked(g, mask), choose(Masked(g, mask), isa, costs), isa, costs)
            assert exact * 0.95 <= ours(g, mask)[0] <= exact * (1.05 if kept < 1 else 1.001)


def shared(mask: np.ndarray, filters: int) -> bool:
    """Whether ``filters`` neighbouring filters keep the same positions."""
    return all((mask[i : i + filters] == mask[i]).all() for i in range(0, len(mask), filters))


@pytest.mark.parametrize("filters", [1, 2, 4, 12])
def test_masks_are_chosen_again_in_the_same_units(filters: int) -> None:
    random = np.random.default_rng(3)
    mask = (random.random((12 // filters, 3, 3)) < 0.5).repeat(filters, axis=0)
    first, again = (choose_again(mask, random.gamma(0.4, size=mask.shape)) for _ in range(2))
    assert shared(again, filters)
    assert not (first == again).all()
    assert first.sum() == again.sum() == mask.sum()
    importance = random.gamma(0.4, size=mask.shape)
    sizes = [choose_again(mask, importance, grown).sum() for grown in (0.0, 0.5, 1.0)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == mask.size


def test_filters_that_keep_little_go_first() -> None:
    """Nine filterlets on their own in three filters are fewer results than the same importance spread over nine."""
    scores = np.full((12, 3, 3), 0.01)
    scores[:3], scores[3:, 1, 1] = 1.0, 1.1
    shape = find_layers(nn.Sequential(nn.Conv2d(16, 12, 3, padding=1)), torch.zeros(1, 16, 8, 8))[0].geometry
    mask = choose_mask(scores, 0.7, shape, LayerCosts(M55))
    assert mask[:3].sum() > plain_mask(scores, 0.7)[:3].sum()
    assert mask.any(axis=(1, 2)).sum() < plain_mask(scores, 0.7).any(axis=(1, 2)).sum()


def test_pruned_filters_stay_pruned() -> None:
    mask = np.ones((6, 3, 3), bool)
    mask[1], mask[4, 0] = False, False
    for grown in (0.0, 0.5):
        again = choose_again(mask, np.random.default_rng(0).gamma(0.4, size=mask.shape), grown)
        np.testing.assert_array_equal(again.any(axis=(1, 2)), mask.any(axis=(1, 2)))


def test_fine_tuning_prunes_as_much_as_the_masks(recipe: ImageClassifier) -> None:
    model, tuned = recipe.model(), copy.deepcopy(recipe.model())
    mask = np.random.default_rng(0).random((12, 3, 3)) < 0.3
    fine_tune(recipe, model, {"first.0": mask}, 0)
    np.testing.assert_array_equal(masks_of(model)["first.0"], mask)
    tuned.first[0].weight.data = torch.randn(12, 8, 3, 3)  # now other filterlets weigh most
    fine_tune(recipe, tuned, {"first.0": mask}, 0.2)
    bake(tuned)
    kept = masks_of(tuned)["first.0"]
    assert kept.sum() == mask.sum()
    assert not (kept == mask).all()


def test_pruned_networks_learn_from_the_dense_one(recipe: ImageClassifier) -> None:
    """With labels that say nothing, only the dense network can be followed."""
    images, labels = recipe.train_data
    agreed = []
    for taught in (0.0, 1.0):
        torch.manual_seed(0)
        wrong = ImageClassifier(
            recipe.model(), (images, labels.roll(1)), recipe.valid_data, recipe.test_data, epochs=6, taught=taught
        )
        pupil = copy.deepcopy(recipe.model())
        wrong.train(pupil, 1.0)
        answers = (network.eval()(recipe.test_data[0]).argmax(dim=1) for network in (recipe.model(), pupil))
        agreed.append(float((next(answers) == next(answers)).float().mean()))
    assert agreed[0] < 0.7 < agreed[1]


def test_shares_give_up_importance_where_it_saves_most() -> None:
    """Two equal layers, one at 16 times the positions: that one loses more."""
    model = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.MaxPool2d(4), nn.Conv2d(16, 16, 3, padding=1))
    layers = find_layers(model, torch.zeros(1, 16, 16, 16))
    scores = np.random.default_rng(2).gamma(0.4, size=(16, 3, 3))
    shares = choose_shares({"0": scores, "2": scores}, 0.8, layers, LayerCosts(M55))
    assert shares["0"] < shares["2"]
    assert shares["0"] + shares["2"] >= 1.6 - 1e-9


@pytest.mark.parametrize("share", [0.5, 0.7, 0.8, 0.9])
def test_structure_saves_at_the_same_importance(recipe: ImageClassifier, share: float) -> None:
    layers = find_layers(recipe.model(), recipe.example())
    scores = {name: importance(array, "taylor") for name, array in scores_of(recipe, "taylor").items()}
    costs = LayerCosts(M55)
    shares = choose_shares(scores, share, layers, costs)
    chosen = {x.name: choose_mask(scores[x.name], shares[x.name], x.geometry, costs) for x in layers}
    plain = {name: plain_mask(array, share) for name, array in scores.items()}
    kept, total = (sum(array[m].sum() for array, m in zip(scores.values(), masks, strict=True)) for masks in (
        [chosen[name] for name in scores], [np.ones_like(a, bool) for a in scores.values()]
    ))  # fmt: skip
    assert kept >= share * total * (1 - 1e-9)
    taken = [sum(costs(x.geometry, masks[x.name])[0] for x in layers) for masks in (chosen, plain)]
    assert taken[0] < taken[1]


def test_prediction_of_the_network_itself_is_what_was_measured(recipe: ImageClassifier) -> None:
    measured = Cost(123_456, 70_000, 5_000)
    predict = Predictor.of(recipe.model(), recipe.example(), measured, M55)
    assert predict(recipe.model(), recipe.example(), {}) == measured
    half = np.zeros((12, 3, 3), bool)
    half[::2] = True
    pruned = predict(recipe.model(), recipe.example(), {"first.0": half})
    assert pruned.instructions < measured.instructions
    assert pruned.flash < measured.flash


def test_channels_of_grouped_convolutions_stay(recipe: ImageClassifier) -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=4), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 4, 1)
    )
    assert [group.root for group in find_groups(model, recipe.example())] == ["3"]


def test_fewer_images_than_a_batch(recipe: ImageClassifier) -> None:
    few = tuple(part[:5] for part in recipe.train_data)
    before = recipe.model().classify.weight.detach().clone()
    ImageClassifier(recipe.model(), few, few, few).train(recipe.model(), 0.1)
    assert not torch.equal(recipe.model().classify.weight, before)
