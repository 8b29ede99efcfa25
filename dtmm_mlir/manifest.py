"""``manifest.json``: what an artifact is, beside the artifact. Its form is in ``manifest.schema.json``."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from iree.compiler import ir

from dtmm_mlir.deploy.tools import program_version
from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.ops import PACKED_CONV, Geometry, PackedConvView
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.passes.base import location_text

SCHEMA_VERSION = 3
SCHEMA_FILE = Path(__file__).with_name("manifest.schema.json")

_TORCH_TENSOR = re.compile(r"!torch\.v?tensor<\[(?P<shape>[\d,]*)\],(?P<element>\w+)>")
_DTYPES = {
    "i1": "bool", "i8": "int8", "si8": "int8", "ui8": "uint8", "i16": "int16", "si16": "int16", "i32": "int32",
    "si32": "int32", "i64": "int64", "si64": "int64", "f16": "float16", "f32": "float32", "f64": "float64",
}  # fmt: skip


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of the model.

    Attributes:
        name: as in the model, or ``input0``, ``output0``.
        shape: of one inference, the batch of 1 included.
        dtype: numpy's name.
        quantization: ``{"scale": float, "zero_point": int}`` or ``None``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: dict[str, Any] | None = None

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "shape": list(self.shape)}

    @staticmethod
    def read(entry: dict[str, Any]) -> TensorSpec:
        """The record behind what ``json`` made; raises ValueError, KeyError or TypeError for anything else."""
        spec = TensorSpec(str(entry["name"]), tuple(entry["shape"]), entry["dtype"], entry["quantization"])
        if spec.dtype not in _DTYPES.values() or not all(type(size) is int and size >= 0 for size in spec.shape):
            raise ValueError(f"'{spec.name}' has the dtype {spec.dtype} and the shape {spec.shape}")
        if spec.quantization is not None:
            scale, zero_point = (float(spec.quantization[key]) for key in ("scale", "zero_point"))
            if not (scale > 0 and math.isfinite(scale) and zero_point.is_integer()):
                raise ValueError(f"'{spec.name}' has the quantization {spec.quantization}")
        return spec


def signature(entry: ir.Operation) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs of the function ``entry``; tensors of the torch dialect are understood as well.

    Raises:
        DtmmError: an argument or result is not a tensor.
    """
    kind = ir.FunctionType(ir.TypeAttr(entry.attributes["function_type"]).value)
    return (
        _specs(kind.inputs, _argument_attributes(entry, "arg_attrs"), "input"),
        _specs(kind.results, _argument_attributes(entry, "res_attrs"), "output"),
    )


def check(manifest: dict[str, Any]) -> None:
    """Whether all that running an artifact reads of its manifest has the right form.

    Raises:
        ValueError, KeyError, TypeError: it has not; with what and where.
    """
    kinds = {"target": str, "entry": str, "compiled_to": str | None, "model": dict, "files": dict, "layers": list}
    for name, kind in kinds.items():
        if not isinstance(manifest[name], kind):
            raise ValueError(f"'{name}' cannot be {type(manifest[name]).__name__}")
    if not isinstance(manifest["model"]["name"], str):
        raise ValueError("the model's name is no text")
    for tensor in [*manifest["inputs"], *manifest["outputs"]]:
        TensorSpec.read(tensor)
    for file in manifest["files"]:
        if Path(file).is_absolute() or ".." in Path(file).parts:
            raise ValueError(f"the file '{file}' is not below the artifact's folder")


def file_checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below ``folder`` by its relative path, sorted."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_checksum(path) for path in paths}


