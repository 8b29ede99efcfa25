"""``dtmm-mlir prune``."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import click

from dtmm_mlir.cli.options import Count, Size
from dtmm_mlir.cli.program import progress
from dtmm_mlir.errors import DtmmError


@click.command("prune")
@click.argument("recipe")
@click.option("--target", default="cortex-m55", show_default=True, metavar="T", help="The microcontroller.")
@click.option("--instructions", type=Count(), metavar="N", help="At most this many per inference, e.g. 20M.")
@click.option("--flash", type=Size(), metavar="SIZE", help="At most this much flash, e.g. 256K.")
@click.option("--ram", type=Size(), metavar="SIZE", help="At most this large an arena.")
@click.option("--drop", type=float, default=1.0, show_default=True, help="Points of the metric that may be lost.")
@click.option("--method", default="both", show_default=True, metavar="M", help="both, filterlets or filters.")
@click.option("--importance", default="taylor", show_default=True, metavar="I", help="magnitude, taylor or fisher.")
@click.option("--trials", type=int, default=60, show_default=True, help="Candidates to try.")
@click.option("--effort", type=float, default=0.1, show_default=True, help="Of training each; 1 is all of fine-tuning.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option("--sampler", default="tpe", show_default=True, metavar="S", help="tpe, or DTMM's annealing.")
@click.option("--storage", metavar="URL", help="Database that several runs share; by default a file in DIR.")
@click.option("-o", "--output", required=True, metavar="DIR", help="Folder of the run; an interrupted one goes on.")
def prune_command(
    recipe: str,
    output: str,
    instructions: int | None,
    flash: int | None,
    ram: int | None,
    drop: float,
    **settings: Any,
) -> None:
    """Prunes a PyTorch network until it fits, fine-tunes and compiles it.

    RECIPE is module:function, a Python function that returns a dtmm_mlir.pruning.Recipe: the trained network, its data
    and its metric. Without a limit, the fewest instructions within --drop are looked for.
    """
    from dtmm_mlir.pruning import Budget, Settings, prune

    _check(settings)
    budget = Budget(instructions, flash, ram, drop)
    with progress() as tell:
        result = prune(_recipe(recipe), Settings(budget=budget, **settings), output, tell)
    _show(result, Path(output))


def _check(settings: dict[str, Any]) -> None:
    from dtmm_mlir.pruning.importance import IMPORTANCES
    from dtmm_mlir.pruning.scheduler import METHODS, SAMPLERS

    for name, allowed in (("method", METHODS), ("importance", IMPORTANCES), ("sampler", SAMPLERS)):
        if settings[name] not in allowed:
            raise click.BadParameter(f"'{settings[name]}' is none of {', '.join(allowed)}.", param_hint=f"--{name}")


def _recipe(text: str) -> Any:
    module, colon, function = text.partition(":")
    if not colon or not module or not function:
        raise DtmmError(f"'{text}' names no recipe; write module:function.")
    sys.path.insert(0, os.getcwd())
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise DtmmError(f"the recipe '{text}' cannot be imported: {error}.") from error
    recipe = make()
    missing = [
        name
        for name in ("model", "example", "batches", "loss", "train", "validate", "metric")
        if not hasattr(recipe, name)
    ]
    if missing:
        raise DtmmError(f"what '{text}' returns is no recipe: it lacks {', '.join(missing)}.")
    return recipe


def _show(result: dict[str, Any], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Pruned for {result['target']}", title_justify="left")
    for column in ("", "instructions", "flash", "arena", "float32", "int8 on the host", "int8 on the chip"):
        table.add_column(column, justify="right" if column else "left")
    for name in ("dense", "pruned"):
        row = result[name]
        sizes = [f"{row[key]:,}" for key in ("instructions", "flash", "ram")]
        metrics = [f"{row[key]:.2f}" for key in ("float_metric", "host_metric", "metric")]
        table.add_row(name, *sizes, *metrics)
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    console.print(table)
    console.print(f"{folder} holds the compiled network (artifact), the PyTorch one (pruned.pt) and front.svg.")
