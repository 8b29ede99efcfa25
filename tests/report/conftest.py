"""Reports that several tests read, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import dtmm_mlir
from dtmm_mlir.artifact import Artifact
from dtmm_mlir.report import Report, measure
from tests.conftest import MODELS

NEEDED = ("arm-none-eabi-gcc", "qemu-system-arm", "cc")


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """``resnet12_cifar10`` for the Cortex-M55."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    out: Path = tmp_path_factory.mktemp("report") / "out"
    return dtmm_mlir.compile(MODELS / "resnet12_cifar10.tflite", "cortex-m55", out=out)


@pytest.fixture(scope="session")
def report(artifact: Artifact) -> Report:
    """Of that artifact, counted in QEMU."""
    found = measure(artifact)
    if not found.is_counted:
        pytest.skip("QEMU has no plugins here")
    return found
