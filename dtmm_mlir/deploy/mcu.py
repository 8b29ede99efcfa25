"""Compiles a module for a microcontroller: static library, C schedule, linked firmware image."""

from __future__ import annotations

import json
import logging
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from iree.compiler import ir

from dtmm_mlir import iree_compile
from dtmm_mlir.deploy import project
from dtmm_mlir.deploy.csource import CSource
from dtmm_mlir.deploy.library import read_library
from dtmm_mlir.deploy.schedule import Schedule, read_schedule
from dtmm_mlir.deploy.spans import Spans, read_spans
from dtmm_mlir.deploy.tools import find_program, run_program
from dtmm_mlir.deploy.trace import step_name, trace
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.targets import Board, Target

IMAGE = "firmware.elf"
RECORD = "firmware.json"
MARKS = ("dtmm_inference_begin", "dtmm_inference_end", "dtmm_fill", "dtmm_copy", "dtmm_call")
"""Functions of the image at which instructions are counted."""

_FRAMES = "frames.txt"
_LOG = logging.getLogger(__name__)
_OVERFLOW = re.compile(r"region `(\w+)' overflowed by (\d+) bytes")


@dataclass(frozen=True)
class McuImage:
    """What a model takes of a microcontroller, in bytes, measured in the linked image.

    Attributes:
        kernels: code and tables of the dispatches.
        runtime: our C runtime.
        schedule: the straight line of calls and its tables.
        constants: weights and other constants.
        firmware_flash: everything in flash: the four above, start-up code, test harness and C library.
        arena: RAM that an inference works in.
        buffers: RAM for inputs and outputs.
        stack: RAM reserved for the stack.
        firmware_ram: everything in RAM: the three above and the harness's variables.
        steps: what the schedule does, in order: names of dispatches, ``fill``, ``copy``.
        frames: name and stack frame of each dispatch function of the library, as LLVM laid it out; functions that it
            calls, such as ``memcpy``, come on top.
    """

    kernels: int
    runtime: int
    schedule: int
    constants: int
    firmware_flash: int
    arena: int
    buffers: int
    stack: int
    firmware_ram: int
    steps: tuple[str, ...]
    frames: tuple[tuple[str, int], ...]

    @property
    def flash(self) -> int:
        """Flash that the model takes, without start-up code and harness."""
        return self.kernels + self.runtime + self.schedule + self.constants

    @property
    def ram(self) -> int:
        """RAM that the model takes besides the stack: arena, inputs and outputs."""
        return self.arena + self.buffers


def build(
    module_path: Path, target: Target, out: Path, name: str = "model", iree_flags: Sequence[str] = ()
) -> McuImage:
    """Compiles ``module_path`` (MLIR text or bytecode that stock ``iree-compile`` accepts) for ``target``.

    Writes to the folder ``out``: ``NAME.c``, ``NAME.h``, the static library ``NAME_library.o`` with IREE's
    header, ``NAME.vmfb`` for IREE's own runtime, ``dtmm/`` (runtime sources), ``board/``, ``Makefile``,
    ``NAME.cmake``, ``README.md`` and the image ``firmware.elf`` for the target's board.

    Args:
        name: a C identifier that files, functions and macros start with.
        iree_flags: further flags of ``iree-compile``.

    Raises:
        DtmmError: ``iree-compile`` or the cross compiler fails or is missing, the model has no static schedule,
            or the image does not fit the board's memory.
    """
    if not name.isidentifier() or not name.isascii():
        raise DtmmError(f"'{name}' cannot be the name of a model; it must be a C identifier.")
    if target.board is None or target.cross_prefix is None:
        raise DtmmError(f"target '{target.name}' has no board to link an image for.")
    compiler = find_program(f"{target.cross_prefix}gcc")
    out.mkdir(parents=True, exist_ok=True)
    compiled = _compile(module_path, target, out, name, iree_flags)
    source = CSource(name, compiled.schedule, read_library(out / f"{name}_library.o"))
    (out / f"{name}.h").write_text(source.header())
    (out / f"{name}.c").write_text(source.source())
    _copy_runtime(out, target.board)
    project.write(out, name, source.library.query, target, compiler=f"{target.cross_prefix}gcc")
    _link(compiler, out, name, target, source)
    return _measure(out, name, target, source, compiled)


