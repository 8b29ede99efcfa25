"""``filterlet-plan``: chooses the kernel of every captured convolution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.ops import CONV, ConvView, Geometry
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.base import Pass
from dtmm_mlir.passes.cost import Convolution, costs_of, estimate, scratch_bytes, stored_bytes
from dtmm_mlir.passes.kernels.isa import Isa
from dtmm_mlir.passes.kernels.planes import PlaneLayout
from dtmm_mlir.passes.kernels.quads import LANES
from dtmm_mlir.passes.kernels.select import isa_of
from dtmm_mlir.passes.plan_file import read_plans
from dtmm_mlir.targets import get_target

Optimize = Literal["balanced", "speed", "size"]

_ROW_BUFFER_BYTES = 15 << 10
"""A row buffer takes no more than this where a single output row fits into it."""

_BUFFER_BYTES = 16 << 10
"""Row buffer, sums and list of passes take no more than this together, half of it sums and list."""

_PLANE_BYTES = 1 << 20
"""The planes of the ``pixel_lanes`` kernel take about no more than this."""

_LANES_SUMS = 16
"""Vectors of sums of the ``pixel_lanes`` kernel that stay in registers beside what is multiplied."""

_STRAIGHT: Mapping[str, int] = {"speed": 2000, "balanced": 900, "size": 90}
"""Instructions, about, of straight-line code."""

_BYTES_TO_SPARE = 1024
"""Bytes by which the weights of ``balanced`` may exceed nine eighths of the dense ones."""


@dataclass
class PlanKernels(Pass):
    """Adds a ``plan`` to every ``filterlet.conv_2d``; one that is there already is kept.

    Before ==> after::

        "filterlet.conv_2d"(%x, %w, %b) {...}
        "filterlet.conv_2d"(%x, %w, %b) {..., plan = {kernel = "table", pixels = 4, filters = 2, run_width = 3, ...}}

    Depthwise convolutions get the ``depthwise`` kernel, all others one of the other kernels. Which one,
    and its ``pixels``, ``filters``, ``run_width``, ``joined`` and ``dense``, minimise an estimate of the instructions;
    ``rows`` fills a row buffer of 15 KiB, or what the sums leave of 16 KiB.

    Attributes:
        target: name of the target that the kernels are for.
        optimize: ``speed``: the fewest instructions; ``balanced``: the fewest among the plans that store hardly
            more than the dense weights; ``size``: the fewest bytes, and short loops.
        plans: a JSON file that names plans, such as an artifact's manifest; the planner chooses for the layers where it
            names none.
    """

    name: ClassVar[str] = "filterlet-plan"
    target: str = "host"
    optimize: Optimize = "balanced"
    plans: str = ""

    def run(self, module: ir.Module) -> None:
        target = get_target(self.target)
        isa = isa_of(target.isa, target.vector_bytes)
        convs = [ConvView(op) for op in walk(module, CONV)]
        named = read_plans(Path(self.plans), len(convs)) if self.plans else [None] * len(convs)
        for conv, plan in zip(convs, named, strict=True):
            if plan or "plan" not in conv.op.attributes:
                plan = plan or choose(conv, isa, costs_of(target.isa, conv.element_type), self.optimize)
                conv.op.attributes["plan"] = plan.attribute()


def choose(conv: Convolution, isa: Isa, costs: Mapping[str, float], optimize: Optimize = "balanced") -> Plan:
    """The plan with the lowest estimate, within what ``optimize`` allows.

    Args:
        isa: what the kernel is written in.
        costs: of that, see ``cost.costs_of``.
    """
    g = conv.geometry
    if g.is_depthwise:
        pixels = min(range(1, min(4, g.ow) + 1), key=lambda p: (-(-g.ow // p) * (1 + 4 * p), -p))
        return Plan("depthwise", pixels, 1, 1, _rows(g, g.c * conv.weights.itemsize))

    plans = candidates(conv, isa, costs, optimize)
    bytes = {plan: stored_bytes(conv, plan, isa) for plan in plans}
    if optimize != "speed":
        least = min(bytes.values())
        most = least if optimize == "size" else max(least, conv.weights.nbytes * 9 // 8 + _BYTES_TO_SPARE)
        plans = [plan for plan in plans if bytes[plan] <= most]
    estimates = {plan: estimate(conv, plan, isa, costs) for plan in plans}

    def order(plan: Plan) -> tuple[float, ...]:
        return estimates[plan], bytes[plan], plan.dense, plan.filters, plan.run_width, plan.pixels

    best = min(plans, key=order)
    tables = [plan for plan in plans if plan.kernel == "table"]
    if not tables or not may_skip(conv, isa):
        return best
    skipping = replace(min(tables, key=order), skip_padding=1)
    return skipping if estimate(conv, skipping, isa, costs) < estimates[best] else best


def may_skip(conv: Convolution, isa: Isa) -> bool:
    """Whether there is padding that straight-line code can skip."""
    return conv.element_type == "i8" and isa.scalar_sums and bool(conv.geometry.padded_rows)


def candidates(conv: Convolution, isa: Isa, costs: Mapping[str, float], optimize: Optimize) -> list[Plan]:
    """The plans of the ``table`` kernel whose sums stay in registers, and those of kernels that only some ISAs have."""
    g, lanes = conv.geometry, isa.lanes(conv.element_type)
    plans = []
    for pixels, filters in product(range(1, min(8, g.ow) + 1), range(1, 2 if g.groups > 1 else min(4, g.f) + 1)):
        if pixels * filters > isa.accumulators:
            continue
        per_weights = costs["weights"] + pixels * (costs["mac"] + costs["data"] / 2)
        unrolled = max(1, int(_STRAIGHT[optimize] / per_weights))
        for width in range(1, g.kw + 1):
            for joined in _joinable(conv, width, lanes):
                whole = g.groups * -(-(g.group_channels - joined) // lanes) * lanes
                rows = _rows(g, (whole + joined) * isa.row_bytes(conv.element_type))
                for dense in (0, 1):
                    plans.append(Plan("table", pixels, filters, width, rows, joined, dense, unrolled))
    return plans + list(_input_stationary(conv, isa)) + list(_pixel_lanes(conv, isa))


def _pixel_lanes(conv: Convolution, isa: Isa) -> Iterator[Plan]:
    """The plans of that kernel whose sums stay in registers."""
    g = conv.geometry
    if not isa.pixel_lanes or conv.element_type != "i8" or g.groups > 1:
        return
    least = -(-LANES // g.ow)
    row_bytes = PlaneLayout(g, 1).size // PlaneLayout(g, 1).plane_rows
    if least > g.oh or least * row_bytes > _PLANE_BYTES:
        return
    rows = min(g.oh, _PLANE_BYTES // row_bytes)
    vectors = rows * g.ow // LANES
    for pixels, filters in product(range(1, min(8, vectors) + 1), range(1, min(8, g.f) + 1)):
        if pixels * filters <= _LANES_SUMS:
            for dense in (0, 1):
                yield Plan("pixel_lanes", pixels, filters, 1, rows, dense=dense)


def _input_stationary(conv: Convolution, isa: Isa) -> Iterator[Plan]:
    """The plans of that kernel, where sums and list of passes leave room for a row buffer."""
    g = conv.geometry
    if not isa.stationary_inputs or conv.element_type != "i8" or g.groups > 1:
        return
    channels = -(-g.c // LANES) * LANES
    several = [(g.ow, rows) for rows in range(2, 8 // g.ow + 1) if g.oh % rows == 0]
    for pixels, together in (*((pixels, 1) for pixels in range(1, min(8, g.ow) + 1)), *several):
        plan = Plan("input_stationary", pixels, 1, 1, together, pixel_rows=together)
        scratch = scratch_bytes(conv, plan)
        far = pixels == 1 or (isa.word_reach is not None and g.strides[1] * channels > isa.word_reach)
        if scratch > _BUFFER_BYTES // 2 or (pixels * together == 8 and far):
            continue
        rows = _rows(g, channels, _BUFFER_BYTES - LANES - scratch)
        yield replace(plan, rows=max(together, rows // together * together))


def _joinable(conv: Convolution, width: int, lanes: int) -> set[int]:
    """How many channels may be joined in runs of ``width``.

    Their activations are contiguous only without groups and dilation. A vector reads activations beyond its run and
    multiplies them by zero, which floats do not allow (inf * 0).
    """
    g = conv.geometry
    if conv.element_type != "i8" or g.groups > 1 or g.dilations[1] > 1 or width == 1 or g.c % lanes == 0:
        return {0}
    return {0, g.c} | ({g.c % 16} if width == g.kw else set())


def _rows(g: Geometry, pixel_bytes: int, bytes: int = _ROW_BUFFER_BYTES) -> int:
    """Output rows per refill of a row buffer of ``bytes``."""
    width = (g.ow - 1) * g.strides[1] + (g.kw - 1) * g.dilations[1] + 1
    available = bytes // (width * pixel_bytes)
    reach = (g.kh - 1) * g.dilations[0] + 1
    return int(np.clip((available - reach) // g.strides[0] + 1, 1, g.oh))
