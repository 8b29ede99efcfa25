"""What is captured, for which target and how, is the user's choice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dtmm_mlir.targets import HOST
from tests.plugin import models
from tests.plugin.conftest import Compile


def kernels(path: Path) -> int:
    """How many filterlet kernels a compiled module has."""
    return len(set(re.findall(rb"filterlet_(\d+)_", path.read_bytes())))


def with_attributes(source: str, attributes: str) -> str:
    return f"module attributes {{{attributes}}} {{\n{source}\n}}"


@pytest.mark.parametrize(
    ("kept", "options", "count"),
    [(0.3, "", 1), (1.0, "", 0), (1.0, "capture=all", 1), (0.3, "capture=none", 0), (1.0, "capture=worthwhile", 0)],
)
def test_capture(
    iree_compile: Compile, tmp_path: Path, m4_flags: list[str], kept: float, options: str, count: int
) -> None:
    output = tmp_path / "model.vmfb"
    result = iree_compile(models.linalg(kept=kept), output, flags=m4_flags, DTMM_MLIR_OPTIONS=options)
    assert result.returncode == 0, result.stderr
    assert kernels(output) == count


def test_module_attributes_come_before_the_environment(iree_compile: Compile, tmp_path: Path) -> None:
    source = with_attributes(models.linalg(), 'filterlet.capture = "none", filterlet.remarks')
    output = tmp_path / "model.vmfb"
    result = iree_compile(source, output, DTMM_MLIR_OPTIONS="capture=all")
    assert (result.returncode, result.stderr) == (0, "")
    assert kernels(output) == 0


@pytest.mark.parametrize(
    ("kept", "remark"),
    [
        (0.3, r"remark: 'filterlet.packed_conv_2d': \d+ of 72 filterlets are kept; kernel for cortex-m4: \{.*table"),
        (1.0, r"remark: 'linalg.conv_2d_nhwc_hwcf': not captured: 72 of 72 .* is estimated to be faster on cortex-m4"),
    ],
)
def test_remarks(iree_compile: Compile, tmp_path: Path, m4_flags: list[str], kept: float, remark: str) -> None:
    source = with_attributes(models.linalg(kept=kept), "filterlet.remarks")
    result = iree_compile(source, tmp_path / "model.vmfb", flags=m4_flags)
    assert result.returncode == 0, result.stderr
    assert re.search(rf"model\.mlir:\d+:\d+: {remark}", result.stderr), result.stderr


def test_optimize_chooses_the_kernel(iree_compile: Compile, tmp_path: Path, m4_flags: list[str]) -> None:
    plans = []
    for optimize in ("speed", "size"):
        options = f"remarks optimize={optimize}"
        result = iree_compile(
            models.linalg("int8", 1.0), tmp_path / "x.vmfb", flags=m4_flags, DTMM_MLIR_OPTIONS=options
        )
        plans += re.findall(r"kernel for cortex-m4: (.*)", result.stderr)
    assert len(set(plans)) == 2


@pytest.mark.parametrize(
    ("flags", "environment", "target"),
    [
        (["--iree-llvmcpu-target-cpu=host"], {}, "host"),
        (["--iree-llvmcpu-target-cpu=generic"], {}, "generic"),
        ([], {}, "generic"),
        (["--iree-llvmcpu-target-cpu=host"], {"DTMM_MLIR_OPTIONS": "target=generic"}, "generic"),
        (["--iree-llvmcpu-target-cpu=x86-64-v3"], {"DTMM_MLIR_TARGET": "host"}, "x86-64-v3"),
        (
            ["--iree-llvmcpu-target-cpu=haswell", "--iree-llvmcpu-target-cpu-features=+avx2,+fma"],
            {},
            "host" if HOST.isa == "avx2" else "x86-64-v3",
        ),
        (["--iree-llvmcpu-target-cpu=haswell", "--iree-llvmcpu-target-cpu-features=+avx2"], {}, "generic"),
    ],
)
def test_target(
    iree_compile: Compile, tmp_path: Path, flags: list[str], environment: dict[str, str], target: str
) -> None:
    flags = [*flags, "--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu"]
    source = with_attributes(models.linalg("int8"), "filterlet.remarks")
    result = iree_compile(source, tmp_path / "model.vmfb", flags=flags, **environment)
    assert result.returncode == 0, result.stderr
    assert f"kernel for {target}:" in result.stderr


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ('filterlet.speed = "high"', "'filterlet-compile' has no option 'speed'"),
        ('filterlet.optimize = "fast"', "'fast' is none of"),
        ('filterlet.target = "z80"', "there is no target 'z80'"),
        ('filterlet.plans = "nowhere.json"', "nowhere.json"),
    ],
)
def test_wrong_option(iree_compile: Compile, tmp_path: Path, attributes: str, message: str) -> None:
    result = iree_compile(with_attributes(models.linalg("int8"), attributes), tmp_path / "model.vmfb")
    assert result.returncode == 1
    assert re.search(rf"error: .*{re.escape(message)}", result.stderr), result.stderr


def test_host_kernels_need_the_host(iree_compile: Compile, tmp_path: Path, host_flags: list[str]) -> None:
    flags = [flag for flag in host_flags if "cpu=" not in flag]
    result = iree_compile(models.linalg(), tmp_path / "model.vmfb", flags=flags, DTMM_MLIR_TARGET="host")
    assert result.returncode == 1
    assert "add --iree-llvmcpu-target-cpu=host" in result.stderr