@dataclass(frozen=True)
class _Compiled:
    """What IREE told about a model.

    Attributes:
        schedule: its steps.
        spans: what its dispatches touch.
        frames: bytes of stack that each function takes.
    """

    schedule: Schedule
    spans: Spans
    frames: dict[str, int]


def _compile(module_path: Path, target: Target, out: Path, name: str, flags: Sequence[str]) -> _Compiled:
    """Writes the library and the ``.vmfb``.

    Compiling stops at ``executable-sources``, whose IR says what the dispatches touch, and at ``executable-targets``,
    whose IR holds the schedule, and goes on from there. The last part runs in a folder of its own and is given
    relative paths only, as both end up in the ``.vmfb``.
    """
    common = [*target.iree_flags(), f"--iree-llvmcpu-static-library-output-path={name}_library.o"]
    with tempfile.TemporaryDirectory(prefix="dtmm-") as temporary:
        folder = Path(temporary)
        half = folder / f"{name}.mlirbc"
        bytecode = "--emit-mlir-bytecode"  # text would lose the locations
        to_sources = ["--compile-to=executable-sources", bytecode]
        to_targets = ["--compile-from=executable-sources", "--compile-to=executable-targets", bytecode]
        sources = folder / "sources.mlirbc"
        _run_first_part(module_path, sources, [*common, *to_sources, *flags])
        spans = read_spans(ir.Module.parse(sources.read_bytes(), ir.Context()))
        iree_compile.run(sources, half, [*common, *to_targets, *flags])
        module = ir.Module.parse(half.read_bytes(), ir.Context())
        schedule = read_schedule(module)
        _set_name(module, name)
        with half.open("wb") as file:
            module.operation.write_bytecode(file)
        second = ["--compile-from=executable-targets", "--iree-vm-bytecode-module-strip-source-map"]
        second.append(f"--stack-usage-file={_FRAMES}")
        command = [str(iree_compile.tool()), half.name, "-o", f"{name}.vmfb", *common, *second]
        run_program([*command, *map(_absolute_dump, flags)], folder)
        for suffix in ("_library.o", "_library.h", ".vmfb"):
            shutil.copyfile(folder / f"{name}{suffix}", out / f"{name}{suffix}")
        return _Compiled(schedule, spans, _read_frames((folder / _FRAMES).read_text()))


def _read_frames(text: str) -> dict[str, int]:
    """Bytes by function in lines ``FILE:LINE:FUNCTION <tab> BYTES <tab> static``."""
    frames: dict[str, int] = {}
    for line in text.splitlines():
        place, size, _ = line.split("\t")
        name = place.rpartition(":")[2]
        frames[name] = max(int(size), frames.get(name, 0))
    return frames


def _run_first_part(source: Path, output: Path, flags: Sequence[str]) -> None:
    """Compiles; a second time where IREE cannot evaluate a kernel on constants.

    A convolution of a constant is evaluated at compile time, on the host, which lacks the target's intrinsics. Then all
    constant expressions are left to the model's init function.
    """
    try:
        iree_compile.run(source, output, flags)
    except iree_compile.CrashError as error:
        if "Cannot select: intrinsic" not in error.reason:
            raise
        _LOG.warning("a convolution of constants cannot be evaluated at compile time; the init function computes it")
        iree_compile.run(source, output, [*flags, "--iree-opt-const-eval=false"])


def _set_name(module: ir.Module, name: str) -> None:
    """Names the module: IREE names the library and its query function after it, else after the source file."""
    module.operation.attributes["sym_name"] = ir.StringAttr.get(name, module.context)


def _absolute_dump(flag: str) -> str:
    """A flag that dumps files, with its path made absolute."""
    key, equals, path = flag.partition("=")
    return f"{key}={Path(path).absolute()}" if equals and "dump" in key and key.endswith("-to") else flag


