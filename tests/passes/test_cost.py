"""The planner's estimates beside instructions counted in QEMU."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import dtmm_mlir
from dtmm_mlir.deploy import qemu
from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.dialect.ops import CONV, ConvView
from dtmm_mlir.dialect.plan import Kernel, Plan
from dtmm_mlir.frontends import import_model
from dtmm_mlir.passes.cost import costs_of, estimate
from dtmm_mlir.passes.kernels.select import isa_of
from dtmm_mlir.passes.pipeline import make_step, run_pipeline
from dtmm_mlir.passes.plan import choose
from dtmm_mlir.targets import get_target
from tests.kernels.convolutions import Case, Sample, build_module, geometry

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm", "cc"))),
    reason="needs the cross compiler, QEMU and a C compiler",
)


def predictions(model: Path, name: str) -> list[float]:
    """The estimate for each convolution."""
    target = get_target(name)
    isa, costs = isa_of(target.isa, target.vector_bytes), costs_of(target.isa)
    module = import_model(model, create_context(), None)
    steps = (("filterlet-capture", ""), ("filterlet-remove-channels", ""), ("filterlet-plan", f"target={name}"))
    run_pipeline(module, [make_step(*step) for step in steps])
    convs = [ConvView(op) for op in walk(module, CONV)]
    return [estimate(conv, Plan.read(conv.op.attributes["plan"]), isa, costs) for conv in convs]


@pytest.mark.parametrize("name", ["resnet12_cifar10", "vgg11_cifar10"])
def test_convolutions_take_what_was_predicted(models: Path, name: str) -> None:
    target, model = "cortex-m55", models / f"{name}.tflite"
    artifact = dtmm_mlir.compile(model, target=target)
    run = qemu.run(artifact.dir, [[np.load(models / f"{name}.npz")["inputs"][0]]])
    if run.counter != qemu.EXACT:
        pytest.skip("QEMU has no plugins here")
    counted = [count for step, count in run.steps if step.startswith("filterlet_")]
    layers = zip(predictions(model, target), counted, artifact.manifest["layers"], strict=True)
    ratios = {i: predicted / count for i, (predicted, count, layer) in enumerate(layers) if layer["kind"] != "linear"}
    assert all(0.9 < ratio < 1.1 for ratio in ratios.values()), ratios


@pytest.mark.parametrize("pixels", [3, 7, 8])
@pytest.mark.parametrize(("channels", "width", "skip"), [(16, 1, 0), (40, 1, 0), (112, 1, 0), (40, 3, 0), (48, 3, 1)])
def test_input_stationary_kernel_takes_what_was_predicted(pixels: int, channels: int, width: int, skip: int) -> None:
    plan = Plan("input_stationary", pixels, 1, width, 4, unrolled=8, skip_padding=skip)
    check([Case(geometry(8, 16, channels, 24), kept, plan=plan) for kept in (0.1, 0.4, 0.8)], "cortex-m55")


@pytest.mark.parametrize("kept", [0.15, 0.5, 0.9])
def test_linear_kernel_takes_what_was_predicted(kept: float) -> None:
    shapes = [geometry(1, 1, 256, 64, 1), geometry(1, 1, 100, 130, 1), geometry(4, 4, 64, 50, 1)]
    plans = [Plan("linear", min(2, shape.w), 4, 1, 2) for shape in shapes]
    cases = [Case(shape, kept, seed=1, plan=plan) for shape, plan in zip(shapes, plans, strict=True)]
    check(cases, "cortex-m55")


SHAPES = [
    (geometry(28, 28, 1, 16), 1.0),
    (geometry(16, 16, 18, 24, 1), 0.5),
    (geometry(25, 5, 40, 24, 1), 1.0),
    (geometry(8, 8, 40, 24), 0.25),
    (geometry(8, 8, 48, 24, strides=(2, 2)), 0.6),
    (geometry(4, 4, 51, 40), 0.3),
    (geometry(3, 3, 36, 20), 0.8),
    (geometry(12, 12, 9, 8, 5), 0.4),
]
"""Convolutions, small ones too, and the share of filterlets that they keep."""


@pytest.mark.parametrize(
    "name", ["cortex-m55", "cortex-m33", "cortex-m7", "cortex-m4", "cortex-m3", "cortex-m0plus", "riscv32"]
)
def test_convolutions_of_every_target_take_what_was_predicted(name: str) -> None:
    skip_without_qemu(name)
    target = get_target(name)
    isa, costs = isa_of(target.isa, target.vector_bytes), costs_of(target.isa)
    cases = [Case(shape, kept, seed=1, zero_point=-128) for shape, kept in SHAPES]
    module = build_module([Sample.of(case) for case in cases])
    plans = [choose(ConvView(op), isa, costs) for op in walk(module, CONV)]
    check([replace(case, plan=plan) for case, plan in zip(cases, plans, strict=True)], name)


@pytest.mark.parametrize(("kernel", "widths"), [("pairs", (1, 1, 3, 1, 3)), ("mixed", (3, 3, 3, 3, 3))])
@pytest.mark.parametrize("name", ["riscv32", "cortex-m3", "cortex-m4"])
def test_kernels_of_several_runs_take_what_was_predicted(name: str, kernel: Kernel, widths: tuple[int, ...]) -> None:
    skip_without_qemu(name)
    kinds = zip((2, 4, 4, 2, 4), widths, (0, 0, 0, 1, 1), strict=True)
    plans = [Plan(kernel, pixels, 1, width, 4, unrolled=30, skip_padding=skip) for pixels, width, skip in kinds]
    shapes = [(24, 0.2), (40, 0.5), (33, 0.9)]
    check([Case(geometry(8, 8, c, 9), kept, plan=plan) for plan in plans for c, kept in shapes], name)


def skip_without_qemu(name: str) -> None:
    board = get_target(name).board
    if board is None or shutil.which(board.qemu) is None:
        pytest.skip("needs QEMU for this target")


def check(cases: list[Case], name: str) -> None:
    """Estimates are within a tenth of what is counted."""
    target = get_target(name)
    isa, costs = isa_of(target.isa, target.vector_bytes), costs_of(target.isa)
    samples = [Sample.of(case) for case in cases]
    module = build_module(samples)
    convs = [ConvView(op) for op in walk(module, CONV)]
    predicted = [estimate(conv, Plan.read(conv.op.attributes["plan"]), isa, costs) for conv in convs]
    artifact = dtmm_mlir.compile(module, target=name)
    run = qemu.run(artifact.dir, [[sample.x for sample in samples]])
    if run.counter != qemu.EXACT:
        pytest.skip("QEMU has no plugins here")
    counted = [count for step, count in run.steps if step.startswith("filterlet_")]
    ratios = [estimated / count for estimated, count in zip(predicted, counted, strict=True)]
    assert all(0.9 < ratio < 1.1 for ratio in ratios), ratios
