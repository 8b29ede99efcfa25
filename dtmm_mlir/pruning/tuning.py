"""Fine-tuning in which filterlets go step by step."""

from __future__ import annotations

from torch import nn

from dtmm_mlir.pruning.importance import contributions, importance
from dtmm_mlir.pruning.masks import Masks, apply_masks, bake
from dtmm_mlir.pruning.recipe import Recipe
from dtmm_mlir.pruning.structure import choose_again

_STEPS = ((0.5, 0.25), (0.0, 0.75))
"""How far the masks are from the last ones, and the part of the effort that is spent on them."""


def fine_tune(recipe: Recipe, model: nn.Module, masks: Masks, effort: float) -> None:
    """Trains ``model`` on, in place, while it loses as many filterlets as ``masks`` prune.

    Filterlets are pruned in steps, few remaining ones more slowly than many, and each step keeps those of the largest
    norm that training has left, in the units of ``masks``: what weighed little may have grown by then (Zhu and Gupta:
    *To prune, or not to prune*, 2017). Without masks it is one plain training. The last masks stay applied.

    Args:
        masks: from ``choose_mask``.
        effort: of all steps together, see ``Recipe.train``; 0 applies ``masks`` and does not train.
    """
    if effort == 0 or not masks:
        apply_masks(model, masks)
    steps = () if effort == 0 else _STEPS if masks else ((0.0, 1.0),)
    for grown, part in steps:
        bake(model)
        found = contributions(model, list(masks), "magnitude")
        apply_masks(model, {n: choose_again(masks[n], importance(found[n], "magnitude"), grown) for n in masks})
        recipe.train(model, effort * part)
