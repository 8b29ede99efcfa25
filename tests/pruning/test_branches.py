"""Branches: which there are, and networks without them."""

from __future__ import annotations

import copy
import io

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning")

from torch import nn  # noqa: E402

from dtmm_mlir.pruning import ImageClassifier  # noqa: E402
from dtmm_mlir.pruning.branches import find_branches, remove_branches  # noqa: E402
from dtmm_mlir.pruning.filters import find_groups  # noqa: E402
from dtmm_mlir.pruning.layers import find_layers  # noqa: E402


class Around(nn.Module):
    """``around`` what two convolutions with an activation between and behind them make, added as ``add`` does."""

    def __init__(self, around: nn.Module, add=torch.add) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.around, self.add = nn.BatchNorm2d(4), around, add

    def forward(self, x):
        return self.add(torch.relu(self.norm(self.second(torch.relu(self.first(x))))), self.around(x))


class Scale(nn.Module):
    """A number for each channel, which has nothing to do with the input."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.rand(*shape))

    def forward(self, x):
        return self.values


class Switch(nn.Module):
    """Depends on what is in a tensor, so it cannot be traced."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


IMAGE = torch.linspace(-1, 1, 4 * 36).reshape(1, 4, 6, 6)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Around(nn.Identity()), ("second",)),
        (Around(nn.Conv2d(4, 4, 1), lambda a, b: a + b), ("second", "around")),
        (Around(nn.Identity(), lambda a, b: a.add_(b)), ("second",)),
        (Around(nn.Identity(), lambda a, b: torch.add(a, b, alpha=2)), ()),
        (Around(nn.Identity(), torch.mul), ()),
        (Around(nn.AdaptiveAvgPool2d(1)), ()),  # a sum of another shape
        (Around(Scale(1, 4, 6, 6)), ()),  # nothing of the input would be left
        (Around(Switch()), ()),
        (nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1)), ()),
    ],
)
def test_what_is_a_branch(model: nn.Module, expected: tuple[str, ...]) -> None:
    assert find_branches(model, IMAGE) == expected
    for name in expected:
        left = remove_branches(copy.deepcopy(model), IMAGE, [name])
        assert name not in dict(left.named_modules())
        assert left(IMAGE).shape == IMAGE.shape


def test_all_that_only_a_branch_needs_goes(recipe: ImageClassifier) -> None:
    model, example = recipe.model(), recipe.example()
    assert find_branches(model, example) == ("second.0",)
    with torch.no_grad():
        model.second[1].weight.zero_()
        model.second[1].bias.zero_()
    expected = model.eval()(example)
    left = remove_branches(copy.deepcopy(model), example, ["second.0"])
    torch.testing.assert_close(left.eval()(example), expected)
    assert [layer.name for layer in find_layers(left, example)] == ["stem.0"]
    assert {name.partition(".")[0] for name, _ in left.named_parameters()} == {"stem", "classify"}
    assert [group.convs for group in find_groups(left, example)] == [("stem.0",)]  # which goes by itself now
    assert find_branches(left, example) == ()


def test_one_of_two_branches_stays() -> None:
    model = Around(nn.Conv2d(4, 4, 1))
    left = remove_branches(copy.deepcopy(model), IMAGE, ["around", "second"])
    torch.testing.assert_close(left(IMAGE), model.around(IMAGE))


def test_networks_without_branches_are_trained_and_saved(recipe: ImageClassifier) -> None:
    left = remove_branches(copy.deepcopy(recipe.model()), recipe.example(), ["second.0"])
    before = recipe.validate(left)
    recipe.train(left, 0.5)
    assert recipe.validate(left) < before
    file = io.BytesIO()
    torch.save(left, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert torch.equal(again(recipe.example()), left(recipe.example()))


def test_nothing_to_remove(recipe: ImageClassifier) -> None:
    assert remove_branches(recipe.model(), recipe.example(), []) is recipe.model()
