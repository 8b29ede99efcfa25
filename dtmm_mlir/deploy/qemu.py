"""Runs a firmware image in QEMU and counts its instructions."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from dtmm_mlir.deploy.mcu import IMAGE, RECORD
from dtmm_mlir.deploy.tools import find_program
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.targets import get_target

EXACT, TIMER = "exact", "timer"

_DTYPES = {"i1": "?", "i8": "i1", "i16": "<i2", "i32": "<i4", "i64": "<i8", "f16": "<f2", "f32": "<f4", "f64": "<f8"}
_COUNTS = "counts.txt"
_FAULT_EXIT = 99
_CALIBRATION_INSTRUCTIONS = 1_000_000  # as in runtime/boards/common/ticks.h


@dataclass(frozen=True)
class QemuResult:
    """What came of a run.

    Attributes:
        outputs: for each inference, the model's outputs.
        instructions: that one inference executes, of the last one; ``None`` where they could not be counted.
        counter: ``exact``, or ``timer`` for an estimate from the processor's timer.
        steps: instructions of each step of the schedule in the last inference, in its order, with the step's
            name; empty unless the counter is exact.
        stack: deepest stack use in bytes.
    """

    outputs: list[list[np.ndarray]]
    instructions: int | None
    counter: str
    steps: tuple[tuple[str, int], ...]
    stack: int


def run(folder: Path, cases: Sequence[Sequence[np.ndarray]], time_limit: float = 600.0) -> QemuResult:
    """Runs the image that ``mcu.build`` wrote to ``folder``, all cases in one session.

    Args:
        cases: the model's inputs for each inference.
        time_limit: seconds after which QEMU is stopped.

    Raises:
        DtmmError: QEMU is missing, the image faults or reports an error, or the time limit is reached.
    """
    record = _read_record(folder)
    _check_cases(record, cases)
    board = get_target(record["target"]).board
    assert board is not None
    command = [find_program(board.qemu), *board.qemu_command[1:]]
    with tempfile.TemporaryDirectory(prefix="dtmm-") as temporary:
        work = Path(temporary)
        inputs = b"".join(np.ascontiguousarray(array).tobytes() for case in cases for array in case)
        (work / "inputs.bin").write_bytes(inputs)
        plugin = _count_plugin()
        session = _Session(command, folder / IMAGE, work, time_limit)
        printed = None
        if plugin is not None:
            printed = session.run(_plugin_arguments(plugin, record["marks"], work))
        if not (work / _COUNTS).exists():  # this QEMU was built without plugins
            printed = session.run(["-icount", "shift=0"])
        assert printed is not None
        figures = _figures(printed)
        if figures.get("inferences") != len(cases):
            raise DtmmError(f"the image stopped early: {printed.strip() or 'it printed nothing'}.", str(folder))
        outputs = _outputs(record, (work / "outputs.bin").read_bytes(), len(cases))
        if (work / _COUNTS).exists():
            try:
                steps, instructions = _exact_counts(record, (work / _COUNTS).read_text())
            except (ValueError, KeyError, IndexError):  # other marks or steps than were counted
                raise DtmmError(f"{RECORD} is not that of the image; compile the model again.", str(folder)) from None
            return QemuResult(outputs, instructions, EXACT, steps, figures["stack"])
        return QemuResult(outputs, _estimate(figures), TIMER, (), figures["stack"])


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise DtmmError(f"there is no firmware image to run here ({error}).", str(folder)) from None
    try:
        _check_record(record)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DtmmError(f"{RECORD} is damaged ({error!r}); compile the model again.", str(folder)) from None
    return record


def _check_record(record: dict[str, Any]) -> None:
    """Raises ValueError, KeyError, TypeError or AttributeError where the record lacks what running the image needs."""
    if get_target(record["target"]).board is None:
        raise ValueError("its target has no board")
    for tensor in [*record["inputs"], *record["outputs"]]:
        size = np.dtype(_DTYPES[tensor["element_type"]]).itemsize * math.prod(tensor["shape"])
        if size != tensor["bytes"] or min(tensor["shape"], default=0) < 0:
            raise ValueError(f"a tensor of {tensor['bytes']} bytes cannot have the shape {tensor['shape']}")
    if not all(type(address) is int and address >= 0 for address in record["marks"].values()):
        raise ValueError("an address is no number")
    if not isinstance(record["image"]["steps"], list):
        raise ValueError("the steps are no list")


def _check_cases(record: dict[str, Any], cases: Sequence[Sequence[np.ndarray]]) -> None:
    if not cases:
        raise DtmmError("there is nothing to run: give at least one case.")
    expected = [tensor["bytes"] for tensor in record["inputs"]]
    for case in cases:
        given = [array.nbytes for array in case]
        if given != expected:
            raise DtmmError(f"the model's inputs take {expected} bytes, but arrays of {given} bytes were given.")


@dataclass(frozen=True)
class _Session:
    """Calls of QEMU for one image."""

    qemu: list[str]
    image: Path
    work: Path
    time_limit: float

    def run(self, flags: Sequence[str]) -> str:
        """Runs the image until it exits; returns what it printed."""
        quiet = ["-display", "none", "-monitor", "none", "-serial", "none", "-no-reboot"]
        semihosting = ["-semihosting-config", "enable=on,target=native"]
        command = [*self.qemu, "-kernel", str(self.image.absolute()), *quiet, *semihosting, *flags]
        try:
            child = subprocess.run(
                command,
                cwd=self.work,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.time_limit,
            )
        except subprocess.TimeoutExpired:
            raise DtmmError(
                f"the image did not finish in {self.time_limit:g} s in QEMU; run fewer inputs or raise the limit.",
                str(self.image),
            ) from None
        printed = child.stdout + child.stderr
        if child.returncode == _FAULT_EXIT:
            raise DtmmError(f"the processor faulted: {_last_line(printed)}.", str(self.image))
        plugins_missing = "plugin" in printed and "-plugin" in flags
        if child.returncode != 0 and not plugins_missing:
            raise DtmmError(f"the run failed in QEMU: {_last_line(printed) or child.returncode}.", str(self.image))
        return printed


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def _figures(printed: str) -> dict[str, int]:
    """The lines ``dtmm FIGURE NUMBER`` that the harness prints."""
    figures = {}
    for line in printed.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "dtmm" and words[2].isdigit():
            figures[words[1]] = int(words[2])
    return figures


def _estimate(figures: dict[str, int]) -> int | None:
    """Instructions of an inference from the timer's ticks; coarse, as a tick lasts several instructions."""
    if figures["ticks"] == 0 or figures["calibration"] == 0:
        return None
    return round(figures["ticks"] * _CALIBRATION_INSTRUCTIONS / figures["calibration"])


