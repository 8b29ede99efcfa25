"""What the tests share: example models, compiled once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from dtmm_mlir import Artifact, compile

MODELS = Path(__file__).parent.parent / "examples" / "models"

Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def models() -> Path:
    """Folder of the example models, ``NAME.tflite`` with inputs and expected outputs in ``NAME.npz``."""
    return MODELS


@pytest.fixture(scope="session")
def single_conv(models: Path) -> Artifact:
    """One convolution, compiled for the host."""
    return compile(models / "single_conv.tflite")


@pytest.fixture(scope="session")
def single_conv_data(models: Path) -> dict[str, np.ndarray]:
    """``inputs`` and ``expected`` [16, ...] int8 of ``single_conv``."""
    return dict(np.load(models / "single_conv.npz"))


@pytest.fixture
def dtmm_mlir(tmp_path: Path) -> Program:
    """Runs ``dtmm-mlir`` as a user does, in ``tmp_path``; keywords go to ``subprocess.run``."""

    def run(*arguments: object, **keywords: object) -> subprocess.CompletedProcess[str]:
        command = program(*arguments)
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, **keywords)  # type: ignore[call-overload]

    return run


def program(*arguments: object) -> Sequence[str]:
    """The command line of ``dtmm-mlir`` with ``arguments``."""
    return [sys.executable, "-m", "dtmm_mlir.cli.main", *map(str, arguments)]
