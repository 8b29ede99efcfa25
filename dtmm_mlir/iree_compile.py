"""The stock ``iree-compile`` of the installed wheel, run as a program."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

from dtmm_mlir.deploy.tools import run_child
from dtmm_mlir.errors import DtmmError

PHASES = (
    "input",
    "abi",
    "preprocessing",
    "global-optimization",
    "dispatch-creation",
    "flow",
    "stream",
    "executable-sources",
    "executable-configurations",
    "executable-targets",
    "hal",
    "vm",
)
"""Names that ``--compile-to`` of ``iree-compile`` takes, in order, without its last, ``end``."""

_PARTITIONING = "iree-stream-partitioning-favor"
"""The flag that tells which dispatches may run at the same time."""

_FATAL = re.compile(r"^LLVM ERROR: (.*)$", re.MULTILINE)
_ERROR = re.compile(r"^(?:(?P<where>.*?):\s)?error: (?P<message>.*)$", re.MULTILINE)


class CrashError(DtmmError):
    """``iree-compile`` died of a signal.

    Attributes:
        reason: what LLVM said last; empty where it said nothing.
    """

    def __init__(self, number: int, reason: str, flags: Sequence[str]) -> None:
        self.reason = reason
        told = f"{signal.Signals(number).name}{': ' if reason else ''}{reason}"
        super().__init__(
            f"iree-compile crashed ({told}); please report it with the model and the flags {_text(flags)}."
        )


def tool(name: str = "iree-compile") -> Path:
    """Path of a program of the iree-base-compiler wheel.

    Raises:
        DtmmError: the wheel lacks it.
    """
    from iree.compiler import _mlir_libs

    path = Path(_mlir_libs.__file__).with_name(name)
    if not os.access(path, os.X_OK):
        raise DtmmError(
            f"the program {name} is missing from the installed iree-base-compiler; reinstall it: "
            "pip install --force-reinstall --no-deps iree-base-compiler==3.13.0.",
            where=str(path),
        )
    return path


def run(source: Path, output: Path, flags: Sequence[str]) -> None:
    """Compiles ``source`` (MLIR text or bytecode) to ``output``; is quiet where all goes well.

    Dispatches run one after the other unless a flag says otherwise: for those that may run at the same time, IREE lays
    out memory in an order that differs from run to run.

    Raises:
        CrashError: ``iree-compile`` dies of a signal.
        DtmmError: it fails, with the first errors it prints; or takes too long.
    """
    order = [] if any(_PARTITIONING in flag for flag in flags) else [f"--{_PARTITIONING}=debug"]
    command = [str(tool()), str(source), "-o", str(output), *order, *flags]
    child = run_child(command)
    if child.returncode == 0:
        return
    if child.returncode < 0:
        fatal = _FATAL.search(child.stderr)
        raise CrashError(-child.returncode, fatal[1].strip() if fatal else "", flags)
    errors = list(_ERROR.finditer(child.stderr))
    if not errors:  # a wrong flag is reported without "error:"
        lines = child.stderr.strip().splitlines()
        raise DtmmError(f"iree-compile failed: {' '.join(lines[:3]) or f'exit code {child.returncode}'}")
    messages = dict.fromkeys(match["message"] for match in errors[:3])
    raise DtmmError(f"iree-compile failed: {'; '.join(messages)}.", where=errors[0]["where"])


def _text(flags: Sequence[str]) -> str:
    return " ".join(flags) or "(none)"