def _outputs(record: dict[str, Any], data: bytes, count: int) -> list[list[np.ndarray]]:
    """Splits the output file by inference and output."""
    results, offset = [], 0
    for _ in range(count):
        case = []
        for tensor in record["outputs"]:
            dtype = np.dtype(_DTYPES[tensor["element_type"]])
            array = np.frombuffer(data, dtype, tensor["bytes"] // dtype.itemsize, offset)
            case.append(array.reshape(tensor["shape"]).copy())
            offset += tensor["bytes"]
        results.append(case)
    return results


def _exact_counts(record: dict[str, Any], text: str) -> tuple[tuple[tuple[str, int], ...], int]:
    """Instructions per step, and of the whole, of the last inference in the counter's lines.

    A step's instructions are those from its call of the runtime to the next one's.
    """
    names = {address: mark for mark, address in record["marks"].items()}
    marks = [(names[int(line.split()[0], 16)], int(line.split()[1])) for line in text.splitlines()]
    begin = max(index for index, (name, _) in enumerate(marks) if name == "dtmm_inference_begin")
    inference = marks[begin:]
    counts = [after - before for (_, before), (_, after) in pairwise(inference[1:])]
    steps = tuple(zip(record["image"]["steps"], counts, strict=True))
    return steps, inference[-1][1] - inference[0][1]


def _plugin_arguments(plugin: Path, marks: dict[str, int], work: Path) -> list[str]:
    """Flags that load the plugin; through a link, as QEMU splits its argument at commas."""
    link = work / "count.so"
    link.symlink_to(plugin)
    return ["-plugin", ",".join(["./count.so", f"out={_COUNTS}", *(f"mark={value:#x}" for value in marks.values())])]


def _count_plugin() -> Path | None:
    """The counting plugin, built with the host's C compiler on first use; ``None`` where there is none."""
    compiler = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
    if compiler is None:
        return None
    source = Path(str(files("dtmm_mlir").joinpath("runtime/qemu/count.c")))
    text = source.read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dtmm-mlir"
    plugin = cache / f"count-{hashlib.sha256(text).hexdigest()[:16]}.so"
    if plugin.exists():
        return plugin
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            built = Path(temporary, "count.so")
            command = [compiler, "-shared", "-fPIC", "-O2", str(source), "-o", str(built)]
            if subprocess.run(command, capture_output=True).returncode != 0:
                return None
            built.rename(plugin)
    except OSError:
        return None
    return plugin
