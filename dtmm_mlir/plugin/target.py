"""Which target a module that ``iree-compile`` works on is for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from iree.compiler import ir

from dtmm_mlir.targets import TARGETS, Target, get_target

VARIABLE = "DTMM_MLIR_TARGET"

_CPU_ATTRIBUTE = re.compile(r'\bcpu = "([^"]*)"')
_CPU_FLAG = re.compile(r"--?iree-llvmcpu-target-cpu=(.*)")


def find_target(module: ir.Module, flags: Iterable[str]) -> Target:
    """The target of the cpu that the module or the flags name, else that of ``DTMM_MLIR_TARGET``, else the host.

    Args:
        module: may have ``hal.device.targets``.
        flags: of ``iree-compile``.

    Raises:
        DtmmError: ``DTMM_MLIR_TARGET`` names no target.
    """
    devices = str(module.operation.attributes.get("hal.device.targets", ""))
    named = _CPU_ATTRIBUTE.findall(devices) + [match[1] for flag in flags if (match := _CPU_FLAG.fullmatch(flag))]
    for cpu in named:
        for target in TARGETS.values():
            if target.cpu == cpu:
                return target
    return get_target(os.environ.get(VARIABLE) or "host")


def parent_flags() -> list[str]:
    """The arguments of the process that started this one; none where they cannot be read."""
    try:
        text = Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
    except OSError:
        return []
    return os.fsdecode(text).split("\0")
