"""Images run in QEMU, against stock IREE on the host."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dtmm_mlir.deploy import mcu, project, qemu
from dtmm_mlir.deploy.library import read_library
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.targets import get_target
from tests.deploy import networks
from tests.deploy.conftest import FAMILIES, M55, need_tools

Convs = tuple[Path, mcu.McuImage]

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None or shutil.which("arm-none-eabi-gcc") is None,
    reason="needs qemu-system-arm and arm-none-eabi-gcc",
)


def _write(folder: Path, text: str) -> Path:
    path = folder / "model.mlir"
    path.write_text(text)
    return path


def _check(results: list[list[np.ndarray]], expected: list[list[np.ndarray]]) -> None:
    assert len(results) == len(expected)
    for result, reference in zip(results, expected, strict=True):
        for ours, theirs in zip(result, reference, strict=True):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("convs", FAMILIES, indirect=True)
def test_convolutions_match_the_host(convs: Convs, tmp_path: Path) -> None:
    cases = networks.image_inputs(3)
    result = qemu.run(convs[0], cases)
    expected = networks.host_results(networks.CONVS, cases, tmp_path)
    assert len({case[0].tobytes() for case in expected}) == 3
    _check(result.outputs, expected)


def test_several_inputs_and_outputs_match_the_host(tmp_path: Path) -> None:
    a = np.arange(20, dtype=np.float32).reshape(4, 5)
    cases = [[a, a * 2, np.arange(7, dtype=np.int8)], [a - 9, a, -np.arange(7, dtype=np.int8)]]
    mcu.build(_write(tmp_path, networks.SEVERAL), M55, tmp_path / "out")
    _check(qemu.run(tmp_path / "out", cases).outputs, networks.host_results(networks.SEVERAL, cases, tmp_path))


@pytest.mark.parametrize("target", ["cortex-m55", "cortex-m4", "cortex-m0plus", "riscv32"])
def test_functions_of_the_mathematical_library(target: str, tmp_path: Path) -> None:
    need_tools(get_target(target))
    x = np.random.default_rng(5).standard_normal((4, 10), np.float32)
    mcu.build(_write(tmp_path, networks.ROOTS), get_target(target), tmp_path / "out")
    shares = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(qemu.run(tmp_path / "out", [[x]]).outputs[0][0], np.sqrt(shares), rtol=1e-5)


def test_initial_steps_run_once(tmp_path: Path) -> None:
    """Without constant evaluation IREE sums the weights when the program starts."""
    weights = np.random.default_rng(3).integers(-1000, 1000, (64, 16), np.int32)
    text = f"""
