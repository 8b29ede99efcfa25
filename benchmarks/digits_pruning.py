"""Filterlets beside whole filters: the fewest instructions at the accuracy of the dense network, on digits.

    python benchmarks/digits_pruning.py --seeds 5 --json digits.json

Each network is pruned by ``dtmm_mlir.pruning`` with the same number of trials by each method; all are int8, counted in
QEMU. Runs are kept in a folder and go on where they were.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples"))

from dtmm_mlir.errors import DtmmError  # noqa: E402
from dtmm_mlir.pruning import Budget, Settings, prune  # noqa: E402

NETWORKS = ("vgg", "resnet")
METHODS = ("both", "filters")


def measure(network: str, method: str, seed: int, trials: int, effort: float, drop: float, folder: Path) -> dict:
    """Instructions, their share of the dense network's, and points lost; of the dense network where none was found."""
    os.environ["SEED"] = str(seed)
    recipes = importlib.reload(importlib.import_module("prune_digits"))
    settings = Settings(budget=Budget(drop=drop), method=method, trials=trials, effort=effort, seed=seed)
    run = folder / f"{network}-{method}-{seed}"
    row = {"network": network, "method": method, "seed": seed}
    try:
        result = prune(getattr(recipes, network)(), settings, run)
    except DtmmError as error:
        dense = json.loads((run / "dense.json").read_text())
        return {**row, "instructions": dense["instructions"], "ratio": 1.0, "drop": 0.0, "note": str(error)}
    dense, pruned = result["dense"], result["pruned"]
    ratio = pruned["instructions"] / dense["instructions"]
    return {**row, "instructions": pruned["instructions"], "ratio": ratio, "drop": dense["metric"] - pruned["metric"]}


@click.command()
@click.option("--seeds", default=5, show_default=True)
@click.option("--trials", default=40, show_default=True)
@click.option("--effort", default=0.15, show_default=True)
@click.option("--drop", default=0.5, show_default=True, help="Points of accuracy that may be lost.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("build/digits"), show_default=True)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the rows to this file.")
def main(seeds: int, trials: int, effort: float, drop: float, folder: Path, file: Path | None) -> None:
    """Prunes both networks by every method and prints the mean and spread over the seeds."""
    rows = []
    table = Table(title=f"Instructions of the dense network's, at most {drop} points lost", title_justify="left")
    for column in ("network", *METHODS, " / ".join(METHODS)):
        table.add_column(column)
    for network in NETWORKS:
        cells, means = [], []
        for method in METHODS:
            found = [measure(network, method, seed, trials, effort, drop, folder) for seed in range(seeds)]
            rows += found
            ratios = np.array([row["ratio"] for row in found])
            cells.append(f"{ratios.mean():.2f} ({ratios.min():.2f} to {ratios.max():.2f})")
            means.append(ratios.mean())
        table.add_row(network, *cells, f"{means[0] / means[1]:.2f}")
    if file:
        file.write_text(json.dumps({"trials": trials, "effort": effort, "drop": drop, "rows": rows}, indent=2) + "\n")
    Console().print(table)


if __name__ == "__main__":
    main()
