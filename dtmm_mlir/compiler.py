"""From a model to an artifact."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from iree.compiler import ir

from dtmm_mlir import iree_compile
from dtmm_mlir.artifact import HOST_MODULE, Artifact
from dtmm_mlir.diagnostics import to_error
from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.frontends import import_model
from dtmm_mlir.frontends.checks import find_entry
from dtmm_mlir.manifest import SCHEMA_VERSION, file_checksums, layer_table, signature, tool_versions
from dtmm_mlir.output import MANIFEST, atomic_folder
from dtmm_mlir.passes.base import PassError
from dtmm_mlir.passes.cleanup import strip_annotations
from dtmm_mlir.passes.pipeline import make_step, run_pipeline
from dtmm_mlir.passes.plan import Optimize
from dtmm_mlir.report.details import DetailsReader, LayerDetails, write_details
from dtmm_mlir.targets import Target, get_target

OWN_PHASES = ("import", "capture", "plan", "pack", "lower")
"""Phases ahead of IREE's own; each ends with the IR that ``--compile-to`` of that name shows."""

PHASES = (*OWN_PHASES, *iree_compile.PHASES)

OPTIMIZE: tuple[str, ...] = get_args(Optimize)
"""What kernels can be chosen for."""

_OWN_FLAGS = ("o", "compile-from", "compile-to", "output-format")

Progress = Callable[[str], None]


def compile(
    model: Any,
    target: str = "host",
    *,
    example_inputs: Sequence[Any] | None = None,
    out: str | Path | None = None,
    iree_flags: Sequence[str] = (),
    optimize: str = "balanced",
    plans: str | Path | None = None,
    compile_to: str | None = None,
    dump_phases_to: str | Path | None = None,
    progress: Progress = lambda step: None,
) -> Artifact:
    """Compiles a model.

    Args:
        model: a ``.tflite``, ``.pt2``, ``.mlir`` or ``.mlirbc`` file, ``module:function``, a ``torch.nn.Module``, a
            ``torch.export.ExportedProgram`` or an ``ir.Module``.
        target: ``host`` or a microcontroller, see ``dtmm_mlir.targets``.
        example_inputs: arrays or tensors to trace a ``torch.nn.Module`` with.
        out: folder for the artifact: new, empty, or an older artifact, which is replaced only once all went well. By
            default a temporary one that lives as long as the artifact; keep it with ``Artifact.save``.
        iree_flags: further flags of ``iree-compile``.
        optimize: ``speed``, ``size`` or ``balanced``: what the kernels are chosen for.
        plans: JSON file with the kernels of each convolution, such as the manifest of an earlier artifact; where it
            names none, they are chosen.
        compile_to: one of ``PHASES`` to stop after; the artifact then holds ``model.PHASE.mlir`` and cannot run.
        dump_phases_to: folder for the IR after each phase, ours and IREE's.
        progress: called with a few words ahead of each step.

    Raises:
        DtmmError: what is wrong with the model, where, and what to do; nothing is left in ``out``.
    """
    planning = _Planning(get_target(target), optimize, plans)
    job = _Job(model, planning, example_inputs, tuple(iree_flags), compile_to, dump_phases_to, progress)
    if out is None:
        owner = tempfile.TemporaryDirectory(prefix="dtmm-")
        job.build(Path(owner.name))
        return Artifact(Path(owner.name), owner)
    with atomic_folder(Path(out)) as folder:
        job.build(folder)
    return Artifact(Path(out))


def ir_after(
    model: Any,
    phase: str,
    target: str = "host",
    *,
    example_inputs: Sequence[Any] | None = None,
    iree_flags: Sequence[str] = (),
    optimize: str = "balanced",
    plans: str | Path | None = None,
    dump_phases_to: str | Path | None = None,
    progress: Progress = lambda step: None,
) -> str:
    """The IR of ``model`` at the end of ``phase``, as MLIR text; the other arguments are as in ``compile``.

    Args:
        phase: one of ``PHASES``: import, capture, plan, pack, lower, then those of ``iree-compile``.

    Raises:
        DtmmError: as ``compile`` does, and for an unknown phase.
    """
    planning = _Planning(get_target(target), optimize, plans)
    job = _Job(model, planning, example_inputs, tuple(iree_flags), phase, dump_phases_to, progress)
    lowering = job.lowering()
    return job.intermediate(lowering, phase)


