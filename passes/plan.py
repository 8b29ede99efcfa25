"""``filterlet-plan``: chooses the kernel of every captured convolution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.ops import CONV, ConvView, Geometry
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.base import Pass
from dtmm_mlir.passes.kernels.isa import Isa
from dtmm_mlir.passes.kernels.select import isa_of
from dtmm_mlir.passes.runs import cover
from dtmm_mlir.targets import get_target

_ROW_BUFFER_BYTES = 15 << 10
"""A row buffer takes no more than this where a single output row fits into it."""


@dataclass
class PlanKernels(Pass):
    """Adds a ``plan`` to every ``filterlet.conv_2d``; one that is there already is kept.

    Before ==> after::

        "filterlet.conv_2d"(%x, %w, %b) {...}
        "filterlet.conv_2d"(%x, %w, %b) {..., plan = {kernel = "table", pixels = 3, filters = 2, run_width = 3, ...}}

    Depthwise convolutions get the ``depthwise`` kernel, all others ``table``. ``pixels``, ``filters``, ``run_width``
    and ``joined`` minimise an estimate of the instructions; ``rows`` fills a row buffer of 15 KiB.

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
        pixels = min(range(1, min(4, g.ow) + 1), key=lambda p: (-(-g.ow // p) * (1 + 4 * p), -p))
        return Plan("depthwise", pixels, 1, 1, _rows(g, g.c * (1 if conv.element_type == "i8" else 4)))
    estimates = {plan: estimate(conv, plan, isa) for plan in _candidates(conv, isa)}
    best = min(estimates, key=lambda plan: (estimates[plan], plan.filters, plan.run_width, plan.pixels))
    whole = g.groups * -(-(g.group_channels - best.joined) // lanes) * lanes
    return replace(best, rows=_rows(g, (whole + best.joined) * isa.row_bytes(conv.element_type)))


def _candidates(conv: ConvView, isa: Isa) -> Iterator[Plan]:
    """The plans whose sums stay in registers."""
    g, most = conv.geometry, isa.costs.accumulators
    for pixels, filters in product(range(1, min(8, g.ow) + 1), range(1, 2 if g.groups > 1 else min(4, g.f) + 1)):
        if pixels * filters <= most:
            for width in range(1, g.kw + 1):
                for joined in _joinable(conv, width, isa.lanes(conv.element_type)):
                    yield Plan("table", pixels, filters, width, 1, joined)


def _joinable(conv: ConvView, width: int, lanes: int) -> set[int]:
    """How many channels may be joined in runs of ``width``.

    Their activations are contiguous only without groups and dilation. A vector reads activations beyond its run and
    multiplies them by zero, which floats do not allow (inf * 0). Lanes of a vector that divide 16 see no difference.
    """
    g = conv.geometry
    if conv.element_type != "i8" or g.groups > 1 or g.dilations[1] > 1 or width == 1 or g.c % lanes == 0:
        return {0}
    return {0, g.c} | ({g.c % 16} if width == g.kw else set())


def estimate(conv: ConvView, plan: Plan, isa: Isa) -> int:
    """Instructions of a convolution under a plan of the ``table`` kernel."""
    g, costs, lanes = conv.geometry, isa.costs, isa.lanes(conv.element_type)
    pixels, filters, width = plan.pixels, plan.filters, plan.run_width
    starts = [plan.first_filter(block, g.f) for block in range(plan.blocks(g.f))]
    kept = conv.kept[np.add.outer(starts, np.arange(filters))].any(axis=1)
    runs = len(cover(kept, width))
    columns = {p * g.strides[1] + k * g.dilations[1] for p in range(pixels) for k in range(width)}
    macs = costs.mac * pixels * filters
    run = -(-(g.group_channels - plan.joined) // lanes) * (
        costs.data * len(columns) + costs.weights * width * filters + macs * width
    )
    run += -(-width * plan.joined // lanes) * (costs.joined * pixels + costs.weights * filters + macs)
    regular = bool((kept == kept[0]).all())
    run += costs.same_run if regular else costs.own_run
    results = pixels // 4 * costs.results + (costs.few_results if pixels % 4 else 0)
    block = costs.block + (0 if regular else costs.own_block) + filters * (costs.filter + results)
    return -(-g.ow // pixels) * g.oh * (runs * run + len(starts) * block)


def _rows(g: Geometry, pixel_bytes: int) -> int:
    """Output rows per refill of a row buffer of ``_ROW_BUFFER_BYTES``."""
    width = (g.ow - 1) * g.strides[1] + (g.kw - 1) * g.dilations[1] + 1
    available = _ROW_BUFFER_BYTES // (width * pixel_bytes)
    reach = (g.kh - 1) * g.dilations[0] + 1
    return int(np.clip((available - reach) // g.strides[0] + 1, 1, g.oh))
