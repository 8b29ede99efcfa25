"""Instructions, flash and RAM per layer on microcontrollers, beside CMSIS-NN's and DTMM's instructions."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import record
from rich.console import Console
from rich.table import Table

import dtmm_mlir
from dtmm_mlir.compiler import ir_after
from dtmm_mlir.deploy import mcu, qemu
from dtmm_mlir.report import Report
from dtmm_mlir.report import measure as report_of
from dtmm_mlir.targets import TARGETS

PEERS = Path(__file__).with_name("peers.csv")
BOARDS = [target.name for target in TARGETS.values() if target.board]
DEFAULT_TARGETS = ("cortex-m55", "cortex-m4")
NOT_EXACT = "this needs exact counts: install a C compiler, and QEMU with plugins."
PEER_COLUMNS = {"cortex-m55": ("m55_cmsis_nn", "m55_dtmm"), "cortex-m4": ("m4_cmsis_nn",)}


@dataclass(frozen=True)
class Layer:
    """One convolution.

    Attributes:
        name: its kernel.
        kept, total: filterlets.
        instructions: of one inference, exact.
        peer: of the best peer, where there is a figure.
        flash: bytes of its ``code``, ``weights`` (as stored, padding included), ``indices`` (offsets of the surviving
            runs) and ``parameters`` (bias and scales).
    """

    name: str
    kept: int
    total: int
    instructions: int
    peer: int | None
    flash: dict[str, int]


@dataclass(frozen=True)
class Result:
    """One model on one target; sizes in bytes.

    Attributes:
        sha256: of the model's file.
        output_sha256: of the first input's output, which is the reference's.
        instructions: of one inference, exact.
        stock: instructions of the same inference compiled by stock IREE, where that was asked for.
        flash: by purpose: ``code`` (kernels, IREE's dispatches, runtime, schedule), ``weights``, ``indices``,
            ``parameters`` of our convolutions, and ``constants``, all others.
        ram: ``arena``, ``buffers`` (inputs and outputs) and the deepest ``stack``.
    """

    model: str
    sha256: str
    output_sha256: str
    target: str
    instructions: int
    stock: int | None
    flash: dict[str, int]
    ram: dict[str, int]
    layers: list[Layer]


def peers(model: str, target: str) -> list[int]:
    """The better peer's instructions for each convolution of ``model``; empty where there is no figure."""
    columns = PEER_COLUMNS.get(target, ())
    with PEERS.open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == model]
    return [min(int(row[column]) for column in columns) for row in rows] if columns else []


def measure(model: str, target: str, stock: bool) -> Result:
    """Compiles and runs ``model``, also with stock IREE if ``stock``; outputs must be the reference's."""
    path = record.MODELS / f"{model}.tflite"
    data = np.load(path.with_suffix(".npz"))
    report = report_of(dtmm_mlir.compile(path, target=target), [data["inputs"][0]], outlook=False)
    if not report.is_counted:
        raise click.ClickException(NOT_EXACT)
    if report.checksums["output"] != record.checksum(data["expected"][0].tobytes()):
        raise click.ClickException(f"{model} on {target}: wrong result.")
    layers = layers_of(report, peers(model, target))
    return Result(
        model=model,
        sha256=report.model["sha256"],
        output_sha256=report.checksums["output"],
        target=target,
        instructions=report.instructions or 0,
        stock=stock_instructions(path, target, data) if stock else None,
        flash=split_flash(report.flash or {}, layers),
        ram=report.ram or {},
        layers=layers,
    )


def layers_of(report: Report, known: list[int]) -> list[Layer]:
    """The convolutions; ``known`` are the peers' instructions of the first ones."""
    return [
        Layer(
            name=row.function or "",
            kept=conv.kept_filterlets,
            total=conv.kept.size,
            instructions=row.instructions or 0,
            peer=known[i] if i < len(known) else None,
            flash={
                "code": row.code_bytes or 0,
                "weights": conv.weight_bytes,
                "indices": conv.index_bytes,
                "parameters": conv.parameter_bytes,
            },
        )
        for i, (row, conv) in enumerate(report.convolutions)
    ]


