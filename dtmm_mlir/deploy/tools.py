"""Programs that are no Python packages: the cross compiler, QEMU, the host's C compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dtmm_mlir.errors import DtmmError

_PACKAGES = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "riscv64-unknown-elf-gcc": "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
    "qemu-system-riscv32": "qemu-system-misc",
}
TIME_LIMIT_VARIABLE = "DTMM_MLIR_TIME_LIMIT"
_HOUR = 3600.0
_ERROR = re.compile(r"(?:error|fatal error|undefined reference|overflowed|ld: cannot)", re.IGNORECASE)


def find_program(name: str) -> str:
    """Path of the program ``name``.

    Raises:
        DtmmError: it is not installed; the message names the Debian package.
    """
    path = shutil.which(name)
    if path is None:
        package = debian_package(name)
        advice = f"install it, on Debian and Ubuntu with: sudo apt install {package}" if package else "install it"
        raise DtmmError(f"the program {name} is needed for this target and is not on the PATH; {advice}.")
    return path


def debian_package(name: str) -> str | None:
    """The Debian packages with the program ``name`` and what it needs; ``None`` where they are not known."""
    return _PACKAGES.get(name)


def find_library(compiler: str) -> bool:
    """Whether the cross compiler ``compiler`` has a C library: newlib, or picolibc with its specs."""
    for name in ("libc.a", "picolibc.specs"):
        child = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True)
        if "/" in child.stdout:
            return True
    return False


def time_limit() -> float:
    """Seconds that a child program may take: an hour, or what the environment variable says.

    Raises:
        DtmmError: that is no positive number.
    """
    text = os.environ.get(TIME_LIMIT_VARIABLE) or str(_HOUR)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise DtmmError(f"{TIME_LIMIT_VARIABLE} is '{text}', but must be a number of seconds.")
    return seconds


def run_child(command: Sequence[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, however that turns out, and captures what it prints.

    Raises:
        DtmmError: it took longer than ``time_limit``; then it has been stopped.
    """
    seconds = time_limit()
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=seconds)
    except subprocess.TimeoutExpired:
        raise DtmmError(
            f"{Path(command[0]).name} did not finish in {seconds:g} s and was stopped; set {TIME_LIMIT_VARIABLE} to "
            "more seconds if the model is that large."
        ) from None


def run_program(command: Sequence[str], folder: Path) -> str:
    """Runs a program in ``folder`` and returns what it printed, errors after output.

    Raises:
        DtmmError: it failed, with the first three lines that look like errors; or took too long.
    """
    child = run_child(command, folder)
    printed = child.stdout + child.stderr
    if child.returncode != 0:
        lines = printed.strip().splitlines()
        errors = [line for line in lines if _ERROR.search(line)] or lines or [f"exit code {child.returncode}"]
        raise DtmmError(f"{Path(command[0]).name} failed: {'; '.join(line.strip() for line in errors[:3])}")
    return printed


def program_version(name: str) -> str | None:
    """First line of what ``name --version`` prints; ``None`` for a program that is not installed or prints nothing."""
    path = shutil.which(name)
    if path is None:
        return None
    child = subprocess.run([path, "--version"], capture_output=True, text=True, errors="replace")
    return child.stdout.partition("\n")[0].strip() or None
