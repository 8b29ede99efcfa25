"""Masks that kernels like beside plain ones of the same importance: instructions of the digits networks in QEMU.

Plain masks keep the filterlets of the largest importance, of each layer, or of the whole network. Filters that keep
none are removed from all.

python benchmarks/masks.py --json masks.json
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples"))

import prune_digits  # noqa: E402

import dtmm_mlir  # noqa: E402
from dtmm_mlir.pruning import ImageClassifier  # noqa: E402
from dtmm_mlir.pruning.cost import LayerCosts  # noqa: E402
from dtmm_mlir.pruning.filters import readers_of, remove_empty  # noqa: E402
from dtmm_mlir.pruning.importance import contributions, importance  # noqa: E402
from dtmm_mlir.pruning.layers import Layer, find_layers  # noqa: E402
from dtmm_mlir.pruning.masks import apply_masks, bake  # noqa: E402
from dtmm_mlir.pruning.structure import Readers, choose_masks, choose_shares, plain_mask  # noqa: E402
from dtmm_mlir.quantization import quantize_int8  # noqa: E402
from dtmm_mlir.targets import get_target  # noqa: E402

SHARES = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
Masks = Mapping[str, np.ndarray]


def plain_anywhere(scores: Masks, share: float) -> Masks:
    """The filterlets of the largest importance, wherever they are."""
    ordered = np.sort(np.concatenate([array.ravel() for array in scores.values()]))[::-1]
    least = ordered[np.searchsorted(np.cumsum(ordered), share * ordered.sum())]
    return {name: array >= least for name, array in scores.items()}


def plain_in_layers(scores: Masks, share: float) -> Masks:
    """Those of each layer that keep ``share`` of its importance."""
    return {name: plain_mask(array, share) for name, array in scores.items()}


def chosen(scores: Masks, share: float, layers: list[Layer], costs: LayerCosts, readers: Readers) -> Masks:
    """As the search does it."""
    shares = choose_shares(scores, share, layers, costs, readers)
    return choose_masks(scores, shares, layers, costs, readers)


def count(recipe: ImageClassifier, masks: Masks, target: str) -> int:
    """Instructions of the network in int8 with these masks, without filters that keep nothing, without fine-tuning."""
    model: nn.Module = copy.deepcopy(recipe.model())
    apply_masks(model, remove_empty(model, recipe.example(), masks))
    bake(model)
    calibration = [x for images, _ in recipe.batches() for x in images.split(1)]
    artifact = dtmm_mlir.compile(quantize_int8(model, calibration), target=target)
    instructions = artifact.execute(recipe.example().numpy()[None]).instructions
    assert instructions is not None
    return instructions


@click.command()
@click.option("--target", default="cortex-m55", show_default=True)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the rows to this file.")
def main(target: str, file: Path | None) -> None:
    """Prints, for shares of Taylor importance, what both kinds of masks take."""
    rows, costs = [], LayerCosts(get_target(target))
    table = Table(title=f"Instructions on {target}")
    for column in ("network", "importance kept", "plain, in layers", "plain, anywhere", "chosen", "saved of these"):
        table.add_column(column)
    for network in ("vgg", "resnet"):
        recipe = getattr(prune_digits, network)()
        layers = find_layers(recipe.model(), recipe.example())
        readers = readers_of(recipe.model(), recipe.example())
        torch.manual_seed(0)
        found = contributions(recipe.model(), [layer.name for layer in layers], "taylor", recipe.batches(), recipe.loss)
        scores = {name: importance(array, "taylor") for name, array in found.items()}
        for share in SHARES:
            all = {
                "plain_in_layers": plain_in_layers(scores, share),
                "plain_anywhere": plain_anywhere(scores, share),
                "chosen": chosen(scores, share, layers, costs, readers),
            }
            taken = {kind: count(recipe, masks, target) for kind, masks in all.items()}
            rows.append({"network": network, "share": share, **taken})
            saved = " and ".join(f"{1 - taken['chosen'] / taken[kind]:.1%}" for kind in list(all)[:2])
            table.add_row(network, f"{share:.0%}", *(f"{number:,}" for number in taken.values()), saved)
    if file:
        file.write_text(json.dumps(rows, indent=2) + "\n")
    Console().print(table)


if __name__ == "__main__":
    main()
