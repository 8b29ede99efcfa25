"""Models compile and run with the plug-in as without it; faults are located errors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from iree import runtime

from tests.plugin.conftest import Compile

ROOT = Path(__file__).parents[2]
PACKED, CONV = (
    next(
        text
        for text in re.findall(r"```mlir\n(.*?)```", (ROOT / "docs/dialect.md").read_text(), re.DOTALL)
        if op in text
    )
    for op in ("filterlet.packed_conv_2d", '"filterlet.conv_2d"')
)
LINALG = """
func.func @main(%x: tensor<1x10x10x4xTYPE>) -> tensor<1x8x8x2xSUM> {
  %w = arith.constant dense<WEIGHT> : tensor<3x3x4x2xTYPE>
  %zero = arith.constant ZERO : SUM
  %empty = tensor.empty() : tensor<1x8x8x2xSUM>
  %init = linalg.fill ins(%zero : SUM) outs(%empty : tensor<1x8x8x2xSUM>) -> tensor<1x8x8x2xSUM>
  %y = linalg.conv_2d_nhwc_hwcf ins(%x, %w : tensor<1x10x10x4xTYPE>, tensor<3x3x4x2xTYPE>)
    outs(%init : tensor<1x8x8x2xSUM>) -> tensor<1x8x8x2xSUM>
  return %y : tensor<1x8x8x2xSUM>
}
"""
FLOAT = LINALG.replace("TYPE", "f32").replace("SUM", "f32").replace("WEIGHT", "0.5").replace("ZERO", "0.0")
INT8 = LINALG.replace("TYPE", "i8").replace("SUM", "i32").replace("WEIGHT", "3").replace("ZERO", "0")
TORCH = """
func.func @main(%x: !torch.vtensor<[1,4,10,10],f32>) -> !torch.vtensor<[1,2,8,8],f32> {
  %w = torch.vtensor.literal(dense<0.5> : tensor<2x4x3x3xf32>) : !torch.vtensor<[2,4,3,3],f32>
  %b = torch.vtensor.literal(dense<1.0> : tensor<2xf32>) : !torch.vtensor<[2],f32>
  %zero = torch.constant.int 0
  %one = torch.constant.int 1
  %false = torch.constant.bool false
  %ones = torch.prim.ListConstruct %one, %one : (!torch.int, !torch.int) -> !torch.list<int>
  %zeros = torch.prim.ListConstruct %zero, %zero : (!torch.int, !torch.int) -> !torch.list<int>
  %none = torch.prim.ListConstruct : () -> !torch.list<int>
  %y = torch.aten.convolution %x, %w, %b, %ones, %zeros, %ones, %false, %none, %one :
    !torch.vtensor<[1,4,10,10],f32>, !torch.vtensor<[2,4,3,3],f32>, !torch.vtensor<[2],f32>, !torch.list<int>,
    !torch.list<int>, !torch.list<int>, !torch.bool, !torch.list<int>, !torch.int -> !torch.vtensor<[1,2,8,8],f32>
  return %y : !torch.vtensor<[1,2,8,8],f32>
}
"""
NO_CONV = "func.func @f(%a: tensor<4xf32>) -> tensor<4xf32> {\n  return %a : tensor<4xf32>\n}\n"


def run(path: Path, x: np.ndarray) -> np.ndarray:
    module = runtime.load_vm_flatbuffer_file(str(path), driver="local-sync")
    return module.main(x).to_host()


@pytest.mark.parametrize(
    ("source", "shape", "dtype"),
    [(FLOAT, (1, 10, 10, 4), "float32"), (INT8, (1, 10, 10, 4), "int8"), (TORCH, (1, 4, 10, 10), "float32")],
    ids=["linalg-f32", "linalg-int8", "torch"],
)
def test_same_result(iree_compile: Compile, tmp_path: Path, source: str, shape: tuple[int, ...], dtype: str) -> None:
    ours, stock = tmp_path / "ours.vmfb", tmp_path / "stock.vmfb"
    for output, keywords in ((ours, {}), (stock, {"load": None})):
        result = iree_compile(source, output, **keywords)
        assert result.returncode == 0, result.stderr
    assert b"filterlet_0_" in ours.read_bytes()
    x = np.random.default_rng(0).integers(-100, 100, shape).astype(dtype)
    np.testing.assert_array_equal(run(ours, x), run(stock, x))


@pytest.mark.parametrize("source", [CONV, PACKED], ids=["conv", "packed"])
def test_filterlet_ir(iree_compile: Compile, tmp_path: Path, source: str) -> None:
    result = iree_compile(source, tmp_path / "model.vmfb")
    assert (result.returncode, result.stderr) == (0, "")
    assert b"filterlet_0_" in (tmp_path / "model.vmfb").read_bytes()


def test_bit_identical_without_convolution(iree_compile: Compile, tmp_path: Path) -> None:
    ours, stock = tmp_path / "ours.vmfb", tmp_path / "stock.vmfb"
    assert iree_compile(NO_CONV, ours, DTMM_MLIR_PYTHON="/nonexistent").returncode == 0
    assert iree_compile(NO_CONV, stock, load=None).returncode == 0
    assert ours.read_bytes() == stock.read_bytes()


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("strides = array<i64: 1, 1>", "strides = array<i64: 0, 1>", "strides must be positive"),
        ("filterlet.conv_2d", "filterlet.conv_9d", "filterlet.conv_9d"),
        ("filterlet.conv_2d", "strange.conv_2d", "no such operation is registered"),
        ("groups = 1", "groups = 3", "for 3 group(s)"),
        ("clamp = [5 : i32", "clamp = [500 : i32", "clamp"),
    ],
)
def test_wrong_ir(iree_compile: Compile, tmp_path: Path, right: str, wrong: str, message: str) -> None:
    result = iree_compile(CONV.replace(right, wrong), tmp_path / "model.vmfb")
    assert result.returncode == 1
    assert re.search(rf"model\.mlir:\d+:\d+: error: .*{re.escape(message)}", result.stderr), result.stderr


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, "cannot be started: No such file"),
        ("echo garbage", "gave no valid answer"),
        ("true", "gave no valid answer"),
        (r"printf 'module\0garbage'", "a module that cannot be read"),
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
    result = iree_compile(FLOAT, tmp_path / "model.vmfb", DTMM_MLIR_PYTHON=str(python), DTMM_MLIR_TIMEOUT="1")
    assert result.returncode == 1
    assert "error: dtmm-mlir plug-in" in result.stderr
    assert message in result.stderr


def test_other_abi(iree_compile: Compile, plugin: Path, tmp_path: Path) -> None:
    data = plugin.read_bytes()
    number = (0x27493EE2EDDC0611).to_bytes(8, "little")
    assert data.count(number) == 1
    patched = tmp_path / "patched.so"
    patched.write_bytes(data.replace(number, b"\1" * 8))
    result = iree_compile(FLOAT, tmp_path / "model.vmfb", load=patched)
    assert result.returncode == 1
    assert "was built against plugin API headers" in result.stderr


EXAMPLES = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/plugin.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_documented_example(plugin: Path, tmp_path: Path, number: int) -> None:
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"OUT": str(tmp_path), "PATH": programs}
    command = ["bash", "-euo", "pipefail", "-c", EXAMPLES[number]]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    (output,) = tmp_path.glob("*.vmfb")
    assert output.stat().st_size > 0
    if number == 1:
        assert "[19][19]" in result.stdout
    if number == 2:
        assert b"filterlet_0_" in (tmp_path / "m55.o").read_bytes()
