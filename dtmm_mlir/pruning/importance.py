"""How much a network would lose with each filterlet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import nn

Importance = Literal["magnitude", "taylor", "fisher"]
IMPORTANCES: tuple[Importance, ...] = ("magnitude", "taylor", "fisher")

Loss = Callable[[nn.Module, tuple[torch.Tensor, torch.Tensor]], torch.Tensor]
"""Of a model on a batch."""


def contributions(
    model: nn.Module,
    names: Sequence[str],
    kind: Importance,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]] = (),
    loss: Loss | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> dict[str, np.ndarray]:
    """What each weight of the convolutions ``names`` contributes to the importance of its filterlet.

    ``magnitude``: the square of the weight. ``taylor``: weight times gradient, whose sum is the first-order change of
    the loss without the filterlet (Molchanov et al., *Importance Estimation for Neural Network Pruning*, CVPR 2019;
    DTMM). ``fisher``: the square of that, summed over batches, which estimates the second-order change by the diagonal
    of the empirical Fisher information (Theis et al., *Faster gaze prediction with dense networks and Fisher pruning*,
    2018).

    Args:
        batches: inputs and labels; not needed for ``magnitude``.
        loss: of the model on a batch.
        progress: called with a few words ahead of each batch.

    Returns:
        By name, [F, C / groups, KH, KW] float64; ``importance`` sums it up.
    """
    weights = {name: model.get_submodule(name).get_parameter("weight") for name in names}
    if kind == "magnitude":
        return {name: weight.detach().double().numpy() ** 2 for name, weight in weights.items()}
    if loss is None:
        raise ValueError(f"'{kind}' needs a loss")
    found = {name: np.zeros(tuple(weight.shape)) for name, weight in weights.items()}
    model.eval()
    for number, batch in enumerate(batches, 1):
        progress(f"importance of filterlets, batch {number}")
        gradients = torch.autograd.grad(loss(model, batch), list(weights.values()))
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            change = (weight.detach() * gradient).double().numpy()
            found[name] += change if kind == "taylor" else change**2
    return found


def importance(contributions: np.ndarray, kind: Importance) -> np.ndarray:
    """[F, KH, KW] of one convolution, from what its weights [F, C / groups, KH, KW] contribute; at least zero."""
    total = contributions.sum(axis=1)
    return np.sqrt(total) if kind == "magnitude" else np.abs(total)


def filter_importance(contributions: Mapping[str, np.ndarray], kind: Importance, names: Iterable[str]) -> np.ndarray:
    """[F] of filters that are removed together from the convolutions ``names``: the sum over all their filterlets."""
    return np.sum([importance(contributions[name], kind).sum(axis=(1, 2)) for name in names], axis=0)
