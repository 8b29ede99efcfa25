"""Cost of the example models' convolutions with 0 to 95 % of their filterlets pruned, and plots of it.

Writes sweep_TARGET.json and sweep_TARGET.svg. Costs are instructions in QEMU, or milliseconds on the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import record
from host import TURN_SECONDS, iree_engine, seconds_of
from iree.compiler import ir
from iree.compiler.dialects import func
from rich.console import Console

import dtmm_mlir
from dtmm_mlir.artifact import HOST_MODULE
from dtmm_mlir.deploy import qemu
from dtmm_mlir.dialect import reference
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.dialect.ops import Geometry, Rescale
from dtmm_mlir.passes.captured import Conv
from dtmm_mlir.targets import TARGETS, Target, get_target

DOCS = Path(__file__).parents[1] / "docs"
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
HOST_TURNS = 5


@dataclass(frozen=True)
class Point:
    """One convolution at one sparsity.

    Attributes:
        model: the first one with this shape.
        shape: ``HxWxC->OHxOWxF KHxKW``.
        pruned: share of its filterlets.
        kept, total: filterlets.
        macs: multiply-accumulates of the kept filterlets.
        cost: instructions, or milliseconds on the host.
    """

    model: str
    shape: str
    pruned: float
    kept: int
    total: int
    macs: int
    cost: float


@dataclass(frozen=True)
class Sample:
    """A convolution with random weights and an input; int8."""

    geometry: Geometry
    weights: np.ndarray
    bias: np.ndarray
    rescale: Rescale
    x: np.ndarray

    @staticmethod
    def of(g: Geometry, pruned: float) -> Sample:
        random = np.random.default_rng(0)
        weights = random.integers(1, 128, (g.f, g.kh, g.kw, g.group_channels), np.int8)
        weights *= random.choice(np.array([-1, 1], np.int8), weights.shape)
        filterlets = weights.reshape(-1, g.group_channels)
        filterlets[random.permutation(len(filterlets))[: round(pruned * len(filterlets))]] = 0
        bias = random.integers(-3000, 3000, g.f, np.int32)
        rescale = Rescale(np.full(g.f, 2**30, np.int32), np.full(g.f, 42, np.int8), 0, "double")
        return Sample(g, weights, bias, rescale, random.integers(-128, 128, (g.n, g.h, g.w, g.c), np.int8))

    @property
    def kept(self) -> int:
        return int(self.weights.any(axis=3).sum())

    def build(self, x: ir.Value) -> ir.Value:
        g = self.geometry
        conv = Conv(x, self.weights, self.bias, g.strides, g.dilations, g.pads, g.groups, 0, self.rescale)
        return conv.create()

    def check(self, result: np.ndarray) -> None:
        expected = reference.conv_2d(self.x, self.weights, self.bias, self.geometry, 0, self.rescale, None)
        if not (result == expected).all():
            raise click.ClickException(f"{shape_text(self.geometry)}: wrong result.")


def shapes(models: tuple[str, ...]) -> dict[str, list[Geometry]]:
    """The convolutions of each model, linear layers left out, each shape once over all models."""
    seen: set[Geometry] = set()
    found: dict[str, list[Geometry]] = {}
    for model in models:
        manifest = dtmm_mlir.compile(record.MODELS / f"{model}.tflite", compile_to="pack").manifest
        convolutions = [layer for layer in manifest["layers"] if layer["kind"] != "linear"]
        found[model] = [g for g in dict.fromkeys(map(_geometry, convolutions)) if g not in seen]
        seen.update(found[model])
    return found


def _geometry(layer: dict[str, Any]) -> Geometry:
    fields = {name: tuple(layer[name]) for name in ("strides", "dilations", "pads")}
    return Geometry(*layer["input_shape"], layer["output_shape"][3], *layer["kernel"], **fields, groups=layer["groups"])


def shape_text(g: Geometry) -> str:
    return f"{g.h}x{g.w}x{g.c}->{g.oh}x{g.ow}x{g.f} {g.kh}x{g.kw}"


def build_module(samples: list[Sample]) -> ir.Module:
    """``@main`` with an argument and a result per sample."""
    with create_context(), ir.Location.unknown():
        module, i8 = ir.Module.create(), ir.IntegerType.get_signless(8)
        inputs = [ir.RankedTensorType.get(list(sample.x.shape), i8) for sample in samples]
        outputs = [ir.RankedTensorType.get(sample.geometry.output_shape, i8) for sample in samples]
        with ir.InsertionPoint(module.body):
            function = func.FuncOp("main", (inputs, outputs))
        block = function.add_entry_block()
        with ir.InsertionPoint(block):
            func.ReturnOp([sample.build(x) for sample, x in zip(samples, block.arguments, strict=True)])
    return module


def instructions(samples: list[Sample], target: Target) -> list[float]:
    """Of each sample; all run in one image, each on its own input."""
    artifact = dtmm_mlir.compile(build_module(samples), target=target.name)
    run = qemu.run(artifact.dir, [[sample.x for sample in samples]])
    if run.counter != qemu.EXACT:
        raise click.ClickException("this needs exact counts: install a C compiler, and QEMU with plugins.")
    for sample, output in zip(samples, run.outputs[0], strict=True):
        sample.check(output)
    counts = {int(name.split("_")[1]): count for name, count in run.steps if name.startswith("filterlet_")}
    return [counts[number] for number in range(len(samples))]


def milliseconds(samples: list[Sample]) -> list[float]:
    """Of each sample on this machine, the fastest of some turns."""
    return [_milliseconds(sample) for sample in samples]


def _milliseconds(sample: Sample) -> float:
    artifact = dtmm_mlir.compile(build_module([sample]))
    engine = iree_engine("", artifact.dir / HOST_MODULE, artifact.manifest["entry"], sample.x)
    sample.check(engine.output())
    count = max(1, round(TURN_SECONDS / seconds_of(engine, 3)))
    return 1e3 * min(seconds_of(engine, count) for _ in range(HOST_TURNS))


def sweep(models: tuple[str, ...], target: Target, shares: tuple[float, ...]) -> Iterator[Point]:
    """All points, model by model and share by share."""
    for model, geometries in shapes(models).items():
        for share in shares if geometries else ():
            samples = [Sample.of(g, share) for g in geometries]
            costs = milliseconds(samples) if target.is_host else instructions(samples, target)
            for sample, cost in zip(samples, costs, strict=True):
                g = sample.geometry
                total, macs = g.f * g.kh * g.kw, g.n * g.oh * g.ow * sample.kept * g.group_channels
                yield Point(model, shape_text(g), share, sample.kept, total, macs, cost)


def plot(points: list[Point], target: Target, file: Path) -> None:
    """A panel per model, a line per shape: cost relative to the same layer unpruned, over the share pruned."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "dtmm-mlir"  # the same file from the same figures
    models = list(dict.fromkeys(point.model for point in points))
    figure, axes = plt.subplots(1, len(models), figsize=(4.2 * len(models), 4.2), sharey=True, squeeze=False)
    for panel, model in zip(axes[0], models, strict=True):
        lines: dict[str, list[Point]] = {}
        for point in points:
            if point.model == model:
                lines.setdefault(point.shape, []).append(point)
        for shape, line in lines.items():
            panel.plot([100 * p.pruned for p in line], [p.cost / line[0].cost for p in line], label=shape, lw=1.2)
        panel.plot([0, 100], [1, 0], color="grey", ls="--", lw=1, label="in proportion")
        panel.set(title=model, xlabel="filterlets pruned, %", xlim=(0, 100), ylim=(0, 1.05))
        panel.legend(fontsize=6)
    unit = "time" if target.is_host else "instructions"
    axes[0][0].set_ylabel(f"{unit} on {target.name}, of the unpruned layer")
    figure.tight_layout()
    figure.savefig(file, format="svg", metadata={"Date": None})


@click.command(help=__doc__)
@click.option("--target", default="cortex-m55", show_default=True, type=click.Choice(list(TARGETS)))
@click.option("--model", "models", multiple=True, type=click.Choice(record.NAMES), default=record.NAMES)
@click.option("--share", "shares", multiple=True, type=click.FloatRange(0, 1), default=SHARES, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False, exists=True), default=DOCS)
def main(target: str, models: tuple[str, ...], shares: tuple[float, ...], out: Path) -> None:
    console, record_of = Console(width=120), get_target(target)
    points = []
    for point in sweep(models, record_of, tuple(sorted({0.0, *shares}))):
        points.append(point)
        cost = f"{point.cost:.3f} ms" if record_of.is_host else f"{point.cost:,}"
        console.print(f"{point.model:18} {point.shape:28} {point.pruned:4.0%} pruned {cost:>14}")
    versions = record.versions(targets=[record_of]) | ({"processor": record.processor()} if record_of.is_host else {})
    record.write(out / f"sweep_{target}.json", versions, [asdict(point) for point in points])
    try:
        plot(points, record_of, out / f"sweep_{target}.svg")
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"no plot, as {error.name} is missing (extra 'bench'); the figures are saved."
        ) from None


if __name__ == "__main__":
    main()
