"""What the benchmarks share: the example models, versions, result files."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dtmm_mlir.manifest import tool_versions
from dtmm_mlir.targets import Target

MODELS = Path(__file__).parents[1] / "examples" / "models"
NAMES = sorted(path.stem for path in MODELS.glob("*.tflite"))


def checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def versions(packages: Iterable[str] = (), targets: Iterable[Target] = ()) -> dict[str, str]:
    """Versions of the compiler, of further Python packages, and of the targets' cross compilers and QEMUs."""
    found = tool_versions() | {name: importlib.metadata.version(name) for name in packages}
    boards = [target for target in targets if target.board]
    programs = {f"{t.cross_prefix}gcc" for t in boards} | {t.board.qemu for t in boards if t.board}
    return found | {name: _program_version(name) for name in sorted(programs)}


def processor() -> str:
    """The model name of this machine's processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def write(file: Path, found: dict[str, str], results: list[dict[str, Any]]) -> None:
    """Writes ``{"schema_version": 1, "versions": ..., "results": ...}`` to ``file``."""
    record = {"schema_version": 1, "versions": found, "results": results}
    file.write_text(json.dumps(record, indent=2) + "\n")


def _program_version(name: str) -> str:
    """First line of what ``name --version`` prints; empty for a program that is not installed."""
    if shutil.which(name) is None:
        return ""
    return subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout.partition("\n")[0]
