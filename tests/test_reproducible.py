"""The same model makes the same bytes, whatever the hash seed, the working directory, the place and the machine.

``python -m tests.test_reproducible`` writes ``artifacts.json`` anew, after a change of what is compiled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dtmm_mlir
import dtmm_mlir.targets
from tests.conftest import MODELS, program

RECORD = Path(__file__).with_name("artifacts.json")
RECORDED = {
    "single_conv": MODELS / "single_conv.tflite",
    "mobile": Path(__file__).parent / "models" / "mobile.tflite",
}
CHIPS = ("cortex-m55", "cortex-m4", "cortex-m0plus", "riscv32")


def _files(folder: Path) -> dict[str, str]:
    """Checksums by path below ``folder``."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.parametrize("model", ["single_conv", "resnet12_vww"])
@pytest.mark.parametrize("target", ["host", "cortex-m55"])
def test_artifacts(target: str, model: str, models: Path, tmp_path: Path) -> None:
    board = dtmm_mlir.targets.get_target(target)
    if board.cross_prefix and shutil.which(f"{board.cross_prefix}gcc") is None:
        pytest.skip(f"needs {board.cross_prefix}gcc")
    made = []
    for seed, place in (("1", "a"), ("77", "b/some/where/else")):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        shutil.copy(models / f"{model}.tflite", folder)
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TMPDIR": str(folder)}
        command = program("compile", f"{model}.tflite", "--target", target, "-o", "out")
        subprocess.run(command, cwd=folder, env=environment, check=True)
        made.append(_files(folder / "out"))
    assert made[0] == made[1]


def _others(tools: dict[str, str]) -> dict[str, str]:
    """The versions of what is not this project."""
    return {name: version for name, version in tools.items() if name != "dtmm-mlir"}


def _record(target: str, model: Path, folder: Path) -> dict[str, Any]:
    """What made the artifact, and one checksum for all of it: its manifest has those of all its files."""
    with contextlib.chdir(model.parent):  # locations name the file as it was given
        artifact = dtmm_mlir.compile(model.name, target, out=folder)
    manifest = hashlib.sha256((artifact.dir / "manifest.json").read_bytes()).hexdigest()
    return {"tools": artifact.manifest["tools"], "manifest": manifest}


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("target", CHIPS)
def test_artifacts_of_another_machine(target: str, name: str, tmp_path: Path) -> None:
    """Those recorded once; other versions of the tools may make others."""
    compiler = f"{dtmm_mlir.targets.get_target(target).cross_prefix}gcc"
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    recorded, made = json.loads(RECORD.read_text())[target][name], _record(target, RECORDED[name], tmp_path / "out")
    if _others(made["tools"]) != _others(recorded["tools"]):
        pytest.skip(f"recorded with {recorded['tools']}")
    assert made == recorded, "if the change is meant, record it: python -m tests.test_reproducible"


def test_no_artifact_names_a_place_of_this_machine(models: Path, tmp_path: Path) -> None:
    """Compiled by its absolute path, a model leaves no trace of it but the one in its locations."""
    shutil.copy(models / "single_conv.tflite", tmp_path)
    command = program("compile", "single_conv.tflite", "-o", "out")
    subprocess.run(command, cwd=tmp_path, check=True)
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path.name
            assert str(Path.home()).encode() + b"/" not in path.read_bytes(), path.name


def test_results(single_conv: dtmm_mlir.Artifact, single_conv_data: dict[str, np.ndarray]) -> None:
    """A thousand runs give one result."""
    x = single_conv_data["inputs"][:1]
    outputs = single_conv.run(np.repeat(x, 1000, axis=0))
    assert (outputs == single_conv_data["expected"][0]).all()


def _write() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "out")
        records = {
            target: {name: _record(target, model, place) for name, model in RECORDED.items()} for target in CHIPS
        }
    RECORD.write_text(json.dumps(records, indent=2) + "\n")


if __name__ == "__main__":
    _write()
