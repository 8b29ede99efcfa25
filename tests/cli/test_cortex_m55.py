"""The command line with a microcontroller as the target."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from dtmm_mlir.manifest import SCHEMA_FILE
from tests.cli.test_broken_inputs import expect_error
from tests.conftest import Program

TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm")
pytestmark = pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {' and '.join(TOOLS)}")

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


def test_compile_then_run(dtmm_mlir: Program, models: Path, tmp_path: Path, single_conv_data: dict) -> None:
    np.save(tmp_path / "x.npy", single_conv_data["inputs"])
    child = dtmm_mlir("compile", models / "single_conv.tflite", "--target", "cortex-m55", "-o", "out")
    assert (child.returncode, child.stdout, child.stderr) == (0, "", "")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    jsonschema.validate(manifest, json.loads(SCHEMA_FILE.read_text()))
    assert 0 < manifest["flash_bytes"] <= manifest["memory"]["firmware_flash"]
    assert 0 < manifest["arena_bytes"] <= manifest["memory"]["firmware_ram"]
    child = dtmm_mlir("run", "out", "--input", "x.npy", "--output", "y.npy", "--json")
    assert (child.returncode, child.stderr) == (0, "")
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), single_conv_data["expected"])
    result = json.loads(child.stdout)
    assert (result["target"], result["runs"]) == ("cortex-m55", 16)
    assert 0 < result["instructions"] < 300_000
    child = dtmm_mlir("run", "out", "--input", "x.npy", env={**os.environ, "PATH": str(tmp_path)})
    expect_error(child, "qemu-system-arm", "apt install")


@pytest.mark.parametrize("phase", ["lower", "executable-targets", "vm"])
def test_compile_to(dtmm_mlir: Program, models: Path, phase: str) -> None:
    child = dtmm_mlir("compile", models / "single_conv.tflite", "--target", "cortex-m55", "--compile-to", phase)
    assert child.returncode == 0, child.stderr
    assert "module" in child.stdout


def test_dumped_phases(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    model = models / "single_conv.tflite"
    arguments = ("--target", "cortex-m55", "-o", "out", "--dump-compilation-phases-to", "phases")
    child = dtmm_mlir("compile", model, *arguments)
    assert child.returncode == 0, child.stderr
    phases = {path.name.split(".")[-2] for path in (tmp_path / "phases").iterdir()}
    assert {"import", "lower", "flow", "executable-targets", "vm"} <= phases


def test_demo() -> None:
    command = [sys.executable, str(DEMO), "--model", "single_conv", "--inputs", "1"]
    child = subprocess.run(command, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    assert "29 / 288" in child.stdout
    assert child.stdout.count("yes") == 2
