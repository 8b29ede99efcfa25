"""``dtmm-mlir analyze`` and ``dtmm-mlir report``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dtmm_mlir.cli.options import Size, model_options
from dtmm_mlir.cli.program import progress

if TYPE_CHECKING:
    from dtmm_mlir.report import Report


def _outputs(command: Callable[..., None]) -> Callable[..., None]:
    """The options that both commands have."""
    options = [
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout."),
        click.option(
            "--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a page with pictures to this file."
        ),
        click.option(
            "--model-explorer",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Write node data for Model Explorer to this file; load it beside the .tflite model.",
        ),
        click.option("--flash", type=Size(), metavar="SIZE", help="Flash of your chip, e.g. 256K, instead of QEMU's."),
        click.option("--ram", type=Size(), metavar="SIZE", help="RAM of your chip."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command("analyze")
@click.argument("model")
@model_options
@_outputs
def analyze_command(
    model: str, target: str, example_inputs: tuple[Path, ...], optimize: str, plans: str | None, **outputs: Any
) -> None:
    """Predicts what MODEL takes, without compiling it.

    MODEL is what compile takes. Figures of convolutions come from the planner's cost model; see report for counts.
    """
    from dtmm_mlir.cli.arrays import read_array
    from dtmm_mlir.report import analyze

    _check_files(**outputs)
    inputs = [read_array(path) for path in example_inputs] or None
    with progress() as tell:
        report = analyze(model, target, example_inputs=inputs, optimize=optimize, plans=plans, progress=tell)
    _write(report, **outputs)


@click.command("report")
@click.argument("folder", metavar="DIR")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="X.npy",
    help="Input to count with, as for run, once per input of the model; of a stack the first one. Default: zeros.",
)
@_outputs
def report_command(folder: str, inputs: tuple[Path, ...], **outputs: Any) -> None:
    """Shows what the artifact in DIR takes: flash, RAM and instructions, layer by layer.

    For a microcontroller one inference is run in QEMU and its instructions are counted; they are not cycles.
    """
    from dtmm_mlir.cli.arrays import read_array
    from dtmm_mlir.report import measure

    _check_files(**outputs)
    arrays = [read_array(path) for path in inputs] or None
    with progress() as tell:
        report = measure(folder, arrays, progress=tell)
    _write(report, **outputs)


def _write(
    report: Report,
    as_json: bool,
    html: Path | None,
    model_explorer: Path | None,
    flash: int | None,
    ram: int | None,
) -> None:
    report = _on_chip(report, flash, ram)
    if html is not None:
        from dtmm_mlir.report.html import page

        html.write_text(page(report))
    if model_explorer is not None:
        from dtmm_mlir.report.model_explorer import node_data

        model_explorer.write_text(json.dumps(node_data(report), indent=2) + "\n")
    if as_json:
        click.echo(json.dumps(report.json()))
    else:
        from rich.console import Console

        from dtmm_mlir.report.terminal import show

        console = Console()
        show(report, console if console.is_terminal else Console(width=180))


def _on_chip(report: Report, flash: int | None, ram: int | None) -> Report:
    """``report`` for a chip with these memories; those not given are the board's."""
    from dtmm_mlir.report.data import Chip

    if flash is None and ram is None:
        return report
    board = report.chip
    if board is None:
        raise click.UsageError("--flash and --ram are of no use for a target without a board.")
    chip = Chip("the chip", flash or board.flash, ram or board.ram)
    return replace(report, chip=chip)


def _check_files(html: Path | None, model_explorer: Path | None, **_: Any) -> None:
    """Says what cannot be written before anything takes its time."""
    from dtmm_mlir.cli.arrays import check_writable

    for path in filter(None, (html, model_explorer)):
        check_writable(path)