def _copy_runtime(out: Path, board: Board) -> None:
    runtime = Path(str(files("dtmm_mlir").joinpath("runtime")))
    shutil.copytree(runtime / "include" / "dtmm", out / "dtmm" / "include" / "dtmm", dirs_exist_ok=True)
    shutil.copytree(runtime / "src", out / "dtmm" / "src", dirs_exist_ok=True)
    for folder in ("common", board.family, board.machine):
        shutil.copytree(runtime / "boards" / folder, out / "board", dirs_exist_ok=True)


def _link(compiler: str, out: Path, name: str, target: Target, source: CSource) -> None:
    """Builds ``firmware.elf``."""
    assert target.board is not None
    with tempfile.TemporaryDirectory(prefix="dtmm-") as temporary:
        objects = []
        for path, output in project.sources(out, name):
            objects.append(str(Path(temporary, output)))
            flags = [*target.board.gcc_flags, *project.CFLAGS, *project.defines(name)]
            run_program([compiler, *flags, "-c", path, "-o", objects[-1]], out)
        command = [
            compiler,
            *target.board.gcc_flags,
            *project.LINK_FLAGS,
            *objects,
            f"{name}_library.o",
            "-lm",
            "-o",
            IMAGE,
        ]
        try:
            run_program(command, out)
        except DtmmError as error:
            raise _does_not_fit(error, target, source) from None


def _does_not_fit(error: DtmmError, target: Target, source: CSource) -> DtmmError:
    """Words a linker's message about a full memory; other messages stay as they are."""
    assert target.board is not None
    overflows = {region: int(excess) for region, excess in _OVERFLOW.findall(error.message)}
    if not overflows:
        return error
    constants = sum(len(constant) for constant in source.schedule.constants)
    details = {
        "FLASH": (target.board.flash.length, f"constants alone take {constants:,} bytes"),
        "RAM": (target.board.ram.length, f"the arena alone takes {source.arena_bytes:,} bytes"),
    }
    sentences = []
    for region, excess in overflows.items():
        size, biggest = details[region]
        sentences.append(f"{region.lower()} of {size:,} bytes is too small by {excess:,} bytes ({biggest})")
    return DtmmError(f"the model does not fit {target.board.machine}: {'; '.join(sentences)}. Prune more.")


def _measure(out: Path, name: str, target: Target, source: CSource, compiled: _Compiled) -> McuImage:
    """Reads the sizes from the image; writes ``firmware.json``, which running it needs."""
    assert target.board is not None
    with (out / IMAGE).open("rb") as file:
        elf = ELFFile(file)
        sizes = {section.name: section["sh_size"] for section in elf.iter_sections()}
        flash = sum(segment["p_filesz"] for segment in elf.iter_segments("PT_LOAD"))
        table = elf.get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        symbols = {symbol.name: symbol["st_value"] & ~1 for symbol in table.iter_symbols()}
    schedule = source.schedule
    image = McuImage(
        kernels=sizes[".kernels"],
        runtime=sizes[".runtime"],
        schedule=sizes[".schedule"],
        constants=sizes.get(".constants", 0),
        firmware_flash=flash,
        arena=source.arena_bytes,
        buffers=sum(tensor.bytes for tensor in [*schedule.inputs, *schedule.outputs]),
        stack=sizes[".stack"],
        firmware_ram=sizes[".data"] + sizes[".bss"] + sizes[".stack"],
        steps=tuple(step_name(step) for step in schedule.steps),
        frames=tuple((export.name, compiled.frames[export.name]) for export in source.library.exports),
    )
    record = {
        "name": name,
        "target": target.name,
        "outputs": [asdict(tensor) for tensor in schedule.outputs],
        "inputs": [asdict(tensor) for tensor in schedule.inputs],
        "marks": {mark: symbols[mark] for mark in MARKS if mark in symbols},
        "image": asdict(image),
        "persistent_bytes": schedule.persistent_bytes,
        "schedule": trace(schedule, compiled.spans),
    }
    (out / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    return image
