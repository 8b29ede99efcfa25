"""``filterlet-plan``: chooses the kernel of every captured convolution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.ops import CONV, ConvView, Geometry
from dtmm_mlir.dialect.plan import Kernel, Plan
from dtmm_mlir.passes.base import Pass
from dtmm_mlir.passes.kernels.isa import Costs, Isa
from dtmm_mlir.passes.kernels.select import isa_of
from dtmm_mlir.passes.runs import cover
from dtmm_mlir.targets import get_target

_ROW_BUFFER_BYTES = 8 << 10
"""A row buffer takes no more than this where a single output row fits into it."""

_RUN_OVERHEAD = 5
"""Instructions per run beside its loads and multiplications."""

_FILTER_OVERHEAD = 14
"""Instructions per filter of a block beside those per result."""

_RESULT_OVERHEAD = 6
"""Instructions per result of requantizing and storing it."""

_PARTIAL_OVERHEAD = 8
"""Further instructions per filter where the pixels do not fill a vector of four."""

_NEAR_WEIGHTS = 16
"""Vectors of weights of one run that a pointer reaches; each further one takes an addition."""


@dataclass
class PlanKernels(Pass):
    """Adds a ``plan`` to every ``filterlet.conv_2d``; one that is there already is kept.

    Before ==> after::

        "filterlet.conv_2d"(%x, %w, %b) {...}
        "filterlet.conv_2d"(%x, %w, %b) {..., plan = {kernel = "table", pixels = 3, filters = 2, run_width = 3, ...}}

    Depthwise convolutions get the ``depthwise`` kernel, those of few channels ``joined``, all others ``table``.
    ``pixels``, ``filters`` and ``run_width`` minimise an estimate of the instructions; ``rows`` fills a row buffer of
    8 KiB.

    Attributes:
        target: name of the target that the kernels are for.
    """

    name: ClassVar[str] = "filterlet-plan"
    target: str = "host"

    def run(self, module: ir.Module) -> None:
        target = get_target(self.target)
        isa = isa_of(target.isa, target.vector_bytes)
        for op in walk(module, CONV):
            if "plan" not in op.attributes:
                conv = ConvView(op)
                op.attributes["plan"] = choose(conv, isa).attribute()


def choose(conv: ConvView, isa: Isa) -> Plan:
    """The plan with the lowest estimate.

    Args:
        isa: what the kernel is written in.
    """
    g, lanes = conv.geometry, isa.lanes(conv.element_type)
    if g.is_depthwise:
        pixels = min(_pixels(g), key=lambda p: (-(-g.ow // p) * (1 + 4 * p), -p))
        return Plan("depthwise", pixels, 1, 1, _rows(g, g.c * _bytes(conv)))
    kernel: Kernel = "joined" if _joins(conv, lanes) else "table"
    filters = range(1, 2 if g.groups > 1 else min(4, g.f) + 1)
    estimates = {}
    for width, count in product(range(1, g.kw + 1), filters):
        plan = Plan(kernel, 1, count, width, 1)
        starts = [plan.first_filter(block, g.f) for block in range(plan.blocks(g.f))]
        kept = conv.kept[np.add.outer(starts, np.arange(count))].any(axis=1)
        runs = len(cover(kept, width))
        for pixels in _pixels(g):
            if pixels * count <= isa.costs.accumulators:
                plan = replace(plan, pixels=pixels)
                estimates[plan] = _estimate(g, plan, runs, lanes, isa.costs)
    best = min(estimates, key=lambda plan: (estimates[plan], plan.filters, plan.run_width))
    padded = g.c if kernel == "joined" else g.groups * -(-g.group_channels // lanes) * lanes
    return replace(best, rows=_rows(g, padded * _bytes(conv)))


def _estimate(g: Geometry, plan: Plan, runs: int, lanes: int, costs: Costs) -> int:
    """Instructions of a convolution whose filter blocks have ``runs`` runs in all."""
    pixels, filters, width = plan.pixels, plan.filters, plan.run_width
    blocks = -(-g.ow // pixels) * g.oh
    if plan.kernel == "joined":
        per_vector = costs.operand * (pixels + filters) + costs.mac * pixels * filters
        run = -(-width * g.c // lanes) * per_vector
    else:
        columns = {p * g.strides[1] + k * g.dilations[1] for p in range(pixels) for k in range(width)}
        run = -(-g.group_channels // lanes) * (
            costs.operand * (len(columns) + width * filters) + costs.mac * width * filters * pixels
        )
    weights = filters * -(-width * g.group_channels // lanes)
    run += max(0, weights - _NEAR_WEIGHTS)
    partial = 0 if pixels == 4 else _PARTIAL_OVERHEAD
    results = plan.blocks(g.f) * filters * (_FILTER_OVERHEAD + partial + _RESULT_OVERHEAD * pixels)
    return blocks * (runs * (_RUN_OVERHEAD + run) + results)


def _joins(conv: ConvView, lanes: int) -> bool:
    """Whether neighbouring filterlets are to be multiplied as one vector.

    Their activations are contiguous only without groups and dilation. A vector reads activations beyond its run and
    multiplies them by zero, which floats do not allow (inf * 0).
    """
    g = conv.geometry
    plain = conv.element_type == "i8" and g.groups == 1 and g.dilations[1] == 1
    return plain and g.c < lanes and g.kw > 1


def _pixels(g: Geometry) -> range:
    """How many neighbouring pixels may be computed together."""
    return range(1, min(4, g.ow) + 1)


def _rows(g: Geometry, pixel_bytes: int) -> int:
    """Output rows per refill of a row buffer of ``_ROW_BUFFER_BYTES``."""
    width = (g.ow - 1) * g.strides[1] + (g.kw - 1) * g.dilations[1] + 1
    available = _ROW_BUFFER_BYTES // (width * pixel_bytes)
    reach = (g.kh - 1) * g.dilations[0] + 1
    return int(np.clip((available - reach) // g.strides[0] + 1, 1, g.oh))


def _bytes(conv: ConvView) -> int:
    return 1 if conv.element_type == "i8" else 4
