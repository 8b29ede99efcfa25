"""The firmware examples: built with CMake and run in QEMU; the Zephyr one as far as it goes without Zephyr."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import dtmm_mlir
from dtmm_mlir.artifact import Artifact

ROOT = Path(__file__).parents[2]
FIRMWARE, ZEPHYR = ROOT / "examples" / "firmware", ROOT / "examples" / "zephyr"
MODEL = ROOT / "examples" / "models" / "single_conv"  # its "class" is the place of the largest of 8192 outputs

needs = [name for name in ("cmake", "make", "arm-none-eabi-gcc", "qemu-system-arm") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(needs), reason=f"needs {', '.join(needs)}")


def build(target: str, folder: Path, **variables: object) -> subprocess.CompletedProcess[str]:
    command = ["cmake", "-S", FIRMWARE, "-B", folder / "build", f"--toolchain=toolchains/{target}.cmake"]
    defines = [f"-D{name}={value}" for name, value in variables.items()]
    return subprocess.run([*command, "-G", "Unix Makefiles", *defines], capture_output=True, text=True, cwd=folder)


@pytest.fixture(scope="module")
def m55(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return dtmm_mlir.compile(MODEL.with_suffix(".tflite"), "cortex-m55", out=tmp_path_factory.mktemp("m55") / "model")


@pytest.mark.parametrize("target", ["cortex-m55", "cortex-m4"])
def test_firmware_classifies(target: str, m55: Artifact, tmp_path: Path) -> None:
    artifact = m55 if target == "cortex-m55" else dtmm_mlir.compile(MODEL.with_suffix(".tflite"), target)
    data = np.load(MODEL.with_suffix(".npz"))
    places = data["expected"].reshape(len(data["expected"]), -1).argmax(axis=1)
    other = int(np.flatnonzero(places != places[0])[0])
    for number in (0, other):
        data["inputs"][number].tofile(tmp_path / "sample.bin")
        configured = build(target, tmp_path, MODEL_DIR=artifact.dir, SAMPLE_FILE="sample.bin")
        assert configured.returncode == 0, configured.stderr
        command = ["cmake", "--build", tmp_path / "build", "--target", "run"]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr
        assert "warning" not in run.stderr
        (best,) = re.findall(r"class (\d+)", run.stdout + run.stderr)
        assert int(best) == places[number]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    child = build("cortex-m55", tmp_path, MODEL_DIR="nowhere", SAMPLE_FILE="sample.bin")
    assert child.returncode != 0
    assert re.search("MODEL_DIR is '.*nowhere', which does not exist", " ".join(child.stderr.split()))


@pytest.mark.parametrize("source", [FIRMWARE / "main.c", ZEPHYR / "app" / "src" / "main.c"], ids=["bare", "zephyr"])
def test_inference_is_a_page_of_c(source: Path, m55: Artifact, tmp_path: Path) -> None:
    assert len(source.read_text().splitlines()) < 30
    (tmp_path / "zephyr").mkdir()
    (tmp_path / "zephyr" / "kernel.h").write_text("#include <stdint.h>\nint printk(const char *format, ...);\n")
    includes = [tmp_path, m55.dir, m55.dir / "board", m55.dir / "dtmm" / "include"]
    flags = ["-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard", "-std=c11", "-Wall", "-Wextra", "-Werror"]
    command = ["arm-none-eabi-gcc", *flags, *(f"-I{path}" for path in includes), "-fsyntax-only", str(source)]
    child = subprocess.run(command, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr


def test_zephyr_module_is_laid_out_as_zephyr_wants(m55: Artifact) -> None:
    module = ZEPHYR / "module"
    build = dict(re.findall(r"^  (\w+): (.*)$", (module / "zephyr" / "module.yml").read_text(), re.MULTILINE))
    assert (module / build["cmake"] / "CMakeLists.txt").exists()
    assert "config DTMM_MODEL\n" in (module / build["kconfig"]).read_text()
    assert "CONFIG_DTMM_MODEL=y" in (ZEPHYR / "app" / "prj.conf").read_text()
    assert (m55.dir / "model.cmake").exists()
    assert "add_library(model STATIC" in (m55.dir / "model.cmake").read_text()
