"""The wheel, in an environment of its own for each Python that is here; ``make wheels`` runs this."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13")

pytestmark = pytest.mark.skipif(not os.environ.get("WHEELS"), reason="installs IREE three times; 'make wheels' runs it")

SMOKE = """
import numpy, dtmm_mlir
artifact = dtmm_mlir.compile("conv.mlir", out="out")
assert artifact.manifest["layers"][0]["kept_filterlets"] == 9
assert (dtmm_mlir.load("out").run(numpy.ones((1, 4, 4, 4), numpy.float32)) == 18).all()
"""
CONV = """
func.func @main(%x: tensor<1x4x4x4xf32>) -> tensor<1x2x2x1xf32> {
  %weights = arith.constant dense<0.5> : tensor<3x3x4x1xf32>
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<1x2x2x1xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<1x2x2x1xf32>) -> tensor<1x2x2x1xf32>
  %y = linalg.conv_2d_nhwc_hwcf ins(%x, %weights : tensor<1x4x4x4xf32>, tensor<3x3x4x1xf32>)
    outs(%init : tensor<1x2x2x1xf32>) -> tensor<1x2x2x1xf32>
  return %y : tensor<1x2x2x1xf32>
}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution's files."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT], check=True)
    return next(folder.glob("*.whl"))


def interpreter(version: str) -> str | None:
    """A Python of this version that starts: on the path, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(f"python{version}"), *map(str, pyenv.glob(f"versions/{version}.*/bin/python"))]
    works = (path for path in found if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0)
    return next(works, None)


@pytest.mark.parametrize("version", VERSIONS)
def test_installs_and_works(wheel: Path, tmp_path: Path, version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version}")
    subprocess.run([python, "-m", "venv", tmp_path / "env"], check=True)
    bin = tmp_path / "env" / "bin"
    subprocess.run([bin / "python", "-m", "pip", "install", "-q", wheel], check=True)
    (tmp_path / "conv.mlir").write_text(CONV)
    environment = {"PATH": str(bin), "HOME": str(tmp_path)}  # neither git nor a compiler
    programs = [
        [bin / "python", "-c", SMOKE],
        [bin / "dtmm-mlir", "targets"],
        [bin / "dtmm-mlir", "doctor"],
        [bin / "dtmm-opt", "conv.mlir", "--filterlet-capture"],
        [
            bin / "iree-compile",
            "conv.mlir",
            "-o",
            "conv.vmfb",
            "--compile-to=flow",
            f"--iree-load-plugin={plugin(bin)}",
        ],
    ]
    for program in programs:
        child = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert child.returncode == 0, f"{program}: {child.stdout}{child.stderr}"


def plugin(bin: Path) -> str:
    """What ``dtmm-mlir plugin-path`` prints."""
    return subprocess.run([bin / "dtmm-mlir", "plugin-path"], check=True, capture_output=True, text=True).stdout.strip()
