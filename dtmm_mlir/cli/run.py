"""``dtmm-mlir run``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dtmm_mlir.cli.program import progress
from dtmm_mlir.errors import DtmmError

if TYPE_CHECKING:
    from dtmm_mlir.artifact import Artifact, Run


@click.command("run")
@click.argument("folder", metavar="DIR")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    metavar="X.npy",
    help="One input, or several stacked along a new first axis; once per input of the model.",
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="Y.npy",
    help="Where the output goes, stacked if the input is; once per output of the model.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def run_command(folder: str, inputs: tuple[Path, ...], outputs: tuple[Path, ...], as_json: bool) -> None:
    """Runs the artifact in DIR: in this process for the host, in QEMU for a microcontroller.

    The input has exactly the model's shape and dtype; float32 given for a quantized input is quantized with the
    manifest's scale and zero point. Instructions are those of one inference, as QEMU counts them; they are not cycles.
    """
    from dtmm_mlir.artifact import load
    from dtmm_mlir.cli.arrays import check_writable, read_array, write_array

    artifact = load(folder)
    for path in outputs:
        check_writable(path)
    if outputs and len(outputs) != len(artifact.outputs):
        raise DtmmError(f"the model has {len(artifact.outputs)} output(s), but --output is given {len(outputs)} times.")
    arrays = [read_array(path) for path in inputs]
    with progress() as report:
        report("running")
        result = artifact.execute(arrays)
    for path, array in zip(outputs, result.outputs, strict=False):
        write_array(path, array)
    description = describe(artifact, result, outputs)
    if as_json:
        click.echo(json.dumps(description))
    else:
        _print(description)


def describe(artifact: Artifact, result: Run, files: tuple[Path, ...]) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    return {
        "schema_version": 1,
        "target": artifact.manifest["target"],
        "model": artifact.manifest["model"]["name"],
        "runs": result.runs,
        "instructions": result.instructions,
        "counter": result.counter,
        "outputs": [
            {
                "name": spec.name,
                "shape": list(array.shape),
                "dtype": str(array.dtype),
                "file": str(files[at]) if files else None,
            }
            for at, (spec, array) in enumerate(zip(artifact.outputs, result.outputs, strict=True))
        ],
    }


def _print(description: dict[str, Any]) -> None:
    click.echo(f"{description['model']} on {description['target']}: {description['runs']} inference(s)")
    if description["instructions"] is not None:
        click.echo(f"instructions of one inference: {description['instructions']:,} ({description['counter']})")
    for output in description["outputs"]:
        shape = "x".join(map(str, output["shape"]))
        click.echo(f"output {output['name']}: {shape} {output['dtype']} -> {output['file'] or '(not written)'}")
