"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from dtmm_mlir.targets import TARGETS


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which model for which target, and what its kernels are chosen by."""
    options = [
        click.option(
            "--target", default="host", show_default=True, metavar="T", help=f"One of {', '.join(sorted(TARGETS))}."
        ),
        click.option(
            "--example-input",
            "example_inputs",
            multiple=True,
            type=click.Path(path_type=Path),
            metavar="X.npy",
            help="Input to trace a PyTorch model with; once per input.",
        ),
        click.option(
            "--optimize",
            type=click.Choice(["balanced", "speed", "size"]),
            default="balanced",
            show_default=True,
            help="What kernels are chosen for; balanced: speed, without storing much more than dense weights.",
        ),
        click.option(
            "--plan", "plans", metavar="FILE", help="Kernels of each convolution: an earlier manifest.json, edited."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command
