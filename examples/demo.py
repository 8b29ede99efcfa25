"""Compiles a pruned network for this machine and for a Cortex-M55, runs both, and shows what came of it.

The network is DTMM's own ResNet for CIFAR-10, int8, pruned by filterlets. The Cortex-M55 is QEMU's.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

import dtmm_mlir
from dtmm_mlir.artifact import Artifact, Run

MODELS = Path(__file__).parent / "models"
TARGETS = ("host", "cortex-m55")


@dataclass(frozen=True)
class Result:
    """What one target gave."""

    artifact: Artifact
    run: Run
    is_exact: bool


def main() -> int:
    """Returns the exit code: 0 where every output equals the reference."""
    arguments = parse_arguments()
    console = Console()
    model = MODELS / f"{arguments.model}.tflite"
    data = np.load(model.with_suffix(".npz"))
    inputs, expected = data["inputs"][: arguments.inputs], data["expected"][: arguments.inputs]
    results: dict[str, Result] = {}
    with console.status("") as status:
        for target in TARGETS:
            artifact = dtmm_mlir.compile(
                model, target, progress=lambda step, target=target: status.update(f"{target}: {step} ...")
            )
            status.update(f"{target}: running {len(inputs)} inputs ...")
            run = artifact.execute(inputs)
            results[target] = Result(artifact, run, np.array_equal(run.outputs[0], expected))
    console.print(layers(results["cortex-m55"].artifact))
    console.print(summary(results, len(inputs)))
    console.print("Instructions are those of one inference, counted by QEMU; they are not cycles.", style="dim")
    return 0 if all(result.is_exact for result in results.values()) else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = sorted(path.stem for path in MODELS.glob("*.tflite"))
    parser.add_argument("--model", choices=names, default="resnet12_cifar10")
    parser.add_argument("--inputs", type=int, default=3, help="how many of the 16 inputs to run (default: 3)")
    return parser.parse_args()


def layers(artifact: Artifact) -> Table:
    """What pruning left of each convolution."""
    table = Table(title=f"{artifact.manifest['model']['name']}: what is computed and what is skipped", box=SIMPLE)
    for column in ("layer", "kernel", "input"):
        table.add_column(column, no_wrap=True)
    for column in ("filterlets kept", "MACs skipped", ""):
        table.add_column(column, justify="right", no_wrap=True)
    rows = artifact.manifest["layers"]
    for row in rows:
        kernel, shape = ("x".join(map(str, sizes)) for sizes in (row["kernel"], row["input_shape"][1:]))
        name = (row["name"] or row["location"] or "").rpartition("/")[2]
        table.add_row(name, kernel, shape, *counts(row))
    totals = {key: sum(row[key] for row in rows) for key in rows[0] if key.endswith(("_filterlets", "_macs"))}
    table.add_section()
    table.add_row("all", "", "", *counts(totals))
    return table


def counts(row: dict) -> tuple[str, ...]:
    skipped = row["dense_macs"] - row["kept_macs"]
    share = skipped / row["dense_macs"]
    return f"{row['kept_filterlets']:,} / {row['total_filterlets']:,}", f"{skipped:,}", f"{share:.0%}"


def summary(results: dict[str, Result], inputs: int) -> Table:
    """One line per target."""
    table = Table(title=f"{inputs} inputs against the reference outputs", box=SIMPLE)
    for column in ("target", "size", "RAM arena", "instructions", "bit-exact"):
        table.add_column(column, justify="left" if column == "target" else "right")
    for target, result in results.items():
        manifest = result.artifact.manifest
        flash = manifest["flash_bytes"]
        module = result.artifact.dir / "model.vmfb"
        size = f"{flash:,} B flash" if flash is not None else f"{module.stat().st_size:,} B .vmfb"
        arena = "-" if manifest["arena_bytes"] is None else f"{manifest['arena_bytes']:,} B"
        counted = result.run.instructions
        instructions = "-" if counted is None else f"{counted:,} ({result.run.counter})"
        table.add_row(target, size, arena, instructions, "[green]yes[/]" if result.is_exact else "[red]NO[/]")
    return table


if __name__ == "__main__":
    try:
        sys.exit(main())
    except dtmm_mlir.DtmmError as error:
        sys.exit(f"error: {error}")