def run_exactly(folder: Path, data: Mapping[str, np.ndarray]) -> qemu.QemuResult:
    """Runs the image in ``folder`` on the first input; the output must be the reference's."""
    run = qemu.run(folder, [[data["inputs"][0]]])
    if run.counter != qemu.EXACT:
        raise click.ClickException(NOT_EXACT)
    if not (run.outputs[0][0] == data["expected"][0]).all():
        raise click.ClickException(f"wrong result in {folder}.")
    return run


def stock_instructions(path: Path, target: str, data: Mapping[str, np.ndarray]) -> int | None:
    """Of one inference compiled by stock IREE: dense, with the same flags, runtime and board."""
    with tempfile.TemporaryDirectory(prefix="dtmm-") as folder:
        source = Path(folder, "model.mlir")
        source.write_text(ir_after(path, "import", target))
        mcu.build(source, TARGETS[target], Path(folder, "out"))
        return run_exactly(Path(folder, "out"), data).instructions


def split_flash(memory: dict[str, int], layers: list[Layer]) -> dict[str, int]:
    """The image's flash by purpose; layers may share equal constants, so ``constants`` is at least zero."""
    ours = {part: sum(layer.flash[part] for layer in layers) for part in ("weights", "indices", "parameters")}
    code = sum(memory[part] for part in ("kernels", "runtime", "schedule"))
    return {"code": code, **ours, "constants": max(0, memory["constants"] - sum(ours.values()))}


def show(result: Result, console: Console) -> None:
    table = Table(title=f"{result.model} on {result.target}", title_justify="left")
    table.add_column("layer")
    for column in ("kept filterlets", "instructions", "best peer", "ratio", "code", "weights", "indices"):
        table.add_column(column, justify="right")
    for layer in result.layers:
        table.add_row(
            layer.name, f"{layer.kept} of {layer.total}", f"{layer.instructions:,}", *compared(layer), *stored(layer)
        )
    known = [layer for layer in result.layers if layer.peer]
    if known:
        ours, theirs = sum(layer.instructions for layer in known), sum(layer.peer or 0 for layer in known)
        table.add_section()
        table.add_row("convolutions with a peer", "", f"{ours:,}", f"{theirs:,}", f"{ours / theirs:.2f}")
    table.add_row("whole inference", "", f"{result.instructions:,}", "", "")
    console.print(table)
    if result.stock:
        console.print(f"stock IREE {result.stock:,} instructions, ratio {result.instructions / result.stock:.2f}")
    for memory, parts in (("flash", result.flash), ("RAM", result.ram)):
        sizes = ", ".join(f"{part} {size:,}" for part, size in parts.items())
        console.print(f"{memory} {sum(parts.values()):,} bytes: {sizes}")
    console.print()


def compared(layer: Layer) -> tuple[str, str]:
    return (f"{layer.peer:,}", f"{layer.instructions / layer.peer:.2f}") if layer.peer else ("", "")


def stored(layer: Layer) -> tuple[str, str, str]:
    return f"{layer.flash['code']:,}", f"{layer.flash['weights']:,}", f"{layer.flash['indices']:,}"


@click.command(help=__doc__)
@click.option(
    "--target", "targets", multiple=True, type=click.Choice(BOARDS), default=DEFAULT_TARGETS, show_default=True
)
@click.option("--model", "models", multiple=True, type=click.Choice(record.NAMES), default=record.NAMES)
@click.option("--stock", is_flag=True, help="Count whole inferences compiled by stock IREE as well.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Also write the figures to this file.")
def main(targets: tuple[str, ...], models: tuple[str, ...], stock: bool, file: Path | None) -> None:
    console = Console(width=120)
    results = []
    for target in targets:
        for model in models:
            results.append(measure(model, target, stock))
            show(results[-1], console)
    if file:
        versions = record.versions(targets=[TARGETS[target] for target in targets])
        record.write(file, versions, [asdict(result) for result in results])


if __name__ == "__main__":
    main()
