"""The benchmarks on the smallest model: what they write, not how long anything takes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

import dtmm_mlir
from dtmm_mlir.targets import get_target
from tests.deploy.conftest import need_tools

pytest.importorskip("tosa_converter_for_tflite")

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "examples" / "models" / "single_conv.tflite"

needs_cross_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm"))), reason="needs the cross compiler and QEMU"
)


def run(program: str, *arguments: str, model: bool = True) -> str:
    only = ("--model", "single_conv") if model else ()
    command = [sys.executable, str(ROOT / "benchmarks" / f"{program}.py"), *only, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def read(file: Path) -> list[dict[str, Any]]:
    record = json.loads(file.read_text())
    assert record["schema_version"] == 1
    assert record["versions"]["iree-base-compiler"]
    return record["results"]


@needs_cross_tools
def test_instructions_and_flash(tmp_path: Path) -> None:
    run("instructions", "--target", "cortex-m55", "--stock", "--json", str(tmp_path / "record.json"))
    (result,) = read(tmp_path / "record.json")
    (layer,) = result["layers"]
    assert layer["instructions"] < result["instructions"] < layer["instructions"] + 1000
    assert (layer["kept"], layer["total"], layer["peer"]) == (29, 288, 376156)
    assert result["stock"] > result["instructions"]
    assert result["flash"]["weights"] >= 29 * 64
    assert 0 < layer["flash"]["code"] < result["flash"]["code"]
    assert result["ram"]["buffers"] == 16 * 16 * (64 + 32)


def test_host_engines_agree(tmp_path: Path) -> None:
    run("host", "--turns", "1", "--pruned", "0.5", "--json", str(tmp_path / "record.json"))
    results = {result["engine"]: result for result in read(tmp_path / "record.json")}
    assert {"dtmm-mlir", "IREE"} <= set(results)
    assert results["dtmm-mlir"]["ratio"] == 1
    assert results["dtmm-mlir"]["largest_difference"] == results["IREE"]["largest_difference"] == 0
    assert all(result["milliseconds"] >= result["fastest"] > 0 for result in results.values())


@pytest.mark.parametrize("model", ["resnet12_vww", "vgg11_cifar10"])
def test_onnx_model_computes_what_the_tflite_model_does(
    model: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """About: ONNX Runtime scales sums in f32, so that any activation may be off by one."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from onnx_model import onnx_model

    data = np.load(models / f"{model}.npz")
    session = onnxruntime.InferenceSession(onnx_model((models / f"{model}.tflite").read_bytes()))
    (x,), (output,) = session.get_inputs(), session.run(None, {"t0": data["inputs"][0].view(np.uint8) ^ 128})
    assert x.name == "t0"
    assert np.abs((output ^ 128).view(np.int8).astype(int) - data["expected"][0]).max() <= 4


@needs_cross_tools
def test_sweep(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run("sweep", "--share", "0.5", "--out", str(tmp_path))
    dense, half = read(tmp_path / "sweep_cortex-m55.json")
    assert (dense["kept"], half["kept"], half["total"]) == (288, 144, 288)
    assert half["macs"] * 2 == dense["macs"]
    assert half["cost"] < dense["cost"]
    assert "16x16x64" in (tmp_path / "sweep_cortex-m55.svg").read_text()


@needs_cross_tools
def test_depthwise(tmp_path: Path) -> None:
    run("depthwise", "--target", "cortex-m55", "--json", str(tmp_path / "record.json"), model=False)
    results = read(tmp_path / "record.json")
    counts = {(r["size"], r["stride"]): r["per_result"]["cortex-m55"] for r in results}
    assert 5 < counts[12, 1] < counts[12, 2] < 12


def test_pruning_keeps_the_asked_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from pruning import prune

    model = MODEL.read_bytes()
    assert prune(model, 0.0) == prune(model, 1.0, channels=1000) == model
    pruned = prune(model, 1.0)
    changed = np.flatnonzero(np.frombuffer(model, np.uint8) != np.frombuffer(pruned, np.uint8))
    assert len(pruned) == len(model)
    assert 0 < len(changed) <= 29 * 64
    assert not any(pruned[i] for i in changed)


@pytest.mark.parametrize(("target", "share"), [("cortex-m55", 0.1), ("cortex-m4", 0.05), ("riscv32", 0.05)])
def test_code_takes_no_more_than_pruning_frees(
    target: str, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that is pruned a little: its flash is at most the unpruned weights and 3 KB for each kernel."""
    need_tools(get_target(target))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from pruning import prune

    (tmp_path / "pruned.tflite").write_bytes(prune(MODEL.with_name("vgg11_cifar10.tflite").read_bytes(), share))
    artifact = dtmm_mlir.compile(tmp_path / "pruned.tflite", target=target, out=tmp_path / "out")
    memory, layers = artifact.manifest["memory"], artifact.manifest["layers"]
    unpruned = sum(
        layer["output_shape"][3] * layer["input_shape"][3] * int(np.prod(layer["kernel"])) for layer in layers
    )
    with (tmp_path / "out" / "model_library.o").open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab").iter_symbols()
        kernels = {
            symbol.name for symbol in symbols if symbol.name.startswith(("filterlet_", "int8_", "main_dispatch"))
        }
    flash = sum(memory[part] for part in ("kernels", "constants", "runtime", "schedule"))
    assert len(kernels) >= 15
    assert flash <= unpruned + 3072 * len(kernels)
