"""Fits the planner's costs to instructions counted in QEMU.

    python benchmarks/calibrate.py cortex-m55 cortex-m4
    python benchmarks/calibrate.py aarch64
    python benchmarks/calibrate.py --element f32 cortex-m55

Random convolutions are compiled under plans near the best and run; the instructions of each are a sum of what
``passes/cost.py`` counts, times the costs in ``passes/costs.json``. What a vector takes is known from the instruction
set and stays as it stands there; this script fits and rewrites the others. For floats it also measures what stock IREE
takes per multiplication of a dense convolution.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import dtmm_mlir  # noqa: E402
from dtmm_mlir.deploy import mcu, qemu  # noqa: E402
from dtmm_mlir.dialect.constants import walk  # noqa: E402
from dtmm_mlir.dialect.ops import CONV, ConvView  # noqa: E402
from dtmm_mlir.passes import cost  # noqa: E402
from dtmm_mlir.passes.kernels.isa import Isa, is_far  # noqa: E402
from dtmm_mlir.passes.kernels.select import isa_of  # noqa: E402
from dtmm_mlir.passes.plan import candidates  # noqa: E402
from dtmm_mlir.targets import Target, get_target  # noqa: E402
from tests.kernels import aarch64  # noqa: E402
from tests.kernels.convolutions import Case, Sample, build_module, geometry  # noqa: E402

COSTS = ROOT / "passes" / "costs.json"
BATCH = 8
MOST_WEIGHTS, MOST_PRODUCTS = 50_000, 8_000_000
"""Of one convolution: a batch fits into flash, and takes seconds."""

SIZES = ((1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16), (4, 6, 7, 8, 8, 12, 16, 20, 24), (24, 32, 48, 64))
CHANNELS, FILTERS = ((1, 20), (16, 130), (3, 48)), ((2, 20), (12, 130), (8, 64))
"""Of tiny, usual and wide layers."""

KNOWN: Mapping[str, Sequence[str]] = {
    "mve": ("addressed_straight", "data", "far_joined", "joined", "listed", "mac", "passes", "weights"),
    "dsp": ("data", "joined", "mac", "masked_run", "weights"),
}
"""For integers, what the innermost loop says without a measurement, and what a fit over all does not tell apart."""


def cases(random: np.random.Generator, count: int, element: str) -> list[Case]:
    """Convolutions of the sizes that small networks have."""
    found = list[Case]()
    while len(found) < count:
        size, c, f = (int(random.choice(of[len(found) % 3])) for of in (SIZES, *map(_between, (CHANNELS, FILTERS))))
        kernel, stride = int(random.choice([1, 1, 3, 3, 3, 5])), int(random.choice([1, 1, 1, 2]))
        shape = geometry(size, size, c, f, kernel, strides=(stride, stride))
        weights = c * f * kernel**2
        if weights > MOST_WEIGHTS or weights * shape.oh * shape.ow > MOST_PRODUCTS or shape.is_depthwise:
            continue
        kept, zero_point = float(random.choice([0.1, 0.25, 0.5, 0.8, 1.0])), int(random.choice([0, -128, -128]))
        case = Case(shape, kept, element, seed=len(found), zero_point=zero_point)
        rescale = Sample.of(case).rescale
        if rescale is None or is_far(rescale):  # as in trained networks
            found.append(case)
    return found


def _between(bounds: Sequence[tuple[int, int]]) -> list[range]:
    return [range(*each) for each in bounds]


def with_plan(case: Case, isa: Isa, costs: Mapping[str, float], random: np.random.Generator) -> Case:
    """``case`` under one of the plans that the planner thinks best of a kernel, with padding skipped or without."""
    module = build_module([Sample.of(case)])
    (op,) = walk(module, CONV)
    conv = ConvView(op)
    plans = candidates(conv, isa, costs, "balanced")
    kinds = sorted({(plan.kernel, plan.skip_padding, plan.masked) for plan in plans})
    kind = kinds[int(random.integers(len(kinds)))]
    plans = [plan for plan in plans if (plan.kernel, plan.skip_padding, plan.masked) == kind]
    plans.sort(key=lambda plan: cost.estimate(conv, plan, isa, costs))
    return replace(case, plan=plans[int(random.integers(min(len(plans), 4)))])


def measure(samples: list[Sample], target: Target, isa: Isa) -> list[tuple[dict[str, int], int]]:
    """What each convolution does, and its instructions."""
    module = build_module(samples)
    views = [ConvView(op) for op in walk(module, CONV)]
    counts = [cost.counts(view, sample.case.plan, isa) for view, sample in zip(views, samples, strict=True)]
    return list(zip(counts, instructions(samples, target), strict=True))


def instructions(samples: list[Sample], target: Target) -> list[int]:
    """Those of each convolution."""
    if target is aarch64.TARGET:
        with tempfile.TemporaryDirectory() as folder:
            return aarch64.instructions(aarch64.build(samples, Path(folder)), samples)
    artifact = dtmm_mlir.compile(build_module(samples), target=target.name)
    run = qemu.run(artifact.dir, [[sample.x for sample in samples]])
    measured = {int(name.split("_")[1]): count for name, count in run.steps if name.startswith("filterlet_")}
    return [measured[number] for number in range(len(samples))]


def fit(rows: list[tuple[dict[str, int], int]], known: Mapping[str, float]) -> dict[str, float]:
    """Costs of at least zero that minimise the relative errors."""
    names = sorted(set(rows[0][0]) - set(known))
    counts = np.array([[count[name] / measured for name in names] for count, measured in rows])
    rest = np.array([1 - sum(known[name] * count[name] for name in known) / measured for count, measured in rows])
    active = np.ones(len(names), bool)
    while True:
        solution, *_ = np.linalg.lstsq(counts[:, active], rest, rcond=None)
        if (solution >= 0).all():
            break
        active[np.flatnonzero(active)[solution.argmin()]] = False
    values = np.zeros(len(names))
    values[active] = solution
    return dict(sorted({**known, **dict(zip(names, values.round(2).tolist(), strict=True))}.items()))


def echo_errors(
    name: str, samples: list[Sample], rows: list[tuple[dict[str, int], int]], costs: Mapping[str, float], verbose: bool
) -> None:
    """Prints how far predictions are off, and each convolution's if ``verbose``."""
    ratios = [sum(costs[k] * v for k, v in count.items()) / measured for count, measured in rows]
    if verbose:
        for sample, (_, measured), ratio in zip(samples, rows, ratios, strict=True):
            click.echo(f"{ratio:5.2f} {measured:9} {sample.case}")
    errors = np.abs(np.array(ratios) - 1)
    click.echo(f"{name}: errors median {np.median(errors):.1%}, largest {errors.max():.1%}")


