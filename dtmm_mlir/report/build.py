"""Makes a report: of a model ahead of compiling, or of a compiled artifact."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dtmm_mlir.artifact import Artifact, load
from dtmm_mlir.dialect.ops import Geometry, Removed
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.manifest import tool_versions
from dtmm_mlir.report.data import Chip, Convolution, Kind, Report, Row
from dtmm_mlir.report.details import LayerDetails, read_details
from dtmm_mlir.report.memory import alive_bytes, lifetimes
from dtmm_mlir.report.outlook import with_outlook
from dtmm_mlir.targets import Target, get_target

Progress = Callable[[str], None]

_HOST_NOTE = "On the host nothing is counted, and times are not measured: the figures are the planner's estimates."
_PREDICTED_NOTE = (
    "Predicted ahead of compiling, convolutions only: flash is that of their weights, indices and parameters, RAM the "
    "largest input and output of one of them. Compile the model and use 'dtmm-mlir report' to measure."
)
_TIMER_NOTE = (
    "The whole is an estimate from the processor's timer, and single steps were not counted: exact counts need a C "
    "compiler and a QEMU with plugins."
)


def analyze(
    model: Any,
    target: str = "host",
    *,
    example_inputs: Sequence[Any] | None = None,
    optimize: str = "balanced",
    plans: str | Path | None = None,
    outlook: bool = True,
    progress: Progress = lambda step: None,
) -> Report:
    """A report of a model ahead of compiling: what the planner predicts of its convolutions.

    Args:
        model, target, example_inputs, optimize, plans, progress: as of ``dtmm_mlir.compile``.
        outlook: whether to predict what other plans and more pruning would give.

    Raises:
        DtmmError: as ``dtmm_mlir.compile`` does.
    """
    from dtmm_mlir import compiler

    layers, details = compiler.describe_layers(
        model, target, example_inputs=example_inputs, optimize=optimize, plans=plans, progress=progress
    )
    rows = _layer_rows(layers, details)
    convolutions = [row.convolution for row in rows if row.convolution]
    report = Report(
        target=target,
        model=compiler.identify(model),
        tools=tool_versions(),
        rows=rows,
        flash={"constants": sum(conv.constant_bytes for conv in convolutions)},
        ram={"tensors": max((_tensor_bytes(conv) for conv in convolutions), default=0)},
        chip=_chip(get_target(target)),
        notes=[_PREDICTED_NOTE, *([_HOST_NOTE] if get_target(target).is_host else [])],
    )
    progress("predicting what pruning would gain")
    return with_outlook(report, optimize) if outlook else report


def measure(
    artifact: Artifact | str | Path,
    inputs: Any = None,
    *,
    outlook: bool = True,
    progress: Progress = lambda step: None,
) -> Report:
    """A report of a compiled artifact; for a microcontroller one inference is counted in QEMU.

    Args:
        artifact: or its folder.
        inputs: what to run, as for ``Artifact.run``; of a stack the first one; zeros by default.
        outlook: whether to predict what other plans and more pruning would give.
        progress: called with a few words ahead of each step.

    Raises:
        DtmmError: there is no complete artifact, an input does not fit, or QEMU is missing or fails.
    """
    artifact = artifact if isinstance(artifact, Artifact) else load(artifact)
    manifest = artifact.manifest
    if manifest["compiled_to"] is not None:
        raise DtmmError(f"the artifact was compiled only to the phase '{manifest['compiled_to']}'.", str(artifact.dir))
    details = read_details(artifact.dir)
    report = Report(
        target=manifest["target"],
        model=manifest["model"],
        tools=manifest["tools"],
        rows=_layer_rows(manifest["layers"], details),
        chip=_chip(get_target(manifest["target"])),
    )
    if get_target(report.target).is_host:
        report = replace(report, notes=[_HOST_NOTE])
    else:
        progress("counting instructions in QEMU")
        report = _counted(report, artifact, inputs)
    progress("predicting what pruning would gain")
    return with_outlook(report) if outlook else report


def _counted(report: Report, artifact: Artifact, inputs: Any) -> Report:
    from dtmm_mlir.deploy import qemu
    from dtmm_mlir.deploy.library import code_sizes
    from dtmm_mlir.deploy.mcu import RECORD

    artifact.check_intact()
    record = json.loads((artifact.dir / RECORD).read_text())
    schedule = record["schedule"]
    zeros = [np.zeros(spec.shape, spec.dtype) for spec in artifact.inputs]
    case = artifact.cases(zeros if inputs is None else inputs)[0][0]
    run = qemu.run(artifact.dir, [case])
    is_exact = run.counter == qemu.EXACT
    counts = [count for _, count in run.steps] if is_exact else [None] * len(schedule)
    code, tensors = code_sizes(artifact.dir / "model_library.o"), lifetimes(schedule, record["persistent_bytes"])
    layers = {row.function: row for row in report.rows}
    rows = [
        replace(
            layers.get(step["name"]) or Row(step["name"], _kind(step["name"]), _function(step["name"])),
            instructions=count,
            code_bytes=code.get(step["name"]),
            ram_bytes=alive_bytes(tensors, number),
        )
        for number, (step, count) in enumerate(zip(schedule, counts, strict=True))
    ]
    memory = artifact.manifest["memory"]
    if is_exact:
        around = (run.instructions or 0) - sum(count for count in counts if count is not None)
        rows.append(Row("checks and calls of the runtime", "runtime", None, around, memory["runtime"]))
    return replace(
        report,
        tools={**report.tools, **_versions(get_target(report.target))},
        rows=rows,
        instructions=run.instructions,
        counter=run.counter,
        checksums={"input": _checksum(case), "output": _checksum(run.outputs[0])},
        flash={part: memory[part] for part in ("kernels", "runtime", "schedule", "constants")},
        ram={"arena": memory["arena"], "buffers": memory["buffers"], "stack": run.stack},
        tensors=tensors,
        notes=[] if is_exact else [_TIMER_NOTE],
    )


def _layer_rows(layers: list[dict[str, Any]], details: list[LayerDetails]) -> list[Row]:
    return [
        Row(
            _name(layer) or each.kernel,
            "convolution",
            each.kernel,
            location=layer["location"],
            convolution=_convolution(layer, each),
        )
        for layer, each in zip(layers, details, strict=True)
    ]


def _convolution(layer: dict[str, Any], details: LayerDetails) -> Convolution:
    fields = {name: tuple(layer[name]) for name in ("strides", "dilations", "pads")}
    geometry = Geometry(
        *layer["input_shape"], layer["output_shape"][3], *layer["kernel"], **fields, groups=layer["groups"]
    )
    return Convolution(
        kind=layer["kind"],
        dtype=layer["dtype"],
        geometry=geometry,
        kept=details.kept,
        kept_macs=layer["kept_macs"],
        dense_macs=layer["dense_macs"],
        removed=Removed(tuple(layer["removed_filters"]), tuple(layer["removed_channels"])),
        plan=Plan.of(layer["plan"]),
        predicted=details.predicted,
        weight_bytes=details.weight_bytes,
        index_bytes=details.index_bytes,
        parameter_bytes=details.parameter_bytes,
    )


def _name(layer: dict[str, Any]) -> str | None:
    """As in the model; a mere number, as PyTorch's containers give, with the kind."""
    name: str | None = layer["name"]
    return f"{layer['kind']} {name}" if name and name.isdigit() else name


def _kind(step: str) -> Kind:
    return step if step in ("fill", "copy") else "dispatch"  # type: ignore[return-value]


def _function(step: str) -> str | None:
    return None if _kind(step) != "dispatch" else step


def _tensor_bytes(conv: Convolution) -> int:
    """Bytes of a convolution's input and output; an output that is not requantized counts as if it were."""
    g = conv.geometry
    return np.dtype(conv.dtype).itemsize * (g.n * g.h * g.w * g.c + g.n * g.oh * g.ow * g.f)


def _chip(target: Target) -> Chip | None:
    if target.board is None:
        return None
    return Chip(f"QEMU's {target.board.machine}", target.board.flash.length, target.board.ram.length)


def _checksum(arrays: Sequence[np.ndarray]) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def _versions(target: Target) -> dict[str, str]:
    """Versions of the cross compiler and of QEMU."""
    from dtmm_mlir.deploy.tools import program_version

    assert target.board is not None
    return {name: program_version(name) or "unknown" for name in (f"{target.cross_prefix}gcc", target.board.qemu)}