def describe_layers(
    model: Any,
    target: str = "host",
    *,
    example_inputs: Sequence[Any] | None = None,
    optimize: str = "balanced",
    plans: str | Path | None = None,
    progress: Progress = lambda step: None,
) -> tuple[list[dict[str, Any]], list[LayerDetails]]:
    """What is known of the convolutions ahead of IREE's part: their entries in the manifest, and the details of each.

    The arguments are as in ``compile``.

    Raises:
        DtmmError: as ``compile`` does.
    """
    planning = _Planning(get_target(target), optimize, plans)
    lowering = _Job(model, planning, example_inputs, (), None, None, progress).lowering()
    return lowering.layers, lowering.details


def identify(model: Any) -> dict[str, Any]:
    """Name and checksum of the source; a model that is no file has the checksum ``None``."""
    if isinstance(model, str | os.PathLike) and Path(model).is_file():
        return {"name": Path(model).name, "sha256": hashlib.sha256(Path(model).read_bytes()).hexdigest()}
    return {"name": model if isinstance(model, str) else type(model).__name__, "sha256": None}


@dataclass(frozen=True)
class _Planning:
    """What kernels are chosen by."""

    target: Target
    optimize: str
    plans: str | Path | None

    def __post_init__(self) -> None:
        if self.optimize not in OPTIMIZE:
            raise DtmmError(f"optimize is '{self.optimize}'; it can be {', '.join(OPTIMIZE)}.")

    def options(self) -> str:
        """Options of ``filterlet-plan``."""
        options = f"target={self.target.name} optimize={self.optimize}"
        return options if self.plans is None else f'{options} plans="{self.plans}"'


@dataclass(frozen=True)
class _Job:
    """What ``compile`` was asked for."""

    model: Any
    planning: _Planning
    example_inputs: Sequence[Any] | None
    iree_flags: tuple[str, ...]
    compile_to: str | None
    dump_phases_to: str | Path | None
    progress: Progress

    def __post_init__(self) -> None:
        if self.compile_to is not None and self.compile_to not in PHASES:
            raise DtmmError(f"there is no phase '{self.compile_to}'; known ones are {', '.join(PHASES)}.")
        for flag in self.iree_flags:
            if flag.lstrip("-").partition("=")[0] in _OWN_FLAGS:
                raise DtmmError(f"the flag {flag} of iree-compile is set by dtmm-mlir; use its own option instead.")

    @property
    def target(self) -> Target:
        return self.planning.target

    def build(self, folder: Path) -> None:
        """Fills the empty ``folder`` with an artifact."""
        lowering = self.lowering()
        sizes: dict[str, Any] = {"flash_bytes": None, "arena_bytes": None, "memory": None, "dispatches": None}
        if self.compile_to is not None:
            text = self.intermediate(lowering, self.compile_to)
            (folder / f"model.{self.compile_to}.mlir").write_text(text)
        else:
            sizes |= self.compile(lowering, folder)
            write_details(lowering.details, folder)
        self.write_manifest(lowering, sizes, folder)

    def lowering(self) -> _Lowering:
        """The model after our last phase that was asked for."""
        lowering = _Lowering(self.model, self.planning, self.example_inputs, self.dump_phases_to, self.progress)
        lowering.run_to(self.compile_to if self.compile_to in OWN_PHASES else OWN_PHASES[-1])
        return lowering

    def intermediate(self, lowering: _Lowering, phase: str) -> str:
        """MLIR text after ``phase``."""
        if phase in OWN_PHASES:
            return lowering.module.operation.get_asm(enable_debug_info=True)
        with tempfile.TemporaryDirectory(prefix="dtmm-") as scratch:
            source, output = Path(scratch, "model.mlirbc"), Path(scratch, "model.mlir")
            lowering.write(source)
            self.progress("compiling with IREE")
            flags = [*self.target.iree_flags(), f"--compile-to={phase}", *self.flags]
            if not self.target.is_host:
                flags.append(f"--iree-llvmcpu-static-library-output-path={scratch}/model.o")
            iree_compile.run(source, output, flags)
            return output.read_text()

    def compile(self, lowering: _Lowering, folder: Path) -> dict[str, Any]:
        """Writes the compiled model; returns the manifest's sizes."""
        with tempfile.TemporaryDirectory(prefix="dtmm-") as scratch:
            source = Path(scratch, "model.mlirbc")
            lowering.write(source)
            self.progress("compiling with IREE")
            if self.target.is_host:
                iree_compile.run(source, folder / HOST_MODULE, [*self.target.iree_flags(), *self.flags])
                return {}
            from dtmm_mlir.deploy import mcu

            image = mcu.build(source, self.target, folder, iree_flags=self.flags)
            memory = {name: size for name, size in asdict(image).items() if isinstance(size, int)}
            dispatches = [{"name": name, "stack_bytes": size} for name, size in image.frames]
            return {
                "flash_bytes": image.flash,
                "arena_bytes": image.arena,
                "memory": memory,
                "dispatches": dispatches,
            }

    @property
    def flags(self) -> list[str]:
        """Flags of ``iree-compile`` besides the target's."""
        dump = [] if self.dump_phases_to is None else [f"--dump-compilation-phases-to={self.dump_phases_to}"]
        return [*dump, *self.iree_flags]

    def write_manifest(self, lowering: _Lowering, sizes: dict[str, Any], folder: Path) -> None:
        compilers = [] if self.target.is_host or self.compile_to else [f"{self.target.cross_prefix}gcc"]
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "tools": tool_versions(*compilers),
            "target": self.target.name,
            "model": identify(self.model),
            "entry": lowering.entry_name,
            "compiled_to": self.compile_to,
            "inputs": [spec.json() for spec in lowering.inputs],
            "outputs": [spec.json() for spec in lowering.outputs],
            **sizes,
            "layers": lowering.layers,
            "iree_flags": list(self.iree_flags),
            "files": file_checksums(folder),
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


