"""Stock ``iree-compile`` with and without the plug-in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dtmm_mlir.errors import DtmmError
from dtmm_mlir.iree_compile import tool
from dtmm_mlir.plugin import library
from dtmm_mlir.targets import HOST, get_target

Compile = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def plugin() -> Path:
    """The plug-in's library."""
    try:
        return library()
    except DtmmError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def host_flags() -> list[str]:
    """Flags of ``iree-compile`` for this machine."""
    return HOST.iree_flags()


@pytest.fixture
def m4_flags(tmp_path: Path) -> list[str]:
    """Flags of ``iree-compile`` for a static library for Cortex-M4."""
    return [*get_target("cortex-m4").iree_flags(), f"--iree-llvmcpu-static-library-output-path={tmp_path / 'model.o'}"]


@pytest.fixture
def iree_compile(plugin: Path, tmp_path: Path) -> Compile:
    """Runs ``iree-compile`` with the plug-in on MLIR text or a file; keywords are environment variables."""

    def run(
        source: str | Path,
        output: Path,
        *,
        load: Path | None = plugin,
        flags: list[str] | None = None,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        if isinstance(source, str):
            path = tmp_path / "model.mlir"
            path.write_text(source)
            source = path
        command = [str(tool()), str(source), "-o", str(output), *(HOST.iree_flags() if flags is None else flags)]
        if load:
            command.append(f"--iree-load-plugin={load}")
        environment = os.environ | {"DTMM_MLIR_PYTHON": sys.executable} | variables
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)

    return run
