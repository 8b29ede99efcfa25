"""A small network that has learnt something, and its recipe."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning")
pytest.importorskip("optuna")

from torch import nn  # noqa: E402

from dtmm_mlir.pruning import ImageClassifier  # noqa: E402


class Residual(nn.Module):
    """A stem, a block with a way around it, and a classifier of 2x2 corners; [N, 1, 8, 8] in, [N, 4] out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.first = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(12, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.classify = nn.Linear(8 * 4, 4)

    def forward(self, x):
        x = self.stem(x)
        x = torch.relu(self.second(self.first(x)) + x)
        return self.classify(torch.flatten(nn.functional.max_pool2d(x, 4), 1))


def corners(count: int, seed: int):
    """Noise with a bright cross in one of four corners, and which."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 1, 8, 8, generator=generator)
    y = torch.randint(0, 4, (count,), generator=generator)
    for image, label in zip(x, y, strict=True):
        top, left = 4 * (int(label) // 2), 4 * (int(label) % 2)
        image[0, top + 1, left : left + 3] += 1
        image[0, top : top + 3, left + 1] += 1
    return x / 2, y


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are fastest on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def trained() -> ImageClassifier:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    recipe = ImageClassifier(Residual(), corners(512, 0), corners(128, 1), corners(64, 2), epochs=6, rate=1e-2)
    recipe.train(recipe.network, 1.0)
    return recipe


@pytest.fixture
def recipe(trained: ImageClassifier) -> ImageClassifier:
    """A copy of its own for each test."""
    return copy.deepcopy(trained)
