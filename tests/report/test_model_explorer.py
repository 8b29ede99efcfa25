"""Node data fit Model Explorer: its types, and the nodes it finds in the model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dtmm_mlir.errors import DtmmError
from dtmm_mlir.report import Report
from dtmm_mlir.report.model_explorer import GRAPH, node_data


def test_every_convolution_has_a_value(report: Report) -> None:
    data = node_data(report)[GRAPH]
    assert data["name"] == "instructions on cortex-m55"
    assert [entry["value"] for entry in data["results"].values()] == [r.instructions for r, _ in report.convolutions]
    assert [stop["stop"] for stop in data["gradient"]] == [0, 1]


def test_model_explorer_reads_it(report: Report) -> None:
    builder = pytest.importorskip("model_explorer.node_data_builder", reason="needs ai-edge-model-explorer")
    ours = node_data(report)
    graphs = {
        name: builder.GraphNodeData(
            results={key: builder.NodeDataResult(**value) for key, value in graph["results"].items()},
            name=graph["name"],
            gradient=[builder.GradientItem(**stop) for stop in graph["gradient"]],
        )
        for name, graph in ours.items()
    }
    theirs = json.loads(builder.ModelNodeData(graphs).to_json_string())
    assert theirs[GRAPH]["results"] == ours[GRAPH]["results"]
    assert theirs[GRAPH]["gradient"] == ours[GRAPH]["gradient"]


def test_model_explorer_finds_the_nodes(report: Report, models: Path) -> None:
    adapters = pytest.importorskip(
        "model_explorer.builtin_tflite_flatbuffer_adapter", reason="needs ai-edge-model-explorer"
    )
    file = str(models / "resnet12_cifar10.tflite")
    (collection,) = adapters.BuiltinTfliteFlatbufferAdapter().convert(file, {})["graphCollections"]
    (graph,) = collection.graphs
    outputs = [output for node in graph["nodes"] for output in node.get("outputsMetadata", [])]
    tensors = {entry["value"] for output in outputs for entry in output["attrs"] if entry["key"] == "tensor_name"}
    assert graph["id"] == GRAPH
    assert set(node_data(report)[GRAPH]["results"]) <= tensors


def test_a_model_without_names_is_refused(report: Report) -> None:
    rows = [replace(row, location="model.mlir:3:4") for row in report.rows]
    with pytest.raises(DtmmError, match="names no layers"):
        node_data(replace(report, rows=rows))
