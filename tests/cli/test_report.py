"""``dtmm-mlir analyze`` and ``dtmm-mlir report``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from dtmm_mlir.artifact import Artifact
from dtmm_mlir.report.data import SCHEMA_FILE
from tests.cli.test_broken_inputs import expect_error
from tests.conftest import Program

SCHEMA = json.loads(SCHEMA_FILE.read_text())
needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm", "cc"))), reason="needs the cross tools"
)


def test_analyze(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    model = models / "single_conv.tflite"
    child = dtmm_mlir("analyze", model, "--target", "cortex-m4", "--flash", "1K", "--ram", "64K")
    assert (child.returncode, child.stderr) == (0, "")
    assert "It does not fit." in child.stdout
    assert "of 65,536 bytes of the chip" in child.stdout
    assert "29 of 288" in child.stdout
    assert not list(tmp_path.iterdir())


def test_analyze_as_json(dtmm_mlir: Program, models: Path) -> None:
    child = dtmm_mlir("analyze", models / "single_conv.tflite", "--target", "cortex-m55", "--json")
    assert (child.returncode, child.stderr) == (0, "")
    report = json.loads(child.stdout)
    jsonschema.validate(report, SCHEMA)
    (row,) = report["rows"]
    assert row["instructions"] is None
    assert row["convolution"]["predicted_instructions"] > 0


@needs_tools
def test_report_writes_what_is_asked_for(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    np.save(tmp_path / "x.npy", np.load(models / "single_conv.npz")["inputs"][0])
    dtmm_mlir("compile", models / "single_conv.tflite", "--target", "cortex-m55", "-o", "out")
    files = ("--html", "report.html", "--model-explorer", "nodes.json")
    child = dtmm_mlir("report", "out", "--input", "x.npy", "--json", *files)
    assert (child.returncode, child.stderr) == (0, "")
    report = json.loads(child.stdout)
    jsonschema.validate(report, SCHEMA)
    assert sum(row["instructions"] for row in report["rows"]) == report["instructions"]
    assert report["rows"][0]["name"] in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "nodes.json").read_text())["main"]["results"]


def test_report_of_the_host(dtmm_mlir: Program, single_conv: Artifact) -> None:
    child = dtmm_mlir("report", single_conv.dir)
    assert (child.returncode, child.stderr) == (0, "")
    assert "times are not measured" in " ".join(child.stdout.split())


def test_errors(dtmm_mlir: Program, single_conv: Artifact, tmp_path: Path) -> None:
    expect_error(dtmm_mlir("report", tmp_path), "manifest.json is missing")
    expect_error(dtmm_mlir("report", single_conv.dir, "--html", "no/page.html"), "does not exist")
    child = dtmm_mlir("report", single_conv.dir, "--flash", "big")
    assert child.returncode == 2
    assert "256K" in child.stderr
    assert not list(tmp_path.iterdir())
