"""The pictures of a report, as SVG and PNG to put into a page. Needs matplotlib (extra ``report``)."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable
from typing import Any

import matplotlib.axes
import matplotlib.lines
import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.patches import Patch, Rectangle

from dtmm_mlir.report.data import Report, Row

_STYLE: dict[str, Any] = {"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
_COLOURS = {
    "convolution": "#2a78d6",
    "dispatch": "#eb6834",
    "fill": "#8a8984",
    "copy": "#8a8984",
    "runtime": "#8a8984",
}
_TENSOR, _SCRATCH = "#2a78d6", "#eda100"
_GRID = "#d9d8d2"
_LABEL_LENGTH = 34
_LABELLED = 0.06
"""A tensor is labelled where it takes this share of the arena."""

_NO_METADATA: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def bars(report: Report) -> str:
    """Instructions of each row as SVG; for convolutions a mark where the cost model predicts them."""
    rows = [row for row in report.rows if row.cost]
    figure = Figure(figsize=(9, 0.8 + 0.24 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(rows))
    axes.barh(places, [row.cost or 0 for row in rows], color=[_COLOURS[row.kind] for row in rows], height=0.7)
    if report.is_counted:
        predicted = [(place, row.predicted) for place, row in zip(places, rows, strict=True) if row.predicted]
        axes.plot([count for _, count in predicted], [place for place, _ in predicted], "|", color="black", ms=9)
    axes.set_yticks(places, [label(row.name) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("instructions" if report.is_counted else "instructions, predicted")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    _legend(axes, rows, report.is_counted)
    _tidy(axes, "x")
    return _svg(figure, "bars")


def timeline(report: Report) -> str:
    """What lives where in the arena, step by step, as SVG."""
    steps = [row for row in report.rows if row.kind != "runtime"]
    arena = (report.ram or {}).get("arena", 0)
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot()
    for tensor in report.tensors:
        width = tensor.last - tensor.first + 1
        colour = _SCRATCH if tensor.is_scratch else _TENSOR
        place = (tensor.first - 0.5, tensor.offset)
        axes.add_patch(Rectangle(place, width, tensor.bytes, facecolor=colour, edgecolor="white", lw=1, alpha=0.85))
        if tensor.bytes > _LABELLED * arena:
            middle = (place[0] + width / 2, tensor.offset + tensor.bytes / 2)
            axes.annotate(f"{tensor.bytes:,}", middle, ha="center", va="center", fontsize=7, color="white")
    axes.axhline(arena, color="black", lw=1, ls="--")
    axes.set(xlim=(-0.5, len(steps) - 0.5), ylim=(0, max(arena, 1) * 1.02), ylabel="byte of the arena")
    axes.set_xticks(range(len(steps)), [label(row.name) for row in steps], rotation=90, fontsize=7)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    handles = [Patch(color=_TENSOR, label="tensor"), Patch(color=_SCRATCH, label="scratch of one step")]
    axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8, frameon=False)
    _tidy(axes, "y")
    return _svg(figure, "timeline")


def trade(report: Report) -> str:
    """Predicted instructions over stored bytes, for each goal of the planner, as SVG."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    points: dict[tuple[int, int], list[str]] = {}
    for goal in sorted(report.goals, key=lambda goal: goal.stored_bytes):
        points.setdefault((goal.stored_bytes, goal.instructions), []).append(goal.optimize)
    axes.plot(*zip(*points, strict=True), "o-", color=_TENSOR, ms=8, lw=1)
    for point, names in points.items():
        axes.annotate(", ".join(names), point, xytext=(8, 6), textcoords="offset points")
    axes.margins(0.25, 0.2)
    axes.set(xlabel="bytes of weights and indices", ylabel="instructions, predicted")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4))
    _tidy(axes, "both")
    return _svg(figure, "trade")


def pattern_png(kept: np.ndarray) -> str:
    """The filterlets of a layer as a data URI: a column per filter, a row per kernel position; dark ones are kept.

    Args:
        kept: [F, KH, KW] bool.
    """
    picture = np.where(kept.reshape(len(kept), -1).T[..., None], [42, 120, 214], [232, 231, 225]).astype(np.uint8)
    buffer = io.BytesIO()
    metadata: dict[str, Any] = {"Software": None}
    imsave(buffer, picture, format="png", metadata=metadata)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def label(name: str) -> str:
    """The end of a long name: that is where layers differ."""
    return name if len(name) <= _LABEL_LENGTH else f"…{name[1 - _LABEL_LENGTH :]}"


def _legend(axes: matplotlib.axes.Axes, rows: Iterable[Row], has_marks: bool) -> None:
    names = {"convolution": "convolutions", "dispatch": "other kernels", "runtime": "runtime"}
    kinds = {row.kind if row.kind in names else "runtime" for row in rows}
    handles: list = [Patch(color=_COLOURS[kind], label=name) for kind, name in names.items() if kind in kinds]
    if has_marks:
        handles.append(matplotlib.lines.Line2D([], [], ls="", marker="|", ms=9, color="black", label="predicted"))
    axes.legend(handles=handles, loc="lower right", fontsize=8, frameon=False)


def _tidy(axes: matplotlib.axes.Axes, grid: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color=_GRID, lw=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def _svg(figure: Figure, name: str) -> str:
    """The picture as an element for HTML: no prologue, no namespaces, ids of its own."""
    text = io.StringIO()
    style: dict[Any, Any] = {**_STYLE, "svg.hashsalt": f"dtmm-mlir-{name}"}
    with matplotlib.rc_context(style):
        figure.savefig(text, format="svg", metadata=_NO_METADATA)
    body = text.getvalue()
    body = body[body.index("<svg") :]
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", body)
    return re.sub(r'(\sid="|href="#|url\(#)', rf"\1{name}-", body)
