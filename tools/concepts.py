"""The figures of the documentation, drawn from what the passes really make."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import func
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.dialect.ops import CONV, PACKED_CONV, Geometry, PackedConvView
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.captured import Conv
from dtmm_mlir.passes.pack import PackFilterlets

KEPT = np.array([[1, 0, 0, 1, 1, 0, 0, 0, 1], [0, 1, 0, 0, 1, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0, 0, 0, 0]], bool)
"""[filters, kernel positions] of the example: three 3x3 filters."""

_COLOURS = ("#2a78d6", "#eb6834", "#1a9e77")
_PRUNED = "#e8e7e1"


def pruning() -> str:
    """Three filters with their filterlets, kept ones in colour."""
    figure = Figure(figsize=(7.5, 2.6))
    for number, (kept, colour) in enumerate(zip(KEPT, _COLOURS, strict=True)):
        axes = figure.add_subplot(1, 3, number + 1)
        for position, is_kept in enumerate(kept):
            y, x = divmod(position, 3)
            axes.add_patch(Rectangle((x, 2 - y), 0.94, 0.94, color=colour if is_kept else _PRUNED))
            text = "white" if is_kept else "grey"
            axes.text(x + 0.47, 2.47 - y, str(position), ha="center", va="center", color=text)
        axes.set(xlim=(0, 3), ylim=(0, 3), aspect="equal", title=f"filter {number}: {kept.sum()} of 9 kept")
        axes.axis("off")
    return _svg(figure)


def storage() -> str:
    """The same filters in FWCS, as ``filterlet-pack`` stores them with one filter per block and runs of one."""
    positions, counts = pack()
    figure = Figure(figsize=(7.5, 2.4))
    axes = figure.add_subplot()
    owners = np.repeat(np.arange(len(counts)), counts)
    for place, (position, owner) in enumerate(zip(positions, owners, strict=True)):
        _cell(axes, place, 2, "C weights", _COLOURS[owner], 7)
        _cell(axes, place, 1, str(position), _COLOURS[owner])
    for owner, count in enumerate(counts):
        _cell(axes, owner, 0, str(count), _COLOURS[owner])
    for row, name in enumerate(("counts", "positions", "values")):
        axes.text(-0.2, row + 0.4, name, ha="right", va="center")
    axes.set(xlim=(-1.6, len(positions)), ylim=(-0.1, 3))
    axes.axis("off")
    return _svg(figure)


def pack() -> tuple[list[int], list[int]]:
    """Positions and counts that the pass makes of ``KEPT``."""
    weights = np.repeat(KEPT.reshape(3, 3, 3, 1), 4, axis=3).astype(np.int8)
    geometry = Geometry(1, 5, 5, 4, 3, 3, 3, (1, 1), (1, 1), (0, 0, 0, 0), 1)
    with create_context(), ir.Location.unknown():
        module = ir.Module.create()
        kind = ir.RankedTensorType.get([1, 5, 5, 4], ir.IntegerType.get_signless(8))
        with ir.InsertionPoint(module.body):
            function = func.FuncOp("layer", ([kind], []))
        block = function.add_entry_block()
        with ir.InsertionPoint(block):
            g = geometry
            result = Conv(
                block.arguments[0], weights, np.zeros(3, np.int32), g.strides, g.dilations, g.pads, 1
            ).create()
            func.ReturnOp([result])
            function.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get([kind], [result.type]))
        for op in walk(module, CONV):
            op.attributes["plan"] = Plan("table", 1, 1, 1, 1).attribute()
        PackFilterlets()(module)
        (packed,) = (PackedConvView(op) for op in walk(module, PACKED_CONV))
        return packed.positions.tolist(), packed.counts.tolist()


FIGURES = {"figures/pruning.svg": pruning, "figures/storage.svg": storage}


def _cell(axes: matplotlib.axes.Axes, x: float, y: float, text: str, colour: str, size: int = 9) -> None:
    axes.add_patch(Rectangle((x, y), 0.94, 0.8, color=colour))
    axes.text(x + 0.47, y + 0.4, text, ha="center", va="center", color="white", fontsize=size)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dtmm-mlir"}):
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    return text.getvalue()
