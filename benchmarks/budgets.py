"""Random budgets of instructions, flash and RAM for the digits networks: each is met, as measured, or refused.

    python benchmarks/budgets.py --count 10 --json budgets.json

A budget's limits are random shares of what the dense network takes; a refusal has to name what is nearest.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples"))

import prune_digits  # noqa: E402

from dtmm_mlir.errors import DtmmError  # noqa: E402
from dtmm_mlir.pruning import Budget, Settings, prune  # noqa: E402

LIMITS = ("instructions", "flash", "ram")
_LOWEST = {"instructions": 0.1, "flash": 0.3, "ram": 0.5}
"""Share of the dense network's cost at least; the highest is 1."""


def draw(random: np.random.Generator, dense: dict[str, int]) -> Budget:
    """One to three limits."""
    named = random.choice(LIMITS, random.integers(1, 4), replace=False)
    return Budget(**{name: round(random.uniform(_LOWEST[name], 1) * dense[name]) for name in named})


def measure(network: str, budget: Budget, dense: dict[str, int], trials: int, folder: Path) -> dict:
    """What came of ``budget``: ``met``, ``missed`` or ``refused``, and the measured cost as shares of the limits."""
    row = {
        "network": network,
        "budget": {name: round(limit / dense[name], 3) for name, limit in budget.limits().items()},
    }
    settings = Settings(budget=budget, trials=trials, effort=0.05)
    try:
        pruned = prune(getattr(prune_digits, network)(), settings, folder)["pruned"]
    except DtmmError as error:
        named = re.search(r"predicted to take|the nearest", str(error)) is not None
        return {**row, "outcome": "refused" if named else "missed", "words": str(error)}
    used = {name: round(pruned[name] / limit, 3) for name, limit in budget.limits().items()}
    return {**row, "outcome": "met" if max(used.values()) <= 1 else "missed", "used": used}


@click.command()
@click.option("--count", default=10, show_default=True)
@click.option("--trials", default=30, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), default=Path("build/budgets"), show_default=True)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the rows to this file.")
def main(count: int, trials: int, seed: int, folder: Path, file: Path | None) -> None:
    """Draws budgets, prunes under each, and compares with what is measured."""
    random = np.random.default_rng(seed)
    costs = {}
    for network in ("vgg", "resnet"):
        prune(
            getattr(prune_digits, network)(), Settings(budget=Budget(ram=10**9), trials=1, effort=0), folder / network
        )
        costs[network] = json.loads((folder / network / "dense.json").read_text())
    rows = []
    table = Table("network", "limits, of dense", "outcome", "used, of the limits", title="Random budgets")
    for number in range(count):
        network = ("vgg", "resnet")[number % 2]
        budget = draw(random, costs[network])
        rows.append(measure(network, budget, costs[network], trials, folder / f"{number}"))
        table.add_row(network, str(rows[-1]["budget"]), rows[-1]["outcome"], str(rows[-1].get("used", "")))
    if file:
        file.write_text(json.dumps({"trials": trials, "seed": seed, "rows": rows}, indent=2) + "\n")
    Console().print(table)
    sys.exit(any(row["outcome"] == "missed" for row in rows))


if __name__ == "__main__":
    main()
