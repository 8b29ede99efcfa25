"""Which target a module that ``iree-compile`` works on is for."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from iree.compiler import ir

from dtmm_mlir.errors import DtmmError
from dtmm_mlir.targets import GENERIC, HOST, TARGETS, X86_64_V3, Target, get_target

VARIABLE = "DTMM_MLIR_TARGET"

_IN_ATTRIBUTE = re.compile(r'\b(cpu|cpu_features) = "([^"]*)"')
_IN_FLAG = re.compile(r"--?iree-llvmcpu-target-(cpu|cpu-features)=(.*)", re.DOTALL)


def find_target(module: ir.Module, flags: Sequence[str], chosen: str = "") -> Target:
    """The target ``chosen``, else that of the cpu which the module or the flags name.

    Without a cpu that dtmm-mlir knows it is what the environment variable ``DTMM_MLIR_TARGET`` names, then the host for
    one whose features include those of its kernels, then ``x86-64-v3`` for one with AVX2 and FMA, then ``generic``: as
    for ``iree-compile``, no cpu means any.

    Args:
        module: may have ``hal.device.targets``.
        flags: the command line of ``iree-compile`` or another program.
        chosen: name of a target.

    Raises:
        DtmmError: a name is no target's, or the kernels of the named one cannot be compiled with the flags.
    """
    devices = str(module.operation.attributes.get("hal.device.targets", ""))
    named = _IN_ATTRIBUTE.findall(devices)
    named += [(match[1].replace("-", "_"), match[2]) for flag in flags if (match := _IN_FLAG.fullmatch(flag))]
    cpus = {value for kind, value in named if kind == "cpu"}
    features = {feature for kind, value in named if kind == "cpu_features" for feature in value.split(",")}
    has_isa = _includes(features, HOST)
    name = chosen or os.environ.get(VARIABLE)
    if name == HOST.name and HOST.isa != GENERIC.isa and not has_isa and cpus <= {GENERIC.cpu} and _is_compiler(flags):
        raise DtmmError(
            "the target is host, but iree-compile is to compile for any processor; add --iree-llvmcpu-target-cpu=host."
        )
    if chosen:
        return get_target(chosen)
    for target in TARGETS.values():
        if target.cpu in cpus:
            return target
    if name:
        return get_target(name)
    if has_isa:
        return HOST
    return X86_64_V3 if _includes(features, X86_64_V3) else GENERIC


def _includes(features: set[str], target: Target) -> bool:
    """Whether cpu features, as LLVM calls them, include those of the target's kernels; AVX2 alone does not mean FMA."""
    needed = {f"+{target.isa}"} | ({"+fma"} if target.isa in ("avx2", "avxvnni") else set())
    return needed <= features


def parent_flags() -> list[str]:
    """The arguments of the process that started this one; none where they cannot be read."""
    try:
        text = Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
    except OSError:
        return []
    return os.fsdecode(text).split("\0")


def _is_compiler(flags: Sequence[str]) -> bool:
    """Whether ``flags`` are all that matters: other programs may set them in functions."""
    return bool(flags) and Path(flags[0]).name == "iree-compile"
