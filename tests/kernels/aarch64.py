"""Convolutions on AArch64, in QEMU's user mode."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dtmm_mlir.deploy import qemu
from dtmm_mlir.targets import Target
from tests.kernels.convolutions import Sample, build_module
from tests.runtime.programs import link, write_model

TARGET = Target("aarch64", "aarch64-unknown-linux-gnu", "generic", "hard", "dotprod", 16, 64)
"""Any processor with dot products, as far as IREE knows."""

_EMULATOR, _PREFIX = "qemu-aarch64", "aarch64-linux-gnu-"
_LIBRARIES = "/usr/aarch64-linux-gnu"
_ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0"}
"""There is no tracing of processes in QEMU."""

_KERNEL, _OTHERS = "filterlet_", ("dtmm_copy", "dtmm_status_text")
"""Beginnings of the names of what the program calls: convolutions, and what may follow one."""

needs_emulator = pytest.mark.skipif(
    not (shutil.which(_EMULATOR) and shutil.which(f"{_PREFIX}gcc")), reason=f"needs {_EMULATOR} and {_PREFIX}gcc"
)


def build(samples: list[Sample], folder: Path, *, sanitized: bool = False) -> Path:
    """A program that computes all of them.

    Args:
        sanitized: whether AddressSanitizer looks at what kernels load and store.
    """
    write_model(folder, build_module(samples), TARGET, ["--iree-llvmcpu-sanitize=address"] if sanitized else [])
    return link(folder, folder / "model.c", [f"{_PREFIX}gcc", "-O1", "-fsanitize=address" if sanitized else "-static"])


def run(program: Path, samples: list[Sample], *arguments: str) -> list[np.ndarray]:
    """The results.

    Args:
        arguments: of the emulator.
    """
    data = b"".join(np.ascontiguousarray(sample.x).tobytes() for sample in samples)
    command = [_EMULATOR, "-L", _LIBRARIES, *arguments, str(program)]
    child = subprocess.run(command, input=data, capture_output=True, cwd=program.parent, env=_ENVIRONMENT)
    assert child.returncode == 0, child.stderr.decode(errors="replace")[:3000]
    ends = np.cumsum([sample.expected.nbytes for sample in samples])
    parts = [child.stdout[end - sample.expected.nbytes : end] for sample, end in zip(samples, ends, strict=True)]
    return [
        np.frombuffer(part, sample.expected.dtype).reshape(sample.expected.shape)
        for sample, part in zip(samples, parts, strict=True)
    ]


def instructions(program: Path, samples: list[Sample]) -> list[int]:
    """Those of each convolution."""
    symbols = subprocess.run([f"{_PREFIX}nm", program], capture_output=True, text=True, check=True).stdout
    found = re.findall(rf"^(\w+) . ({_KERNEL}\w+|{'|'.join(_OTHERS)})$", symbols, re.MULTILINE)
    marks = {int(address, 16): name for address, name in found}
    plugin = qemu._count_plugin()
    assert plugin is not None, "needs a C compiler"
    run(program, samples, *qemu._plugin_arguments(plugin, {name: at for at, name in marks.items()}, program.parent))
    lines = [line.split() for line in (program.parent / qemu._COUNTS).read_text().splitlines()]
    counted = pairwise((marks[int(address, 16)], int(count)) for address, count in lines)
    of_kernels = [after - before for (name, before), (_, after) in counted if name.startswith(_KERNEL)]
    return of_kernels[: len(samples)]
