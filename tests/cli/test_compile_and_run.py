"""``dtmm-mlir compile`` and ``run`` where all is well."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dtmm_mlir import Artifact, compile
from dtmm_mlir.compiler import ir_after
from tests.conftest import Program


def test_compile_then_run(dtmm_mlir: Program, models: Path, tmp_path: Path, single_conv_data: dict) -> None:
    np.save(tmp_path / "x.npy", single_conv_data["inputs"])
    child = dtmm_mlir("compile", models / "single_conv.tflite", "-o", "out")
    assert (child.returncode, child.stdout, child.stderr) == (0, "", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "x.npy"]
    child = dtmm_mlir("run", "out", "--input", "x.npy", "--output", "y.npy", "--json")
    assert (child.returncode, child.stderr) == (0, "")
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), single_conv_data["expected"])
    result = json.loads(child.stdout)
    assert (result["target"], result["runs"], result["instructions"]) == ("host", 16, None)
    assert result["outputs"] == [{"name": "Identity", "shape": [16, 1, 16, 16, 32], "dtype": "int8", "file": "y.npy"}]


def test_run_prints_a_summary(dtmm_mlir: Program, single_conv: Artifact, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 16, 16, 64), np.int8))
    child = dtmm_mlir("run", single_conv.dir, "--input", "x.npy")
    assert child.returncode == 0
    assert "single_conv.tflite on host: 1 inference(s)" in child.stdout


def test_older_artifact_is_replaced(dtmm_mlir: Program, models: Path, single_conv: Artifact, tmp_path: Path) -> None:
    copy = single_conv.save(tmp_path / "out")
    (copy.dir / "model.vmfb").write_bytes(b"")
    assert dtmm_mlir("compile", models / "single_conv.tflite", "-o", "out").returncode == 0
    assert (tmp_path / "out" / "model.vmfb").stat().st_size > 0


@pytest.mark.parametrize(
    ("phase", "text"),
    [
        ("import", "tosa.conv2d"),
        ("capture", "filterlet.conv_2d"),
        ("plan", "plan = {"),
        ("pack", "filterlet.packed_conv_2d"),
        ("lower", "stream.executable"),
        ("flow", "util.func"),
        ("executable-targets", "hal.executable"),
    ],
)
def test_compile_to(dtmm_mlir: Program, models: Path, phase: str, text: str) -> None:
    child = dtmm_mlir("compile", models / "single_conv.tflite", "--compile-to", phase)
    assert child.returncode == 0, child.stderr
    assert text in child.stdout


@pytest.mark.parametrize("phase", ["import", "capture", "plan", "pack", "lower"])
def test_ir_of_each_phase_is_a_model_again(models: Path, tmp_path: Path, single_conv_data: dict, phase: str) -> None:
    path = tmp_path / "again.mlir"
    path.write_text(ir_after(models / "single_conv.tflite", phase))
    outputs = compile(path).run(single_conv_data["inputs"])
    np.testing.assert_array_equal(outputs, single_conv_data["expected"])


def test_compile_to_folder(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    child = dtmm_mlir("compile", models / "single_conv.tflite", "--compile-to", "plan", "-o", "out")
    assert child.returncode == 0, child.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.json", "model.plan.mlir"]


def test_dumped_phases(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    child = dtmm_mlir("compile", models / "single_conv.tflite", "-o", "out", "--dump-compilation-phases-to", "phases")
    assert child.returncode == 0, child.stderr
    names = sorted(path.name for path in (tmp_path / "phases").iterdir())
    assert names[:5] == [
        f"single_conv.0.{number}.{phase}.mlir"
        for number, phase in enumerate(("import", "capture", "plan", "pack", "lower"))
    ]
    assert "single_conv.6.flow.mlir" in names


def test_flags_reach_iree_compile(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    flag = "--iree-hal-dump-executable-sources-to=sources"
    child = dtmm_mlir("compile", models / "single_conv.tflite", "-o", "out", "--", flag)
    assert child.returncode == 0, child.stderr
    assert list((tmp_path / "sources").iterdir())


def test_python_function(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    (tmp_path / "my_models.py").write_text(f"def small(): return {str(models / 'single_conv.tflite')!r}\n")
    assert dtmm_mlir("compile", "my_models:small", "-o", "out").returncode == 0


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("compile", "--help"), ("run", "-h")])
def test_help(dtmm_mlir: Program, arguments: tuple) -> None:
    child = dtmm_mlir(*arguments)
    assert (child.returncode, child.stderr) == (0, "")
    assert "dtmm-mlir" in child.stdout
