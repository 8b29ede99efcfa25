"""``filterlet-plan``: chooses the kernel of every captured convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.ops import CONV, ConvView, Geometry
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.base import Pass
from dtmm_mlir.passes.kernels.isa import isa_of
from dtmm_mlir.passes.runs import cover
from dtmm_mlir.targets import get_target

_ROW_BUFFER_BYTES = 8 << 10
"""A row buffer takes no more than this where a single output row fits into it."""

_RUN_OVERHEAD = 5
"""Instructions per run beside its loads and multiplications."""


@dataclass
class PlanKernels(Pass):
    """Adds a ``plan`` to every ``filterlet.conv_2d``; one that is there already is kept.

    Before ==> after::

        "filterlet.conv_2d"(%x, %w, %b) {...}
        "filterlet.conv_2d"(%x, %w, %b) {..., plan = {kernel = "table", pixels = 4, rows = 5, run_width = 1}}

    Depthwise convolutions get the ``depthwise`` kernel, all others ``table``. ``run_width`` and ``pixels`` minimise an
    estimate of the instructions in the innermost loops; ``rows`` fills a row buffer of 8 KiB.

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
                op.attributes["plan"] = choose(conv, isa.lanes(conv.element_type)).attribute()


def choose(conv: ConvView, lanes: int) -> Plan:
    """The plan with the lowest estimate.

    Args:
        lanes: elements multiplied at once along the channels.
    """
    g = conv.geometry
    if g.is_depthwise:
        return Plan("depthwise", _pixels(g, lambda p: 1 + 4 * p), 1, _rows(g, g.c * _bytes(conv)))
    candidates = []
    for run_width in _run_widths(conv):
        runs = len(cover(conv.kept, run_width))
        vectors = -(-run_width * g.group_channels // lanes)
        pixels = _pixels(g, lambda p, v=vectors: _RUN_OVERHEAD + v * (1 + 2 * p))
        cost = -(-g.ow // pixels) * runs * (_RUN_OVERHEAD + vectors * (1 + 2 * pixels))
        candidates.append((cost, run_width, pixels))
    _, run_width, pixels = min(candidates)
    padded = g.c if run_width > 1 else g.groups * -(-g.group_channels // lanes) * lanes
    return Plan("table", pixels, run_width, _rows(g, padded * _bytes(conv)))


def _run_widths(conv: ConvView) -> range:
    """Widths worth trying: neighbouring filterlets are contiguous only without groups and dilation.

    Longer runs read activations beyond their end and multiply them by zero, which floats do not allow (inf * 0).
    """
    g = conv.geometry
    if conv.element_type != "i8" or g.groups > 1 or g.dilations[1] > 1:
        return range(1, 2)
    return range(1, g.kw + 1)


def _pixels(g: Geometry, cost) -> int:
    """How many neighbouring pixels to compute together, the last block overlapping where needed."""
    widths = range(1, min(4, g.ow) + 1)
    return min(widths, key=lambda p: (-(-g.ow // p) * cost(p), -p))


def _rows(g: Geometry, pixel_bytes: int) -> int:
    """Output rows per refill of a row buffer of ``_ROW_BUFFER_BYTES``."""
    width = (g.ow - 1) * g.strides[1] + (g.kw - 1) * g.dilations[1] + 1
    available = _ROW_BUFFER_BYTES // (width * pixel_bytes)
    reach = (g.kh - 1) * g.dilations[0] + 1
    return int(np.clip((available - reach) // g.strides[0] + 1, 1, g.oh))


def _bytes(conv: ConvView) -> int:
    return 1 if conv.element_type == "i8" else 4