def file_checksum(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def layer_table(module: ir.Module, patterns: list[np.ndarray]) -> list[dict[str, Any]]:
    """One entry per ``filterlet.packed_conv_2d``, as in the manifest; call it between pack and lower.

    Args:
        patterns: of each, [F, KH, KW] bool: which filterlets survived pruning in the model.
    """
    convs = [PackedConvView(op) for op in walk(module, PACKED_CONV)]
    return [_layer(conv, kept) for conv, kept in zip(convs, patterns, strict=True)]


def shape_entry(g: Geometry) -> dict[str, Any]:
    """The shape of a convolution as JSON has it, here and in reports."""
    return {
        "input_shape": [g.n, g.h, g.w, g.c],
        "output_shape": list(g.output_shape),
        "kernel": [g.kh, g.kw],
        "strides": list(g.strides),
        "dilations": list(g.dilations),
        "pads": list(g.pads),
        "groups": g.groups,
    }


def tool_versions(*programs: str) -> dict[str, str]:
    """Versions of what made an artifact: the packages, and what ``programs`` say of themselves."""
    packages = ("dtmm-mlir", "iree-base-compiler", "iree-base-runtime")
    versions = {name: metadata.version(name) for name in packages}
    return versions | {name: program_version(name) or "unknown" for name in programs}


def _layer(conv: PackedConvView, kept: np.ndarray) -> dict[str, Any]:
    g = conv.model_geometry
    macs = g.n * g.oh * g.ow * g.group_channels
    plan = asdict(Plan.read(conv.op.attributes["plan"]))
    location = location_text(conv.op.location)
    return {
        "name": _layer_name(conv.op.location),
        "location": location,
        "kind": _kind(conv),
        "dtype": _DTYPES[conv.element_type],
        **shape_entry(g),
        "kept_filterlets": int(kept.sum()),
        "total_filterlets": kept.size,
        "kept_macs": macs * int(kept.sum()),
        "dense_macs": macs * kept.size,
        "removed_filters": list(conv.removed.filters),
        "removed_channels": list(conv.removed.channels),
        "plan": plan,
    }


def _kind(conv: PackedConvView) -> str:
    g = conv.geometry
    if g.is_depthwise:
        return "depthwise_conv_2d"
    return "linear" if (g.h, g.w, g.kh, g.kw) == (1, 1, 1, 1) else "conv_2d"


def _layer_name(location: ir.Location) -> str | None:
    """The name the model gives to a layer, where its location has one."""
    if isinstance(location, ir.NameLoc):
        return _short_name(location.name_str)
    if isinstance(location, ir.FusedLoc):
        return next((name for inner in location.locations if (name := _layer_name(inner))), None)
    if isinstance(location, ir.CallSiteLoc):
        return _layer_name(location.callee)
    return None


def _short_name(name: str) -> str:
    """TFLite joins the names of fused ops by semicolons: the one that adds the bias is called after the layer."""
    pieces = name.split(";")
    return next((p.removesuffix("/BiasAdd") for p in pieces if p.endswith("/BiasAdd")), pieces[-1])


def _specs(kinds: list[ir.Type], attributes: list[dict[str, ir.Attribute]], prefix: str) -> list[TensorSpec]:
    specs = []
    for at, kind in enumerate(kinds):
        shape, element = _shape_and_element(kind)
        own = attributes[at] if at < len(attributes) else {}
        name = ir.StringAttr(own["filterlet.name"]).value if "filterlet.name" in own else f"{prefix}{at}"
        quantization = _quantization(own.get("filterlet.quantization"))
        if element not in _DTYPES:
            raise DtmmError(f"{prefix} {at} has the type {kind}, whose elements numpy does not have.")
        specs.append(TensorSpec(name, shape, _DTYPES[element], quantization))
    return specs


def _shape_and_element(kind: ir.Type) -> tuple[tuple[int, ...], str]:
    if isinstance(kind, ir.RankedTensorType):
        return tuple(kind.shape), str(kind.element_type)
    match = _TORCH_TENSOR.fullmatch(str(kind))
    if match is None:
        raise DtmmError(f"a model's inputs and outputs are tensors of static shape, not {kind}.")
    return tuple(int(size) for size in match["shape"].split(",") if size), match["element"]


def _argument_attributes(entry: ir.Operation, key: str) -> list[dict[str, ir.Attribute]]:
    if key not in entry.attributes:
        return []
    return [{named.name: named.attr for named in ir.DictAttr(one)} for one in ir.ArrayAttr(entry.attributes[key])]


def _quantization(attribute: ir.Attribute | None) -> dict[str, Any] | None:
    if attribute is None:
        return None
    fields = ir.DictAttr(attribute)
    scale = ir.FloatAttr(fields["scale"]).value
    return {"scale": scale, "zero_point": ir.IntegerAttr(fields["zero_point"]).value}