#all = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>
func.func @main(%x: tensor<64xi32>) -> tensor<64xi32> {{
  %w = arith.constant dense<"0x{weights.tobytes().hex()}"> : tensor<64x16xi32>
  %zero = arith.constant dense<0> : tensor<64xi32>
  %sums = linalg.generic {{indexing_maps = [#all, #row], iterator_types = ["parallel", "reduction"]}}
      ins(%w : tensor<64x16xi32>) outs(%zero : tensor<64xi32>) {{
  ^bb0(%a: i32, %b: i32):
    %s = arith.addi %a, %b : i32
    linalg.yield %s : i32
  }} -> tensor<64xi32>
  %y = arith.addi %x, %sums : tensor<64xi32>
  return %y : tensor<64xi32>
}}
"""
    mcu.build(_write(tmp_path, text), M55, tmp_path / "out", iree_flags=["--iree-opt-const-eval=false"])
    source = (tmp_path / "out" / "model.c").read_text()
    init, run = source.split("dtmm_status_t model_run")
    assert "TRY(dtmm_call" in init
    assert "DTMM_ERROR_NOT_INITIALIZED" in run
    cases = [[np.arange(64, dtype=np.int32) * factor] for factor in (1, -3)]
    expected = [[case[0] + weights.sum(axis=1, dtype=np.int32)] for case in cases]
    _check(qemu.run(tmp_path / "out", cases).outputs, expected)


def test_counts(convs: Convs) -> None:
    folder, image = convs
    result = qemu.run(folder, networks.image_inputs(2))
    if result.counter != qemu.EXACT:
        pytest.skip("this QEMU cannot count exactly")
    again = qemu.run(folder, networks.image_inputs(2))
    assert result.instructions == again.instructions
    assert tuple(name for name, _ in result.steps) == image.steps
    assert result.instructions is not None
    outside = result.instructions - sum(count for _, count in result.steps)
    assert 0 < outside < 1000
    assert 0 < result.stack < image.stack


@pytest.mark.parametrize("convs", FAMILIES, indirect=True)
def test_stack_frames_are_what_the_stack_shows(convs: Convs) -> None:
    """The deepest dispatch takes its frame; runtime, harness and helpers take a little more."""
    folder, image = convs
    assert [name for name, _ in image.frames] == [
        export.name for export in read_library(folder / "model_library.o").exports
    ]
    deepest = max(size for _, size in image.frames)
    assert 0 < deepest < qemu.run(folder, networks.image_inputs(1)).stack < deepest + 1024


@pytest.mark.parametrize("convs", FAMILIES, indirect=True)
def test_timer_estimates_where_counting_is_impossible(convs: Convs, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = networks.image_inputs(1)
    exact = qemu.run(convs[0], cases)
    monkeypatch.setattr(qemu, "_count_plugin", lambda: None)
    estimate = qemu.run(convs[0], cases)
    assert (estimate.counter, estimate.steps) == (qemu.TIMER, ())
    _check(estimate.outputs, exact.outputs)
    assert estimate.instructions == pytest.approx(exact.instructions, rel=0.01)


def test_a_plugin_that_does_not_load_falls_back(convs: Convs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.so").write_text("")
    monkeypatch.setattr(qemu, "_count_plugin", lambda: tmp_path / "broken.so")
    assert qemu.run(convs[0], networks.image_inputs(1)).counter == qemu.TIMER


def test_plugin_is_built_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("needs a C compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plugin = qemu._count_plugin()
    assert plugin is not None
    assert list((tmp_path / "dtmm-mlir").iterdir()) == [plugin]
    assert qemu._count_plugin() == plugin


@pytest.mark.parametrize(
    ("target", "cause"), [("cortex-m55", "CFSR 1048576"), ("riscv32", "mcause 7")], ids=FAMILIES
)  # stack overflow: caught by the stack's limit, and by a write to read-only memory
def test_a_fault_is_an_error(target: str, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_tools(get_target(target))
    monkeypatch.setattr(project, "LINK_FLAGS", (*project.LINK_FLAGS, "-Wl,--defsym=__stack_bytes=256"))
    mcu.build(_write(tmp_path, networks.CONVS), get_target(target), tmp_path / "out")
    with pytest.raises(DtmmError, match=f"the processor faulted: dtmm fault, {cause}"):
        qemu.run(tmp_path / "out", networks.image_inputs(1))


def test_time_limit(convs: Convs) -> None:
    with pytest.raises(DtmmError, match=r"did not finish in 0\.001 s"):
        qemu.run(convs[0], networks.image_inputs(1), time_limit=0.001)


def test_inputs_of_another_size_are_an_error(convs: Convs) -> None:
    with pytest.raises(DtmmError, match=r"inputs take \[256\] bytes, but arrays of \[4\] bytes"):
        qemu.run(convs[0], [[np.zeros(4, np.int8)]])


def test_nothing_to_run_is_an_error(convs: Convs) -> None:
    with pytest.raises(DtmmError, match="at least one case"):
        qemu.run(convs[0], [])


def test_a_folder_without_an_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DtmmError, match="no firmware image"):
        qemu.run(tmp_path, networks.image_inputs(1))


@pytest.mark.parametrize("change", [lambda r: r["image"]["steps"].pop(), lambda r: r["marks"].popitem()])
def test_a_record_of_another_image_is_an_error(change: Callable[[dict], object], convs: Convs, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(convs[0], out)
    record = json.loads((out / mcu.RECORD).read_text())
    change(record)
    (out / mcu.RECORD).write_text(json.dumps(record))
    with pytest.raises(DtmmError, match=r"firmware\.json is not that of the image; compile the model again"):
        qemu.run(out, networks.image_inputs(1))


def test_missing_qemu_names_the_package(convs: Convs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DtmmError, match="apt install qemu-system-arm"):
        qemu.run(convs[0], networks.image_inputs(1))
