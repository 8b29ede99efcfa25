"""Faults are located errors and exit code 1; nothing crashes or hangs."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from tests.plugin import models
from tests.plugin.conftest import Compile


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("strides = array<i64: 1, 1>", "strides = array<i64: 0, 1>", "strides must be positive"),
        ("strides = array<i64: 1, 1>", "strides = 1 : i64", "expected base attribute 'builtin.dense_array'"),
        ("strides = array<i64: 1, 1>,", "", 'attribute "strides" is expected but not provided'),
        ("filterlet.conv_2d", "filterlet.conv_9d", "filterlet.conv_9d"),
        ("groups = 1", "groups = 3", "for 3 group(s)"),
        ("clamp = [5 : i32", "clamp = [500 : i32", "clamp"),
    ],
)
def test_wrong_ir(iree_compile: Compile, tmp_path: Path, right: str, wrong: str, message: str) -> None:
    source = models.CONV.replace(right, wrong)
    assert source != models.CONV
    result = iree_compile(source, tmp_path / "model.vmfb")
    assert result.returncode == 1
    assert re.search(rf"model\.mlir:\d+:\d+: error: .*{re.escape(message)}", result.stderr), result.stderr


@pytest.mark.parametrize("phase", ["input", "preprocessing", "global-optimization", "flow", "stream"])
def test_left_over_op(iree_compile: Compile, host_flags: list[str], tmp_path: Path, phase: str) -> None:
    flags = [*host_flags, f"--compile-from={phase}"]
    result = iree_compile(models.CONV, tmp_path / "model.vmfb", flags=flags)
    assert result.returncode == 1
    assert re.search(r"model\.mlir:\d+:\d+: error: ", result.stderr), result.stderr


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, "cannot be started: No such file"),
        ("echo garbage", "gave no valid answer"),
        ("true", "gave no valid answer"),
        (r"printf 'module\0garbage'", "a module that cannot be read"),
        (r"printf 'error\0loc(\0message\0'", "message"),
        (r"printf 'error\0\0message\0'", "message"),
        (r"printf 'error\0garbage'", "error: "),
        ("exit 3", "ended with exit code 3"),
        ("kill -SEGV $$", "was killed by signal 11"),
        ("exec sleep 60", "took longer than 1 s"),
    ],
)
def test_faulty_child(iree_compile: Compile, tmp_path: Path, script: str | None, message: str) -> None:
    python = tmp_path / "python"
    if script:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    result = iree_compile(models.linalg(), tmp_path / "model.vmfb", DTMM_MLIR_PYTHON=str(python), DTMM_MLIR_TIMEOUT="1")
    assert result.returncode == 1
    assert "error: " in result.stderr
    assert message in result.stderr


def test_pass_raises(iree_compile: Compile, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from dtmm_mlir.passes.pack import PackFilterlets\n"
        "def run(self, module):\n    raise ZeroDivisionError('as a test')\n"
        "PackFilterlets.run = run\n"
    )
    result = iree_compile(models.linalg(), tmp_path / "model.vmfb", PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    assert "error: dtmm-mlir failed inside (ZeroDivisionError: as a test); please report this" in result.stderr
    assert not (tmp_path / "model.vmfb").exists()


def test_read_only_temporary_folder(iree_compile: Compile, host_flags: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    temporary = str(folder) if os.getuid() else "/proc"  # root writes into any other folder
    result = iree_compile(
        models.linalg(), tmp_path / "x.mlir", flags=[*host_flags, "--compile-to=flow"], TMPDIR=temporary
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_other_abi(iree_compile: Compile, plugin: Path, tmp_path: Path) -> None:
    data = plugin.read_bytes()
    number = (0x27493EE2EDDC0611).to_bytes(8, "little")
    assert data.count(number) == 1
    patched = tmp_path / "patched.so"
    patched.write_bytes(data.replace(number, b"\1" * 8))
    result = iree_compile(models.linalg(), tmp_path / "model.vmfb", load=patched)
    assert result.returncode == 1
    assert "was built against plugin API headers" in result.stderr


CONSTANT_INPUT = models.CONV.replace("%x: tensor<1x5x5x4xi8>", "").replace(
    "  %weights =", "  %x = arith.constant dense<1> : tensor<1x5x5x4xi8>\n  %weights ="
)


def test_constant_input(iree_compile: Compile, tmp_path: Path, m4_flags: list[str]) -> None:
    """IREE evaluates it, with the host's own kernels only."""
    assert "arith.constant dense<1> : tensor<1x5x5x4xi8>" in CONSTANT_INPUT
    result = iree_compile(CONSTANT_INPUT, tmp_path / "model.vmfb", flags=m4_flags)
    assert result.returncode == 1
    assert re.search(r"model\.mlir:\d+:\d+: error: 'filterlet.conv_2d': its input is constant", result.stderr)
    result = iree_compile(CONSTANT_INPUT, tmp_path / "model.vmfb", flags=[*m4_flags, "--iree-opt-const-eval=false"])
    assert result.returncode == 0, result.stderr
    captured = (
        models.linalg("int8")
        .replace("%x: tensor<1x10x10x16xi8>", "")
        .replace("  %w =", "  %x = arith.constant dense<1> : tensor<1x10x10x16xi8>\n  %w =")
    )
    result = iree_compile(captured, tmp_path / "model.vmfb", flags=m4_flags)
    assert result.returncode == 0, result.stderr
    assert b"filterlet_0_" not in (tmp_path / "model.vmfb").read_bytes()
