"""Whatever is wrong, a user reads one paragraph, gets a non-zero exit code, and finds nothing half-written."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dtmm_mlir import Artifact
from tests.conftest import Program, program

BAD_FILTERLET_OP = """
func.func @main(%x: tensor<1x4x4x2xi8>, %w: tensor<3x1x1x2xi8>, %b: tensor<3xi32>) -> tensor<1x4x4x3xi32> {
  %0 = "filterlet.conv_2d"(%x, %w, %b) {strides = array<i64: 1, 1>} :
    (tensor<1x4x4x2xi8>, tensor<3x1x1x2xi8>, tensor<3xi32>) -> tensor<1x4x4x3xi32>
  return %0 : tensor<1x4x4x3xi32>
}
"""

INCONSISTENT_FILTERLET_OP = """
func.func @main(%x: tensor<1x4x4x2xi8>) -> tensor<1x4x4x3xi32> {
  %w = arith.constant dense<1> : tensor<3x1x1x2xi8>
  %b = arith.constant dense<1> : tensor<4xi32>
  %0 = "filterlet.conv_2d"(%x, %w, %b) {
    strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64,
    input_zero_point = 0 : i32, rescale, clamp
  } : (tensor<1x4x4x2xi8>, tensor<3x1x1x2xi8>, tensor<4xi32>) -> tensor<1x4x4x3xi32>
  return %0 : tensor<1x4x4x3xi32>
}
"""

NAN_WEIGHTS = """
func.func @main(%x: tensor<1x4x4x1xf32>) -> tensor<1x4x4x2xf32> {
  %w = arith.constant dense<[[[[0x7FC00000, 1.0]]]]> : tensor<1x1x1x2xf32>
  %z = arith.constant dense<0.0> : tensor<1x4x4x2xf32>
  %0 = linalg.conv_2d_nhwc_hwcf ins(%x, %w : tensor<1x4x4x1xf32>, tensor<1x1x1x2xf32>)
    outs(%z : tensor<1x4x4x2xf32>) -> tensor<1x4x4x2xf32>
  return %0 : tensor<1x4x4x2xf32>
}
"""


def expect_error(child: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
    """The program failed with one paragraph that says ``words``."""
    assert child.returncode == code, child.stderr
    assert child.stdout == ""
    assert child.stderr.startswith("error: ")
    assert "Traceback" not in child.stderr
    assert child.stderr.count("\n") == 1
    for word in words:
        assert word in child.stderr


def expect_only(folder: Path, *names: str) -> None:
    """``folder`` holds ``names`` and nothing else, hidden files included."""
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_truncated_tflite(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    pytest.importorskip("tflite")
    data = (models / "single_conv.tflite").read_bytes()
    for size in (0, 4, 100, len(data) // 2, len(data) - 1000):
        (tmp_path / "model.tflite").write_bytes(data[:size])
        expect_error(dtmm_mlir("compile", "model.tflite", "-o", "out"), "model.tflite")
        expect_only(tmp_path, "model.tflite")


def test_pt2_of_another_version(dtmm_mlir: Program, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        archive.writestr("model/archive_format", "pt2")
        archive.writestr("model/archive_version", "9999")
        archive.writestr("model/models/model.json", '{"schema_version": {"major": 9999, "minor": 0}}')
    expect_error(dtmm_mlir("compile", "model.pt2", "-o", "out"), "model.pt2")
    expect_only(tmp_path, "model.pt2")


def test_bad_filterlet_op(dtmm_mlir: Program, tmp_path: Path) -> None:
    (tmp_path / "model.mlir").write_text(BAD_FILTERLET_OP)
    expect_error(dtmm_mlir("compile", "model.mlir", "-o", "out"), "model.mlir:3:8", "is expected but not provided")
    (tmp_path / "model.mlir").write_text(INCONSISTENT_FILTERLET_OP)
    expect_error(dtmm_mlir("compile", "model.mlir", "-o", "out"), "model.mlir:5:8", "bias must have 3 elements")
    expect_only(tmp_path, "model.mlir")


def test_nan_weights(dtmm_mlir: Program, tmp_path: Path) -> None:
    (tmp_path / "model.mlir").write_text(NAN_WEIGHTS)
    expect_error(dtmm_mlir("compile", "model.mlir", "-o", "out"), "model.mlir:3:8", "1 of the 2 values", "NaN")
    expect_only(tmp_path, "model.mlir")


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((1, 16, 16, 64), np.float64, ("float64", "takes int8")),
        ((1, 16, 16, 64), np.uint8, ("uint8", "takes int8")),
        ((1, 16, 16, 63), np.int8, ("1x16x16x63", "takes 1x16x16x64")),
        ((16, 16, 64), np.int8, ("16x16x64", "takes 1x16x16x64")),
        ((0, 1, 16, 16, 64), np.int8, ("empty",)),
    ],
)
def test_wrong_input(
    dtmm_mlir: Program, single_conv: Artifact, tmp_path: Path, shape: tuple, dtype: type, words: tuple
) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape, dtype))
    expect_error(dtmm_mlir("run", single_conv.dir, "--input", "x.npy", "--output", "y.npy"), *words)
    expect_only(tmp_path, "x.npy")


def test_input_is_no_npy(dtmm_mlir: Program, single_conv: Artifact, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_text("hello")
    expect_error(dtmm_mlir("run", single_conv.dir, "--input", "x.npy", "--output", "y.npy"), "x.npy")
    expect_only(tmp_path, "x.npy")


def test_unknown_target(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    child = dtmm_mlir("compile", models / "single_conv.tflite", "--target", "z80", "-o", "out")
    expect_error(child, "z80", "cortex-m55", "host")
    expect_only(tmp_path)


def test_missing_tool(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path)}
    child = dtmm_mlir("compile", models / "single_conv.tflite", "--target", "cortex-m55", "-o", "out", env=environment)
    expect_error(child, "arm-none-eabi")
    expect_only(tmp_path)


def test_output_below_a_file(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    expect_error(dtmm_mlir("compile", models / "single_conv.tflite", "-o", "file/out"), "file")
    expect_error(dtmm_mlir("compile", models / "single_conv.tflite", "-o", "file"), "it is a file")
    expect_only(tmp_path, "file")


def test_read_only_output(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    """The permissions of a folder are respected even for root, who could ignore them."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    for output in (locked, locked / "out", locked / "deeper" / "out"):
        expect_error(dtmm_mlir("compile", models / "single_conv.tflite", "-o", output), "read-only")
    expect_only(locked)
    expect_error(dtmm_mlir("compile", models / "single_conv.tflite", "-o", "/proc/dtmm/out"), "/proc")


