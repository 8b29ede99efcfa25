"""Recipes for ``dtmm-mlir prune`` on scikit-learn's digits: a plain network and a residual one.

    cd examples
    dtmm-mlir prune prune_digits:vgg --target cortex-m55 --drop 0.5 -o /tmp/pruned

A file ``cifar10.npz`` with ``images`` [N, 3, 32, 32] float32 and ``labels`` [N], named by the environment variable
``CIFAR10``, takes the place of the digits.
"""

from __future__ import annotations

import os

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from dtmm_mlir.pruning import ImageClassifier

SEED = int(os.environ.get("SEED", "0"))


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Vgg(nn.Module):
    """Pairs of convolutions with pooling between them."""

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv(channels, width), conv(width, width), nn.MaxPool2d(2),
            conv(width, 2 * width), conv(2 * width, 2 * width), nn.AdaptiveAvgPool2d(1),
        )  # fmt: skip
        self.classify = nn.Linear(2 * width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(torch.flatten(self.features(x), 1))


class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = conv(inputs, outputs, stride)
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        self.around = nn.Conv2d(inputs, outputs, 1, stride) if inputs != outputs or stride > 1 else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.second(self.first(x)) + self.around(x))


class ResNet(nn.Module):
    """A stem and three blocks."""

    def __init__(self, channels: int, width: int = 24) -> None:
        super().__init__()
        self.stem = conv(channels, width)
        self.blocks = nn.Sequential(
            Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 2 * width, 1), nn.AdaptiveAvgPool2d(1)
        )
        self.classify = nn.Linear(2 * width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(torch.flatten(self.blocks(self.stem(x)), 1))


def load_data() -> tuple[np.ndarray, np.ndarray]:
    """Images [N, C, H, W] float32 and labels [N]."""
    if path := os.environ.get("CIFAR10"):
        data = np.load(path)
        return data["images"], data["labels"].astype(np.int64)
    images, labels = load_digits(return_X_y=True)
    return (images.reshape(-1, 1, 8, 8) / 16).astype(np.float32), labels.astype(np.int64)


def recipe(network: type[nn.Module]) -> ImageClassifier:
    """``network`` trained, with its data: half to train on, a fifth to choose by, the rest to test."""
    images, labels = load_data()
    rest_x, test_x, rest_y, test_y = train_test_split(images, labels, test_size=0.3, random_state=0, stratify=labels)
    train_x, valid_x, train_y, valid_y = train_test_split(
        rest_x, rest_y, test_size=0.3, random_state=0, stratify=rest_y
    )
    pairs = ((train_x, train_y), (valid_x, valid_y), (test_x, test_y))
    torch.manual_seed(SEED)
    made = ImageClassifier(
        network(images.shape[1]), *((torch.from_numpy(x), torch.from_numpy(y)) for x, y in pairs), epochs=30, rate=1e-2
    )
    made.train(made.network, 1.0)
    return made


def vgg() -> ImageClassifier:
    return recipe(Vgg)


def resnet() -> ImageClassifier:
    return recipe(ResNet)
