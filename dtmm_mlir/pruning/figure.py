"""A picture of what a search found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def draw_front(path: Path, front: Sequence[dict[str, Any]], dense: int, chosen: dict[str, Any]) -> None:
    """Writes an SVG of the validation loss over the predicted instructions of the networks that no other one beats.

    Args:
        front: ``loss`` and ``instructions`` of each.
        dense: instructions of the network before pruning, as measured.
        chosen: ``loss`` and predicted ``instructions`` of the one that was fine-tuned.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "dtmm-mlir"}):  # the same picture for the same figures
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([p["instructions"] / dense for p in front], [p["loss"] for p in front], "o-", label="best found")
        axes.plot(chosen["instructions"] / dense, chosen["loss"], "s", markersize=9, label="fine-tuned")
        axes.set_xlabel("instructions, of the dense network's (predicted)")
        axes.set_ylabel("validation loss after a short training")
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(path, format="svg", metadata={"Date": None})
