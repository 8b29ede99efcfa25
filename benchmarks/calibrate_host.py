"""Fits the costs of the ``pixel_lanes`` kernel to times on this machine, one thread.

    python benchmarks/calibrate_host.py [--target x86-64-v3]

Random convolutions are compiled under random plans and run in turns; the fastest time of each is a sum of what
``passes/cost.py`` counts, times the costs in ``passes/costs.json``, and of a call. Only ratios matter to the planner:
the cost of a multiplication stays as it stands there, the other costs are rewritten.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from host import OURS, Engine, iree_engine, seconds_of

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from calibrate import COSTS, echo_errors, fit  # noqa: E402

import dtmm_mlir  # noqa: E402
from dtmm_mlir.artifact import HOST_MODULE  # noqa: E402
from dtmm_mlir.dialect.constants import walk  # noqa: E402
from dtmm_mlir.dialect.ops import CONV, ConvView  # noqa: E402
from dtmm_mlir.passes import cost  # noqa: E402
from dtmm_mlir.passes.kernels.isa import Isa  # noqa: E402
from dtmm_mlir.passes.kernels.select import isa_of  # noqa: E402
from dtmm_mlir.passes.plan import candidates  # noqa: E402
from dtmm_mlir.targets import HOST, X86_64_V3, Target, get_target  # noqa: E402
from tests.kernels.convolutions import Case, Sample, build_module, geometry  # noqa: E402

LEAST_PRODUCTS, MOST_PRODUCTS = 4_000_000, 60_000_000
"""Of one convolution: tens of microseconds, beside which a call takes few."""

UNIT = "lanes_multiplied"
"""The cost that the others are ratios to."""


def cases(random: np.random.Generator, count: int) -> list[Case]:
    """Convolutions that take long enough to be timed."""
    found = list[Case]()
    while len(found) < count:
        size, c, f = int(random.choice([4, 6, 8, 12, 16, 24, 32])), *map(int, random.integers(8, 160, 2))
        kernel, stride = int(random.choice([1, 3, 3, 5])), int(random.choice([1, 1, 2]))
        shape = geometry(size, size, c, f, kernel, strides=(stride, stride))
        kept = float(random.choice([0.1, 0.25, 0.5, 0.8, 0.9, 1.0]))
        products = shape.oh * shape.ow * f * kernel**2 * c * kept
        if LEAST_PRODUCTS <= products <= MOST_PRODUCTS:
            found.append(Case(shape, kept, seed=len(found), zero_point=-128))
    return found


def with_plan(case: Case, isa: Isa, costs: Mapping[str, float], random: np.random.Generator) -> Case | None:
    """``case`` under one of the plans of the kernel; None where it has none."""
    module = build_module([Sample.of(case)])
    (op,) = walk(module, CONV)
    plans = [plan for plan in candidates(ConvView(op), isa, costs, "balanced") if plan.kernel == "pixel_lanes"]
    return replace(case, plan=plans[int(random.integers(len(plans)))]) if plans else None


def prepare(sample: Sample, target: Target, isa: Isa, folder: Path) -> tuple[dict[str, int], Engine]:
    """What a convolution does, and what runs it."""
    module = build_module([sample])
    (op,) = walk(module, CONV)
    counts = cost.counts(ConvView(op), sample.case.plan, isa)
    artifact = dtmm_mlir.compile(module, out=folder, target=target.name)
    engine = iree_engine(OURS, artifact.dir / HOST_MODULE, artifact.manifest["entry"], sample.x)
    return {name: count for name, count in counts.items() if name.startswith("lanes_")} | {"call": 1}, engine


def fastest(engines: list[Engine], turns: int) -> list[int]:
    """Picoseconds of each."""
    times = [[seconds_of(engine, 100) for engine in engines] for _ in range(turns)]
    return [round(1e12 * seconds) for seconds in np.min(times, axis=0)]


@click.command()
@click.option("--target", "name", type=click.Choice([HOST.name, X86_64_V3.name]), default=HOST.name, show_default=True)
@click.option("--layers", default=240, show_default=True, help="Convolutions to measure.")
@click.option("--turns", default=20, show_default=True, help="Turns of each.")
@click.option("-v", "--verbose", is_flag=True, help="Print each convolution.")
def main(name: str, layers: int, turns: int, verbose: bool) -> None:
    """Measures convolutions on this machine and rewrites the costs of a target's instruction set."""
    target, table, random = get_target(name), json.loads(COSTS.read_text()), np.random.default_rng(0)
    isa = isa_of(target.isa, target.vector_bytes)
    if not isa.pixel_sums:
        raise click.ClickException(
            "This machine has neither AVX2 nor dot products, for which the pixel_lanes kernel is."
        )
    costs = table[target.isa]["i8"]
    planned = [with_plan(case, isa, costs, random) for case in cases(random, layers)]
    samples = [Sample.of(case) for case in planned if case]
    with tempfile.TemporaryDirectory() as folder:
        prepared = [prepare(sample, target, isa, Path(folder, str(number))) for number, sample in enumerate(samples)]
        picoseconds = fastest([engine for _, engine in prepared], turns)
    rows = [(counts, time) for (counts, _), time in zip(prepared, picoseconds, strict=True)]
    fitted = fit(rows, {})
    echo_errors(target.isa, samples, rows, fitted, verbose)
    click.echo(f"a call {fitted.pop('call') / 1000:.0f} ns, a multiplication {fitted[UNIT] / 1000:.3f} ns")
    costs |= {name: round(value / fitted[UNIT] * costs[UNIT], 2) for name, value in fitted.items()}
    COSTS.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
