"""Figures for Model Explorer (ai-edge-model-explorer): node data to load beside the ``.tflite`` model.

Its format is that of ``model_explorer.node_data_builder``: a file holds graphs by name, each with ``results`` by node;
a node is named by its id or by one of its output tensors, and TFLite's tensors are what our locations name.
"""

from __future__ import annotations

import re
from typing import Any

from dtmm_mlir.errors import DtmmError
from dtmm_mlir.report.data import Report, Row

GRAPH = "main"
"""Model Explorer's name of the only graph of a ``.tflite`` model."""

_QUOTED = re.compile(r'"(?P<name>.*)"')
_GRADIENT = [{"stop": 0, "bgColor": "#f3f2ec"}, {"stop": 1, "bgColor": "#eb6834"}]


def node_data(report: Report) -> dict[str, Any]:
    """Node data with each convolution's instructions: counted, or predicted where nothing was counted.

    Raises:
        DtmmError: the model names no layers, so that Model Explorer could not find them.
    """
    rows = [row for row, _ in report.convolutions if row.cost is not None]
    results = {tensor: {"value": row.cost} for row in rows if (tensor := tensor_name(row))}
    if not results:
        raise DtmmError("the model names no layers with known instructions, so Model Explorer could not find any.")
    how = "instructions" if report.is_counted else "instructions, predicted"
    return {GRAPH: {"name": f"{how} on {report.target}", "results": results, "gradient": _GRADIENT}}


def tensor_name(row: Row) -> str | None:
    """The output tensor of a layer, as the model names it."""
    match = _QUOTED.match(row.location or "")
    return match["name"] if match else None
