"""The library under AddressSanitizer and UndefinedBehaviorSanitizer; ``SANITIZED_RUNS`` says how often."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dtmm_mlir.iree_compile import tool
from tests.plugin import models
from tests.plugin.models import ROOT

RUNS = int(os.environ.get("SANITIZED_RUNS", "2"))


@pytest.fixture(scope="module")
def sanitized(plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of the plug-in with both sanitizers."""
    compiler = shutil.which("g++")
    if not compiler:
        pytest.skip("needs g++")
    folder = tmp_path_factory.mktemp("sanitized")
    library = folder / plugin.name
    sources = sorted((ROOT / "plugin").glob("*.cpp"))
    flags = ["-std=c++17", "-g", "-O1", "-fno-rtti", "-shared", "-fPIC", "-Wl,-z,lazy", "-fsanitize=address,undefined"]
    subprocess.run([compiler, *flags, *sources, "-o", library, "-ldl"], check=True)
    shutil.copy(plugin.with_name("filterlet.irdl.mlir"), folder)
    return library


@pytest.mark.parametrize(
    "source", [models.CONV, models.CONV.replace("groups = 1", "groups = 3")], ids=["good", "wrong"]
)
def test_no_errors(sanitized: Path, host_flags: list[str], tmp_path: Path, source: str) -> None:
    path, output = tmp_path / "model.mlir", tmp_path / "model.vmfb"
    path.write_text(source)
    runtime = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    environment = os.environ | {
        "LD_PRELOAD": runtime.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",  # IREE itself frees little before it ends
        "UBSAN_OPTIONS": "halt_on_error=1",
        "DTMM_MLIR_PYTHON": f"{tmp_path}/python",
    }
    python = tmp_path / "python"  # the interpreter itself runs without the sanitizer
    python.write_text(f'#!/bin/sh\nunset LD_PRELOAD\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    command = [str(tool()), str(path), "-o", str(output), f"--iree-load-plugin={sanitized}", *host_flags]
    for _ in range(RUNS):
        result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        assert result.returncode == (1 if "groups = 3" in source else 0), result.stderr
        assert "Sanitizer" not in result.stderr
        assert "runtime error" not in result.stderr
