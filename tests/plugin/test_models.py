"""Models compile and run with the plug-in as without it."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from iree import runtime

import dtmm_mlir
from dtmm_mlir.compiler import ir_after
from dtmm_mlir.deploy import mcu, qemu
from dtmm_mlir.iree_compile import tool
from dtmm_mlir.targets import get_target
from tests.plugin import models as sources
from tests.plugin.conftest import Compile

REGISTER_TOLERANCE = 1e-3
"""Of a step's instructions: LLVM chooses other registers around the inner loops of a module that comes another way."""


def run(path: Path, x: np.ndarray, function: str = "main") -> np.ndarray:
    return runtime.load_vm_flatbuffer_file(str(path), driver="local-sync")[function](x).to_host()


@pytest.mark.parametrize(
    ("source", "shape", "dtype"),
    [
        (sources.linalg(), (1, 10, 10, 16), "float32"),
        (sources.linalg("int8"), (1, 10, 10, 16), "int8"),
        (sources.torch(), (1, 16, 10, 10), "float32"),
    ],
    ids=["linalg-f32", "linalg-int8", "torch"],
)
def test_same_result(iree_compile: Compile, tmp_path: Path, source: str, shape: tuple[int, ...], dtype: str) -> None:
    ours, stock = tmp_path / "ours.vmfb", tmp_path / "stock.vmfb"
    for output, keywords in ((ours, {}), (stock, {"load": None})):
        result = iree_compile(source, output, **keywords)
        assert (result.returncode, result.stderr) == (0, "")
    assert b"filterlet_0_" in ours.read_bytes()
    x = np.random.default_rng(0).integers(-100, 100, shape).astype(dtype)
    np.testing.assert_array_equal(run(ours, x), run(stock, x))


@pytest.fixture(scope="module")
def tosa(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    """A pruned int8 ResNet in TOSA, as bytecode."""
    folder = tmp_path_factory.mktemp("tosa")
    text, bytecode = folder / "model.mlir", folder / "model.mlirbc"
    text.write_text(ir_after(models / "resnet12_cifar10.tflite", "import"))
    subprocess.run([tool("iree-opt"), text, "--emit-bytecode", "-o", bytecode], check=True)
    return bytecode


def test_tosa_bytecode(iree_compile: Compile, tmp_path: Path, models: Path, tosa: Path) -> None:
    output = tmp_path / "model.vmfb"
    result = iree_compile(tosa, output)
    assert result.returncode == 0, result.stderr
    artifact = dtmm_mlir.compile(models / "resnet12_cifar10.tflite")
    layers = len(artifact.manifest["layers"])
    assert b"filterlet_%d_" % (layers - 1) in output.read_bytes()
    data = np.load(models / "resnet12_cifar10.npz")
    np.testing.assert_array_equal(run(output, data["inputs"][0]), data["expected"][0])


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="needs the cross compiler")
@pytest.mark.skipif(not shutil.which("qemu-system-arm"), reason="needs QEMU")
def test_as_many_instructions_as_dtmm_mlir(tmp_path: Path, models: Path, tosa: Path, plugin: Path) -> None:
    target = get_target("cortex-m55")
    mcu.build(tosa, target, tmp_path / "out", iree_flags=[f"--iree-load-plugin={plugin}"])
    data = np.load(models / "resnet12_cifar10.npz")
    cases = [[data["inputs"][0]]]
    ours = qemu.run(tmp_path / "out", cases)
    np.testing.assert_array_equal(ours.outputs[0][0], data["expected"][0])
    artifact = dtmm_mlir.compile(models / "resnet12_cifar10.tflite", target=target.name)
    assert [step for step, _ in ours.steps if step.startswith("filterlet")]
    expected = qemu.run(artifact.dir, cases)
    assert [step for step, _ in ours.steps] == [step for step, _ in expected.steps]
    for (step, count), (_, reference) in zip(ours.steps, expected.steps, strict=True):
        assert count == pytest.approx(reference, rel=REGISTER_TOLERANCE), step


@pytest.mark.parametrize("source", [sources.CONV, sources.PACKED], ids=["conv", "packed"])
def test_filterlet_ir(iree_compile: Compile, tmp_path: Path, source: str) -> None:
    result = iree_compile(source, tmp_path / "model.vmfb")
    assert (result.returncode, result.stderr) == (0, "")
    assert b"filterlet_0_" in (tmp_path / "model.vmfb").read_bytes()


@pytest.mark.parametrize("source", [sources.NO_CONV, sources.TORCH_NO_CONV], ids=["linalg", "torch"])
def test_bit_identical_without_convolution(iree_compile: Compile, tmp_path: Path, source: str) -> None:
    ours, stock = tmp_path / "ours.vmfb", tmp_path / "stock.vmfb"
    assert iree_compile(source, ours, DTMM_MLIR_PYTHON="/nonexistent").returncode == 0
    assert iree_compile(source, stock, load=None).returncode == 0
    assert ours.read_bytes() == stock.read_bytes()


@pytest.mark.parametrize("phase", ["input", "flow", "executable-targets", "vm"])
def test_phases(iree_compile: Compile, host_flags: list[str], tmp_path: Path, phase: str) -> None:
    output, dump = tmp_path / "model.mlir", tmp_path / "dump"
    flags = [*host_flags, f"--compile-to={phase}", f"--dump-compilation-phases-to={dump}"]
    assert iree_compile(sources.linalg(), output, flags=flags).returncode == 0
    assert "filterlet_0_" in output.read_text()
    assert [path for path in dump.iterdir() if phase in path.name]


def test_at_once(plugin: Path, host_flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "model.mlir").write_text(sources.linalg())

    def compile(number: int) -> bytes:
        output = tmp_path / f"{number}.vmfb"
        command = [tool(), tmp_path / "model.mlir", "-o", output, f"--iree-load-plugin={plugin}", *host_flags]
        subprocess.run(command, check=True)
        return output.read_bytes()

    with ThreadPoolExecutor(4) as pool:
        results = set(pool.map(compile, range(4)))
    assert len(results) == 1
    assert b"filterlet_0_" in results.pop()
