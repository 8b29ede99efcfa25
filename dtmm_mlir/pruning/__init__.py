"""Filterlet pruning for PyTorch: importance, masks, a search under the budgets of a chip, and the whole road.

Needs the extras ``torch`` and ``prune``: ``pip install 'dtmm-mlir[torch,prune]'``.
"""

from __future__ import annotations

from dtmm_mlir.errors import DtmmError

try:
    import optuna  # noqa: F401
    import torch  # noqa: F401
    import torch_pruning  # noqa: F401
except ImportError as error:
    raise DtmmError(
        f"pruning needs PyTorch, torch-pruning and Optuna ({error}); pip install 'dtmm-mlir[torch,prune]'."
    ) from error

from dtmm_mlir.pruning.budget import Budget
from dtmm_mlir.pruning.importance import IMPORTANCES, contributions, importance
from dtmm_mlir.pruning.masks import apply_masks, bake, masks_of
from dtmm_mlir.pruning.pipeline import Settings, prune
from dtmm_mlir.pruning.recipe import ImageClassifier, Recipe
from dtmm_mlir.pruning.structure import choose_mask

__all__ = [
    "IMPORTANCES",
    "Budget",
    "ImageClassifier",
    "Recipe",
    "Settings",
    "apply_masks",
    "bake",
    "choose_mask",
    "contributions",
    "importance",
    "masks_of",
    "prune",
]
