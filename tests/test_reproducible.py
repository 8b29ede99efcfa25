"""The same model makes the same bytes, whatever the hash seed, the working directory and the place of the output."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import dtmm_mlir
import dtmm_mlir.targets
from tests.conftest import program


def _files(folder: Path) -> dict[str, str]:
    """Checksums by path below ``folder``."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.parametrize("target", ["host", "cortex-m55"])
def test_artifacts(target: str, models: Path, tmp_path: Path) -> None:
    board = dtmm_mlir.targets.get_target(target)
    if board.cross_prefix and shutil.which(f"{board.cross_prefix}gcc") is None:
        pytest.skip(f"needs {board.cross_prefix}gcc")
    made = []
    for seed, place in (("1", "a"), ("77", "b/some/where/else")):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        shutil.copy(models / "single_conv.tflite", folder)
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TMPDIR": str(folder)}
        command = program("compile", "single_conv.tflite", "--target", target, "-o", "out")
        subprocess.run(command, cwd=folder, env=environment, check=True)
        made.append(_files(folder / "out"))
    assert made[0] == made[1]


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
