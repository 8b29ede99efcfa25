"""What pruning has to know about a network and its data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

_SOFTNESS = 2.0
"""Temperature of the answers that a pruned network learns from."""

Batch = tuple[torch.Tensor, torch.Tensor]
Predict = Callable[[np.ndarray], np.ndarray]
"""[N, 1, ...] inputs, each a batch of one, to [N, ...] outputs."""


class Recipe(Protocol):
    """A network, its data, how it is trained and what counts.

    Everything random is to follow torch's global generator, which is seeded ahead of each call.
    """

    def model(self) -> nn.Module:
        """The trained network; the same one at each call."""
        ...

    def example(self) -> torch.Tensor:
        """An input of one image, [1, C, H, W]."""
        ...

    def batches(self) -> Iterable[Batch]:
        """Some batches of the training data: for importance, and to calibrate int8."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """What training minimises."""
        ...

    def train(self, model: nn.Module, effort: float) -> None:
        """Trains ``model`` on, in place; ``effort`` 1 is as long as fine-tuning should take, 0.1 a tenth of it."""
        ...

    def validate(self, model: nn.Module) -> float:
        """The loss on data that is not trained on; networks are chosen by it."""
        ...

    def metric(self, predict: Predict) -> float:
        """The figure of merit on test data, in points; more is better."""
        ...


@dataclass
class ImageClassifier:
    """A recipe for classifiers whose data are tensors in memory.

    Attributes:
        network: trained.
        train_data, valid_data, test_data: images [N, C, H, W] float32 and labels [N] int64.
        epochs: of fine-tuning.
        rate: learning rate, the largest of a one-cycle schedule.
        batch: images per step.
        importance_images: of the training data, to score filterlets and to calibrate int8 with.
        taught: weight of what ``network`` answers in the training of other networks; labels have the rest. 0 is
            training by ``loss`` alone.
    """

    network: nn.Module
    train_data: Batch
    valid_data: Batch
    test_data: Batch
    epochs: int = 20
    rate: float = 5e-3
    batch: int = 64
    importance_images: int = 512
    taught: float = 0.7

    def model(self) -> nn.Module:
        """The trained network."""
        return self.network

    def example(self) -> torch.Tensor:
        """The first image."""
        return self.train_data[0][:1]

    def batches(self) -> Iterable[Batch]:
        """The first ``importance_images`` images."""
        x, y = (part[: self.importance_images] for part in self.train_data)
        return list(zip(x.split(self.batch), y.split(self.batch), strict=True))

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Cross entropy."""
        return cross_entropy(model(batch[0]), batch[1])

    def train(self, model: nn.Module, effort: float) -> None:
        """Adam with a one-cycle schedule; a model other than ``network`` also learns what that one answers."""
        x, y = self.train_data
        goal = self._distilled if self.taught and model is not self.network else self.loss
        size = min(self.batch, len(x))
        steps = max(1, round(effort * self.epochs * (len(x) // size)))
        optimizer = torch.optim.Adam(model.parameters(), self.rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.rate, total_steps=steps + 1)
        model.train()
        order: list[torch.Tensor] = []
        for _ in range(steps):
            if not order:
                order = list(torch.randperm(len(x))[: len(x) // size * size].split(size))
            picked = order.pop()
            loss = goal(model, (x[picked], y[picked]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        model.eval()

    def _distilled(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Cross entropy and the distance from ``network``'s softened answers (Hinton et al., *Distilling the Knowledge
        in a Neural Network*, 2015)."""
        with torch.no_grad():
            taught = log_softmax(self.network.eval()(batch[0]) / _SOFTNESS, 1)
        answers = model(batch[0])
        distance = kl_div(log_softmax(answers / _SOFTNESS, 1), taught, reduction="batchmean", log_target=True)
        return (1 - self.taught) * cross_entropy(answers, batch[1]) + self.taught * _SOFTNESS**2 * distance

    @torch.no_grad()
    def validate(self, model: nn.Module) -> float:
        """Cross entropy on the validation data."""
        return float(self.loss(model.eval(), self.valid_data))

    def metric(self, predict: Predict) -> float:
        """Percent of the test images that are classified right."""
        images, labels = self.test_data
        outputs = predict(images[:, None].numpy()).reshape(len(labels), -1)
        return 100 * float((outputs.argmax(axis=1) == labels.numpy()).mean())
