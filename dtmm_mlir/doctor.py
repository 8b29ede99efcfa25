"""What is installed, what is missing, and how to get it."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata

from dtmm_mlir.deploy.tools import debian_package, find_library, program_version
from dtmm_mlir.targets import TARGETS

_PACKAGES: Mapping[str, tuple[str, str, bool]] = {
    "iree-base-compiler": ("compiling", "", True),
    "iree-base-runtime": ("running on the host", "", True),
    "tosa-converter-for-tflite": ("TFLite models", "tflite", False),
    "tflite": ("TFLite models", "tflite", False),
    "torch": ("PyTorch models", "torch", False),
    "torch-mlir": ("PyTorch models", "torch", False),
    "torchao": ("quantizing PyTorch models", "torch", False),
    "matplotlib": ("reports as pages", "report", False),
    "jinja2": ("reports as pages", "report", False),
}
"""Packages, what they are for, the extra that installs them, and whether nothing works without."""

_C_COMPILERS = ("cc", "gcc", "clang")


@dataclass(frozen=True)
class Finding:
    """Something that is there or not.

    Attributes:
        name: of the package or program.
        purpose: what it is for.
        version: ``None`` where it is missing.
        advice: how to get it.
        is_needed: whether nothing works without it.
    """

    name: str
    purpose: str
    version: str | None
    advice: str
    is_needed: bool = False


def examine() -> list[Finding]:
    """Everything that compiling, running and reporting can use."""
    return [_python(), *map(_package, _PACKAGES), *_cross_tools(), _c_compiler(), _plugin()]


def _python() -> Finding:
    return Finding("python", "everything", platform.python_version(), "use Python 3.11, 3.12 or 3.13", True)


def _package(name: str) -> Finding:
    purpose, extra, is_needed = _PACKAGES[name]
    advice = f"{sys.executable} -m pip install 'dtmm-mlir{f'[{extra}]' if extra else ''}'"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = None
    return Finding(name, purpose, version, advice, is_needed)


def _cross_tools() -> Iterator[Finding]:
    """Compiler, C library and QEMU of each family of processors."""
    programs: dict[str, list[str]] = {}
    for target in TARGETS.values():
        if target.board is not None:
            compiler = f"{target.cross_prefix}gcc"
            programs.setdefault(compiler, []).append(target.name)
            programs.setdefault(target.board.qemu, []).append(target.name)
    for name, targets in programs.items():
        verb = "running" if name.startswith("qemu") else "linking"
        version = program_version(name)
        package = debian_package(name)
        if version is not None and not name.startswith("qemu") and not find_library(name):
            version = None
        yield Finding(name, f"{verb} {', '.join(targets)}", version, f"sudo apt install {package}")


def _c_compiler() -> Finding:
    name = next((name for name in _C_COMPILERS if shutil.which(name)), "cc")
    return Finding(name, "exact counts of instructions", program_version(name), "sudo apt install gcc libc6-dev")


def _plugin() -> Finding:
    from dtmm_mlir.errors import DtmmError
    from dtmm_mlir.plugin import library

    try:
        library()
        version: str | None = metadata.version("dtmm-mlir")
    except DtmmError:
        version = None
    advice = "install a C++ compiler (sudo apt install g++), then install dtmm-mlir again"
    return Finding("plug-in", "the passes in stock iree-compile", version, advice)
