"""Masks of filterlets on the weights of a model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils import prune as torch_prune

Masks = Mapping[str, np.ndarray]
"""By name of a convolution, [F, KH, KW] bool: the filterlets to keep."""


class FilterletMask(nn.Module):
    """A parametrization that zeroes pruned filterlets, however the weight is trained.

    Args:
        mask: [F, KH, KW] bool.
    """

    mask: torch.Tensor

    def __init__(self, mask: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("mask", torch.tensor(mask)[:, None].float())

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """``weight`` [F, C, KH, KW] with zeros where the mask is false."""
        return weight * self.mask


def apply_masks(model: nn.Module, masks: Masks) -> None:
    """Keeps the pruned filterlets of ``model`` zero from now on, in training too; earlier masks are replaced."""
    bake(model)
    for name, mask in masks.items():
        parametrize.register_parametrization(model.get_submodule(name), "weight", FilterletMask(mask))


def bake(model: nn.Module) -> None:
    """Makes masks, those of ``torch.nn.utils.prune`` too, plain zeros in plain weights, as quantization wants them."""
    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
        if torch_prune.is_pruned(module) and "weight_orig" in dict(module.named_parameters(recurse=False)):
            torch_prune.remove(module, "weight")


def masks_of(model: nn.Module) -> dict[str, np.ndarray]:
    """The filterlets that have a weight other than zero, of every convolution: [F, KH, KW] bool."""
    convs = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    return {name: np.asarray(conv.weight.detach().numpy().any(axis=1)) for name, conv in convs}