def test_output_holds_something_else(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.tex").write_text("")
    expect_error(dtmm_mlir("compile", models / "single_conv.tflite", "-o", "papers"), "no artifact")
    expect_error(dtmm_mlir("compile", models / "single_conv.tflite", "-o", "."), "the working directory")
    expect_only(tmp_path, "papers")
    expect_only(tmp_path / "papers", "thesis.tex")


def test_failure_keeps_the_older_artifact(
    dtmm_mlir: Program, single_conv: Artifact, models: Path, tmp_path: Path
) -> None:
    single_conv.save(tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    child = dtmm_mlir("compile", models / "single_conv.tflite", "-o", "out", "--", "--no-such-flag")
    expect_error(child, "no-such-flag")
    expect_only(tmp_path, "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_compile(models: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    command = program("compile", models / "resnet12_cifar10.tflite", "-o", "deep/out")
    child = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("deep/.out.*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(1.5)  # now iree-compile runs
    child.send_signal(number)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == code
    assert "Traceback" not in errors
    expect_only(tmp_path)


def test_interrupted_background_job(models: Path, tmp_path: Path) -> None:
    """A script's background job starts with SIGINT ignored."""
    command = shlex.join(program("compile", models / "resnet12_cifar10.tflite", "-o", "out"))
    script = f"{command} & sleep 2; kill -INT $!; wait $!"
    child = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert child.returncode == 130
    assert "Traceback" not in child.stderr
    expect_only(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("disguise", ["RuntimeError", "DtmmError"])
def test_interrupted_within_a_library(number: signal.Signals, disguise: str) -> None:
    """C++ that calls back makes another exception of the one that a signal's handler raised."""
    code = f"""
import click, os, dtmm_mlir.cli.program as program
from dtmm_mlir.errors import DtmmError
@click.command()
def compile():
    try: os.kill(os.getpid(), {number.value})
    except BaseException as error: raise {disguise}(repr(error))
program.run_program(compile, [], "compile")
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.returncode == 128 + number
    assert child.stderr == "error: interrupted.\n"


def test_no_artifact(dtmm_mlir: Program, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(1))
    expect_error(dtmm_mlir("run", "nowhere", "--input", "x.npy"), "manifest.json is missing")


def test_flags_that_are_ours(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    for flag in ("--compile-to=flow", "-o=elsewhere"):
        child = dtmm_mlir("compile", models / "single_conv.tflite", "-o", "out", "--", flag)
        expect_error(child, flag, "use its own option")
    expect_only(tmp_path)


def test_missing_file(dtmm_mlir: Program) -> None:
    expect_error(dtmm_mlir("compile", "nothing.tflite", "-o", "out"), "no such file")
    expect_error(dtmm_mlir("compile", "model.onnx", "-o", "out"), "no such file")
    expect_error(dtmm_mlir("compile", "no_module:function", "-o", "out"), "no_module")


def test_unexpected_exception_is_one_paragraph(tmp_path: Path) -> None:
    code = """
import click, dtmm_mlir.cli.program as program
@click.command()
def broken(): raise ZeroDivisionError("oh\\nno")
program.run_program(broken, [], "broken")
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    expect_error(child, "unexpected ZeroDivisionError: oh no", "DTMM_MLIR_DEBUG=1")
    environment = {**os.environ, "DTMM_MLIR_DEBUG": "1"}
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "Traceback" in child.stderr


def test_usage_errors(dtmm_mlir: Program, models: Path) -> None:
    for arguments in (
        ("compile",),
        ("compile", "x.mlir"),
        ("compile", "x.mlir", "stray", "-o", "out"),
        ("frobnicate",),
    ):
        child = dtmm_mlir(*arguments)
        assert child.returncode == 2, child.stderr
        assert "Usage:" in child.stderr
