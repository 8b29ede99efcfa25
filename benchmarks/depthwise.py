"""Instructions of the depthwise convolutions of a small MobileNet (0.25, 96x96), 3x3, int8, per result.

Weights are normally distributed, the largest of each channel 127, as per-channel quantization of trained ones gives.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import record
from rich.console import Console
from rich.table import Table
from sweep import Sample, instructions

from dtmm_mlir.dialect.ops import Geometry
from dtmm_mlir.targets import TARGETS, get_target

SHAPES = ((48, 8, 1), (48, 16, 2), (24, 32, 1), (24, 32, 2), (12, 64, 1), (12, 64, 2), (6, 128, 1), (3, 256, 1))
"""Height and width, channels, stride."""

CHIPS = [target.name for target in TARGETS.values() if target.board]


def sample(size: int, channels: int, stride: int) -> Sample:
    pads = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)
    g = Geometry(1, size, size, channels, channels, 3, 3, (stride, stride), (1, 1), pads, channels)
    weights = np.random.default_rng(0).standard_normal((channels, 3, 3, 1))
    weights *= 127 / np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    return replace(Sample.of(g, 0.0), weights=np.round(weights).astype(np.int8))


@click.command(help=__doc__)
@click.option("--target", "names", multiple=True, type=click.Choice(CHIPS), default=CHIPS)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Also write the figures to this file.")
def main(names: tuple[str, ...], file: Path | None) -> None:
    samples, targets = [sample(*shape) for shape in SHAPES], [get_target(name) for name in names]
    counts = {target.name: instructions(samples, target) for target in targets}
    table, results = Table("input", "stride", *names), []
    for number, (size, channels, stride) in enumerate(SHAPES):
        outputs = int(np.prod(samples[number].geometry.output_shape))
        each = {name: round(counts[name][number] / outputs, 2) for name in names}
        table.add_row(f"{size}x{size}x{channels}", str(stride), *(f"{count:.1f}" for count in each.values()))
        results.append({"size": size, "channels": channels, "stride": stride, "per_result": each})
    Console(width=120).print(table)
    if file:
        record.write(file, record.versions(targets=targets), results)


if __name__ == "__main__":
    main()
