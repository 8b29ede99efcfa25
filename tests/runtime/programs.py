"""Models as C programs for machines with an operating system."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import pytest
from iree.compiler import ir

from dtmm_mlir.compiler import ir_after
from dtmm_mlir.deploy import mcu
from dtmm_mlir.deploy.csource import CSource
from dtmm_mlir.deploy.library import read_library
from dtmm_mlir.targets import TARGETS, Target

RUNTIME = Path(str(files("dtmm_mlir").joinpath("runtime")))


def write_model(folder: Path, module: ir.Module, target: Target, flags: Sequence[str] = ()) -> None:
    """Writes a model's schedule, ``model.c`` and ``model.h``, and its kernels, ``model_library.o``.

    Args:
        target: need not be one that is known by its name.
        flags: further ones of ``iree-compile``.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TARGETS, target.name, target)
        (folder / "model.mlir").write_text(ir_after(module, "lower", target.name))
    schedule = mcu._compile(folder / "model.mlir", target, folder, "model", flags).schedule
    source = CSource("model", schedule, read_library(folder / "model_library.o"))
    (folder / "model.h").write_text(source.header())
    (folder / "model.c").write_text(source.source())


def link(folder: Path, schedule: Path, compiler: Sequence[str]) -> Path:
    """The program that runs a model with ``schedule``, its ``model.c`` or another, see ``program.c``.

    Args:
        folder: what ``write_model`` wrote.
        compiler: a C compiler and its flags.
    """
    program = folder / f"{schedule.stem}.out"
    sources = [Path(__file__).with_name("program.c"), schedule, *sorted(RUNTIME.glob("src/*.c"))]
    includes = [f"-I{folder}", f"-I{RUNTIME}/include"]
    objects = [folder / "model_library.o", "-lm", "-o", program]
    subprocess.run([*compiler, *includes, *sources, *objects], check=True)
    return program
