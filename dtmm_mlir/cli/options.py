"""Options that several commands have."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import click

from dtmm_mlir.targets import TARGETS


class Count(click.ParamType[int]):
    """A number, as ``20000000``, ``500K`` or ``20M``."""

    name = "count"
    thousand: ClassVar[int] = 1000
    unit: ClassVar[str] = ""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(rf"(\d+)\s*([KM]?)(?:{self.unit})?", str(value), re.IGNORECASE)
        if match is None:
            self.fail(f"'{value}' is no {self.name}; write a number, 256K or 1M.", param, ctx)
        return int(match[1]) * self.thousand ** ("", "K", "M").index(match[2].upper())


class Size(Count):
    """Bytes, as ``262144``, ``256K``, ``256KiB`` or ``1M``; a K is 1024."""

    name = "size"
    thousand = 1024
    unit = "i?B"


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
