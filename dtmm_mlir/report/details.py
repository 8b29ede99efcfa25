"""What compiling knows of each convolution and the manifest does not tell: ``layers.json`` beside it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.ops import CONV, PACKED_CONV, ConvView, PackedConvView
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.passes.cost import costs_of, estimate
from dtmm_mlir.passes.kernels.select import isa_of
from dtmm_mlir.targets import Target

DETAILS = "layers.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class LayerDetails:
    """One convolution.

    Attributes:
        kernel: its function in the compiled library.
        predicted: instructions by the cost model; ``None`` where it does not know the kernel.
        weight_bytes: of the stored weights, padding included.
        index_bytes: of the offsets of the stored runs.
        parameter_bytes: of bias, scales and counts.
        kept: [F, KH, KW] bool, which filterlets survived pruning in the model.
    """

    kernel: str
    predicted: int | None
    weight_bytes: int
    index_bytes: int
    parameter_bytes: int
    kept: np.ndarray


class DetailsReader:
    """Collects the details of a module's convolutions while it is lowered.

    Args:
        target: what the module is compiled for.

    Attributes:
        patterns: of each convolution in the model, [F, KH, KW] bool: which filterlets survived pruning.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self.patterns: list[np.ndarray] = []
        self._predictions: list[int | None] = []
        self._older: set[str] = set()

    def read_patterns(self, module: ir.Module) -> None:
        """To be called between ``capture`` and what removes channels."""
        self.patterns = [_pattern(op) for op in walk(module, CONV, PACKED_CONV)]

    def read_plans(self, module: ir.Module) -> None:
        """To be called between ``plan`` and ``pack``."""
        self._predictions = [_prediction(op, self._target) for op in walk(module, CONV, PACKED_CONV)]
        self._older = {_function(op) for op in walk(module, "flow.dispatch")}

    def read_dispatches(self, module: ir.Module) -> list[LayerDetails]:
        """To be called after ``lower``, whose dispatches are in the order of the convolutions."""
        functions = {op: _function(op) for op in walk(module, "flow.dispatch")}
        dispatches = [op for op, name in functions.items() if name.startswith("filterlet_") and name not in self._older]
        return [
            LayerDetails(_function(op), predicted, *_stored_bytes(op), kept)
            for op, predicted, kept in zip(dispatches, self._predictions, self.patterns, strict=True)
        ]


def write_details(details: list[LayerDetails], folder: Path) -> None:
    """Writes ``layers.json`` to an artifact's folder."""
    record = {"schema_version": SCHEMA_VERSION, "layers": [_entry(layer) for layer in details]}
    (folder / DETAILS).write_text(json.dumps(record, indent=1) + "\n")


def read_details(folder: Path) -> list[LayerDetails]:
    """What ``write_details`` wrote.

    Raises:
        DtmmError: the file is missing or of another version.
    """
    path = folder / DETAILS
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DtmmError(f"the artifact has no figures of its layers ({error}); compile it again.", str(path)) from None
    if record.get("schema_version") != SCHEMA_VERSION:
        raise DtmmError("the artifact is of another version; compile it again.", where=str(path))
    return [_layer(entry) for entry in record["layers"]]


def pattern(kept: np.ndarray) -> dict[str, Any]:
    """A pattern of filterlets for JSON: its shape [F, KH, KW] and its bits in base64, in C order, first bit highest."""
    return {"shape": list(kept.shape), "bits": base64.b64encode(np.packbits(kept).tobytes()).decode()}


def read_pattern(entry: dict[str, Any]) -> np.ndarray:
    """The inverse of ``pattern``."""
    bits = np.frombuffer(base64.b64decode(entry["bits"]), np.uint8)
    return np.unpackbits(bits, count=prod(entry["shape"])).astype(bool).reshape(entry["shape"])


def predict(conv: ConvView, plan: Plan, target: Target) -> int | None:
    """Instructions of a convolution by the cost model, which does not know ``depthwise``."""
    if plan.kernel == "depthwise":
        return None
    return round(estimate(conv, plan, isa_of(target.isa, target.vector_bytes), costs_of(target.isa)))


def packed_pattern(conv: PackedConvView) -> np.ndarray:
    """[F, KH, KW] bool: which filterlets a packed convolution stores with a weight that is not zero."""
    g, plan = conv.geometry, Plan.read(conv.op.attributes["plan"])
    kept = np.zeros((g.f, g.kh, g.kw), bool)
    if plan.kernel == "depthwise":
        for values, position in zip(conv.values, conv.positions, strict=True):
            kept[:, position // g.kw, position % g.kw] = values != 0
        return kept
    blocks = np.repeat(np.arange(len(conv.counts)), conv.counts)
    stored = conv.values.reshape(-1, plan.stored_filters, plan.stored_width, g.group_channels).any(axis=3)
    for block, position, run in zip(blocks, conv.positions, stored, strict=True):
        first, (ky, kx) = plan.first_filter(int(block), g.f), divmod(int(position), g.kw)
        kept[first : first + plan.stored_filters, ky, kx : kx + plan.stored_width] |= run
    return kept


def _pattern(op: ir.Operation) -> np.ndarray:
    """Of a convolution in the model: filters that were removed before have none."""
    conv = ConvView(op) if op.name == CONV else PackedConvView(op)
    kept = conv.kept if isinstance(conv, ConvView) else packed_pattern(conv)
    pattern = np.zeros((conv.model_geometry.f, *kept.shape[1:]), bool)
    pattern[np.setdiff1d(np.arange(len(pattern)), conv.removed.filters)] = kept
    return pattern


def _prediction(op: ir.Operation, target: Target) -> int | None:
    """``None`` for a convolution that came packed."""
    return predict(ConvView(op), Plan.read(op.attributes["plan"]), target) if op.name == CONV else None


def _function(dispatch: ir.Operation) -> str:
    (entry_point,) = ir.ArrayAttr(dispatch.attributes["entry_points"])
    return ir.SymbolRefAttr(entry_point).value[-1]


def _stored_bytes(dispatch: ir.Operation) -> tuple[int, int, int]:
    """Weights, offsets and all other constants of one of our dispatches: the first operand is its input."""
    weights, offsets, *others = (_tensor_bytes(operand) for operand in list(dispatch.operands)[1:])
    return weights, offsets, sum(others)


def _tensor_bytes(value: ir.Value) -> int:
    kind = ir.RankedTensorType(value.type)
    return prod(kind.shape) * getattr(kind.element_type, "width", 8) // 8


def _entry(layer: LayerDetails) -> dict[str, Any]:
    return {**vars(layer), "kept": pattern(layer.kept)}


def _layer(entry: dict[str, Any]) -> LayerDetails:
    return LayerDetails(**{**entry, "kept": read_pattern(entry["kept"])})