def _target(name: str) -> Target:
    return aarch64.TARGET if name == aarch64.TARGET.name else get_target(name)


STOCK_CONV = """
func.func @main(%x: tensor<1x{size}x{size}x{c}xf32>) -> tensor<1x{size}x{size}x{f}xf32> {{
  %w = "tosa.const"() {{values = dense<"0x{weights}"> : tensor<{f}x{k}x{k}x{c}xf32>}}
    : () -> tensor<{f}x{k}x{k}x{c}xf32>
  %b = "tosa.const"() {{values = dense<1.0> : tensor<{f}xf32>}} : () -> tensor<{f}xf32>
  %z = "tosa.const"() {{values = dense<0.0> : tensor<1xf32>}} : () -> tensor<1xf32>
  %y = "tosa.conv2d"(%x, %w, %b, %z, %z) <{{acc_type = f32, pad = array<i64: {p}, {p}, {p}, {p}>,
    stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>}}> : (tensor<1x{size}x{size}x{c}xf32>,
    tensor<{f}x{k}x{k}x{c}xf32>, tensor<{f}xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<1x{size}x{size}x{f}xf32>
  return %y : tensor<1x{size}x{size}x{f}xf32>
}}
"""


def stock_per_multiplication(target: Target, k: int) -> float:
    """Instructions of stock IREE per multiplication of dense float convolutions of kernel size ``k``, the median."""
    random, found = np.random.default_rng(0), []
    for size, c, f in ((16, 16, 16), (16, 32, 32), (8, 64, 64)):
        weights = random.standard_normal((f, k, k, c)).astype(np.float32)
        text = STOCK_CONV.format(size=size, c=c, f=f, k=k, p=k // 2, weights=weights.tobytes().hex())
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "model.mlir")
            source.write_text(text)
            mcu.build(source, target, Path(folder, "out"))
            x = random.standard_normal((1, size, size, c)).astype(np.float32)
            instructions = qemu.run(Path(folder, "out"), [[x]]).instructions
        found.append(instructions / (size * size * f * k * k * c))
    return round(float(np.median(found)), 2)


@click.command()
@click.argument("targets", nargs=-1, required=True)
@click.option("--layers", default=480, show_default=True, help="Convolutions to measure per target.")
@click.option("--element", default="i8", show_default=True, type=click.Choice(["i8", "f32"]), help="Of the tensors.")
@click.option("-v", "--verbose", is_flag=True, help="Print each convolution.")
def main(targets: tuple[str, ...], layers: int, element: str, verbose: bool) -> None:
    """Measures convolutions on TARGETS and rewrites the costs of their instruction sets."""
    table = json.loads(COSTS.read_text())
    if element == "f32" and aarch64.TARGET.name in targets:
        raise click.UsageError("What stock IREE takes is measured on boards only, not on aarch64.")
    for name in targets:
        target, random = _target(name), np.random.default_rng(0)
        isa = isa_of(target.isa, target.vector_bytes)
        costs = table[target.isa][element]
        planned = [with_plan(case, isa, costs, random) for case in cases(random, layers, element)]
        samples = [Sample.of(case) for case in planned]
        rows = [row for at in range(0, len(samples), BATCH) for row in measure(samples[at : at + BATCH], target, isa)]
        known = KNOWN.get(target.isa, ()) if element == "i8" else ()
        fitted = fit(rows, {name: costs[name] for name in known})
        stock = {}
        if element == "f32":
            stock = {
                f"stock{suffix}": stock_per_multiplication(target, k) for suffix, k in (("", 3), ("_pointwise", 1))
            }
        table[target.isa][element] = fitted | stock
        echo_errors(name, samples, rows, fitted, verbose)
        COSTS.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