class _Lowering:
    """A model on its way through our phases.

    Attributes:
        module: the IR, as the last phase left it.
        inputs, outputs: the model's signature.
        layers: the manifest's layer table, known once ``pack`` ran.
        details: of the same layers, known once ``lower`` ran.
    """

    def __init__(
        self,
        model: Any,
        planning: _Planning,
        example_inputs: Sequence[Any] | None,
        dump_phases_to: str | Path | None,
        progress: Progress,
    ) -> None:
        self._planning = planning
        self._progress = progress
        self._dump_folder = None if dump_phases_to is None else _make_folder(Path(dump_phases_to))
        self._stem = Path(model).stem if isinstance(model, str | os.PathLike) else "model"
        self.layers: list[dict[str, Any]] = []
        self.details: list[LayerDetails] = []
        progress("importing the model")
        self.module = import_model(model, create_context(), example_inputs)
        if any(op.name.startswith("torch.") for op in walk(self.module)):
            self._run("filterlet-torch-to-tosa")
        entry = find_entry(self.module)
        self.entry_name = ir.StringAttr(entry.attributes["sym_name"]).value
        self.inputs, self.outputs = signature(entry)
        self._dump("import")

    def run_to(self, last: str) -> None:
        """Runs our phases up to and including ``last``."""
        options = {"plan": self._planning.options(), "lower": f"target={self._planning.target.name}"}
        reader = DetailsReader(self._planning.target)
        for phase in OWN_PHASES[1 : OWN_PHASES.index(last) + 1]:
            self._progress(f"{phase} convolutions")
            if phase == "capture":
                self._run("filterlet-merge-tables")
            if phase == "plan":
                reader.read_patterns(self.module)
                self._run("filterlet-remove-channels")
            if phase == "pack":
                reader.read_plans(self.module)
            self._run(f"filterlet-{phase}", options.get(phase, ""))
            if phase == "pack":
                self.layers = layer_table(self.module, reader.patterns)
            if phase == "lower":
                self.details = reader.read_dispatches(self.module)
            self._dump(phase)

    def write(self, path: Path) -> None:
        """Writes bytecode that stock ``iree-compile`` accepts; raises PassError for a filterlet op that is left."""
        for op in walk(self.module):
            if op.name.startswith("filterlet."):
                raise PassError(op, "is left after filterlet-lower; IREE cannot compile it.")
        strip_annotations(find_entry(self.module, self.entry_name))
        with path.open("wb") as file:
            self.module.operation.write_bytecode(file)

    def _run(self, name: str, options: str = "") -> None:
        try:
            run_pipeline(self.module, [make_step(name, options)])
        except ir.MLIRError as error:
            raise to_error(error, f"the pass {name} made invalid IR") from error

    def _dump(self, phase: str) -> None:
        if self._dump_folder is not None:
            number = OWN_PHASES.index(phase)
            text = self.module.operation.get_asm(enable_debug_info=True)
            (self._dump_folder / f"{self._stem}.0.{number}.{phase}.mlir").write_text(text)


def _make_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DtmmError(f"the folder for the phases cannot be created: {error.strerror}.", where=str(path)) from None
    return path
