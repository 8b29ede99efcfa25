"""Instructions per layer on microcontrollers, beside CMSIS-NN's and DTMM's."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

import dtmm_mlir
from dtmm_mlir.deploy import qemu

MODELS = Path(__file__).parents[1] / "examples" / "models"
PEERS = Path(__file__).with_name("peers.csv")
PEER_COLUMNS = {"cortex-m55": ("m55_cmsis_nn", "m55_dtmm"), "cortex-m4": ("m4_cmsis_nn",)}


@dataclass(frozen=True)
class Layer:
    """One convolution.

    Attributes:
        name: its kernel.
        kept, total: filterlets.
        instructions: of one inference, exact.
        peer: of the best peer, where there is a figure.
    """

    name: str
    kept: int
    total: int
    instructions: int
    peer: int | None


@dataclass(frozen=True)
class Result:
    """One model on one target; sizes in bytes."""

    model: str
    sha256: str
    target: str
    instructions: int
    flash: int
    arena: int
    layers: list[Layer]


def peers(model: str, target: str) -> list[int]:
    """The better peer's instructions for each convolution of ``model``; empty where there is no figure."""
    columns = PEER_COLUMNS.get(target, ())
    with PEERS.open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == model]
    return [min(int(row[column]) for column in columns) for row in rows] if columns else []


def measure(model: str, target: str) -> Result:
    """Compiles and runs ``model``; its output must be the reference's."""
    data = np.load(MODELS / f"{model}.npz")
    artifact = dtmm_mlir.compile(MODELS / f"{model}.tflite", target=target)
    run = qemu.run(artifact.dir, [[data["inputs"][0]]])
    if run.counter != qemu.EXACT or run.instructions is None:
        raise click.ClickException("this needs exact counts: install a C compiler, and QEMU with plugins.")
    if not (run.outputs[0][0] == data["expected"][0]).all():
        raise click.ClickException(f"{model} on {target}: wrong result.")
    counts = [(name, count) for name, count in run.steps if name.startswith("filterlet_")]
    known = peers(model, target)
    layers = [
        Layer(name, layer["kept_filterlets"], layer["total_filterlets"], count, known[i] if i < len(known) else None)
        for i, ((name, count), layer) in enumerate(zip(counts, artifact.manifest["layers"], strict=True))
    ]
    sizes = artifact.manifest["flash_bytes"], artifact.manifest["arena_bytes"]
    return Result(model, artifact.manifest["model"]["sha256"], target, run.instructions, *sizes, layers)


def show(result: Result, console: Console) -> None:
    table = Table(title=f"{result.model} on {result.target}", title_justify="left")
    table.add_column("layer")
    for column in ("kept filterlets", "instructions", "best peer", "ratio"):
        table.add_column(column, justify="right")
    for layer in result.layers:
        table.add_row(layer.name, f"{layer.kept} of {layer.total}", f"{layer.instructions:,}", *compared(layer))
    known = [layer for layer in result.layers if layer.peer]
    if known:
        ours, theirs = sum(layer.instructions for layer in known), sum(layer.peer or 0 for layer in known)
        table.add_section()
        table.add_row("convolutions with a peer", "", f"{ours:,}", f"{theirs:,}", f"{ours / theirs:.2f}")
    table.add_row("whole inference", "", f"{result.instructions:,}", "", "")
    console.print(table)
    console.print(f"flash {result.flash:,} bytes, arena {result.arena:,} bytes\n")


def compared(layer: Layer) -> tuple[str, str]:
    return (f"{layer.peer:,}", f"{layer.instructions / layer.peer:.2f}") if layer.peer else ("", "")


@click.command(help=__doc__)
@click.option("--target", "targets", multiple=True, default=["cortex-m55", "cortex-m4"], show_default=True)
@click.option("--model", "models", multiple=True, default=sorted(path.stem for path in MODELS.glob("*.tflite")))
@click.option("--json", "file", type=click.Path(path_type=Path), help="Also write the figures to this file.")
def main(targets: tuple[str, ...], models: tuple[str, ...], file: Path | None) -> None:
    console = Console()
    results = []
    for target in targets:
        for model in models:
            results.append(measure(model, target))
            show(results[-1], console)
    if file:
        record = {"version": dtmm_mlir.__version__, "results": [asdict(result) for result in results]}
        file.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
