"""TFLite models as TOSA in IREE's context."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iree.compiler import ir

from dtmm_mlir.deploy.tools import run_child
from dtmm_mlir.dialect.constants import defining_op, walk
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.frontends.checks import find_entry, keep_only, reject_dynamic_shapes
from dtmm_mlir.passes.base import PassError

_IDENTIFIER = b"TFL3"
_FOREIGN = ("tf", "tfl", "tf_saved_model")


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a TFLite model.

    Attributes:
        name: of the tensor.
        shape: static shape; a dynamic batch is 1.
        quantization: (scale, zero point), ``None`` for a float tensor.
    """

    name: str
    shape: tuple[int, ...]
    quantization: tuple[float, int] | None


def import_tflite(path: Path, context: ir.Context) -> ir.Module:
    """Reads a ``.tflite`` file.

    Args:
        path: the model: int8 or float32, one subgraph. A dynamic batch dimension is frozen to 1.
        context: from ``create_context``.

    Returns:
        A module with one public function on static NHWC tensors in the ``tosa`` dialect. Its arguments and results
        carry ``filterlet.quantization = {scale = f64, zero_point = i32}`` where they are quantized; locations name
        the TFLite tensors.

    Raises:
        DtmmError: not a TFLite file, dynamic sizes other than the batch, an op the converter does not know, or the
            ``tflite`` extra is not installed.
    """
    _require_extra()
    inputs, outputs = read_signature(path)
    shapes = {tensor.name: tensor.shape for tensor in inputs}
    bytecode = _convert(path, shapes)
    module = _parse(bytecode, context, path)
    entry = find_entry(module, source=str(path))
    keep_only(module, entry)
    _drop_foreign_attributes(module)
    _freeze_results(entry)
    for key, tensors in (("arg_attrs", inputs), ("res_attrs", outputs)):
        _annotate(entry, key, tensors)
    reject_dynamic_shapes(module)
    return module


def read_signature(path: Path) -> tuple[list[TensorInfo], list[TensorInfo]]:
    """Inputs and outputs of the model in the file ``path``; raises DtmmError as ``import_tflite`` does."""
    import tflite

    data = path.read_bytes()
    if data[4:8] != _IDENTIFIER:
        raise DtmmError("this is not a TFLite model: its identifier 'TFL3' is missing.", where=str(path))
    try:
        model = tflite.Model.GetRootAs(data)
        count = model.SubgraphsLength()
        graph = model.Subgraphs(0)
        inputs = [_tensor_info(graph.Tensors(graph.Inputs(i))) for i in range(graph.InputsLength())]
        outputs = [_tensor_info(graph.Tensors(graph.Outputs(i))) for i in range(graph.OutputsLength())]
    except Exception as error:  # offsets of a broken file lead the reader anywhere
        raise _broken(path) from error
    if count != 1:
        raise DtmmError(
            f"the model has {count} subgraphs; control flow is not supported, export a plain feed-forward model.",
            where=str(path),
        )
    for tensor in inputs:
        if min(tensor.shape, default=1) < 1:
            sizes = "x".join("?" if size < 1 else str(size) for size in tensor.shape)
            raise DtmmError(
                f"input '{tensor.name}' has the dynamic shape {sizes}, but only the batch (first) size may be "
                "dynamic; export the model with a fixed input size.",
                where=str(path),
            )
    return inputs, outputs


def _tensor_info(tensor: Any) -> TensorInfo:
    """A dynamic first size becomes 1, any other stays -1."""
    shape = [int(tensor.Shape(i)) for i in range(tensor.ShapeLength())]
    if tensor.ShapeSignatureLength():
        shape = [int(tensor.ShapeSignature(i)) for i in range(tensor.ShapeSignatureLength())]
    if shape and shape[0] == -1:
        shape[0] = 1
    quantization = tensor.Quantization()
    has_scale = quantization is not None and quantization.ScaleLength() == 1
    zero_point = int(quantization.ZeroPoint(0)) if has_scale and quantization.ZeroPointLength() else 0
    return TensorInfo(
        tensor.Name().decode(), tuple(shape), (float(quantization.Scale(0)), zero_point) if has_scale else None
    )


def _require_extra() -> None:
    missing = [name for name in ("tflite", "tosa_converter_for_tflite") if importlib.util.find_spec(name) is None]
    if missing:
        raise DtmmError(f"reading TFLite models needs {' and '.join(missing)}: pip install 'dtmm-mlir[tflite]'.")


def _convert(path: Path, shapes: dict[str, tuple[int, ...]]) -> bytes:
    """TOSA bytecode of the model, made in a child process."""
    with tempfile.TemporaryDirectory(prefix="dtmm-") as folder:
        output = Path(folder, "model.mlirbc")
        program = Path(__file__).with_name("_tflite_converter.py")
        command = [sys.executable, "-P", program, path, output, json.dumps(shapes)]  # -P: there is a torch.py beside it
        child = run_child(list(map(str, command)))
        if "not a valid Flatbuffer" in child.stderr:
            raise _broken(path)
        if child.returncode or not output.exists():
            raise DtmmError(f"the TFLite converter failed: {_reason(child)}", where=str(path))
        return output.read_bytes()


def _reason(child: subprocess.CompletedProcess[str]) -> str:
    if child.returncode < 0:
        return f"it was killed by signal {-child.returncode}; the file is probably damaged."
    errors = [line.partition("error: ")[2] for line in child.stderr.splitlines() if "error: " in line]
    return "; ".join(dict.fromkeys(errors)) or f"exit code {child.returncode}."


def _parse(bytecode: bytes, context: ir.Context, path: Path) -> ir.Module:
    """Parses what the converter made; names ops that it left in the TFLite dialect."""
    before = context.allow_unregistered_dialects
    context.allow_unregistered_dialects = True
    try:
        module = ir.Module.parse(bytecode, context)
    except ir.MLIRError as error:
        raise DtmmError(f"the TFLite converter's output cannot be read: {error.message}.", str(path)) from error
    finally:
        context.allow_unregistered_dialects = before
    for op in walk(module):
        if op.name.partition(".")[0] in _FOREIGN:
            raise PassError(
                op,
                "the TFLite converter cannot express this op in TOSA; replace it in the model or leave it outside "
                "the part that is deployed.",
            )
    return module


def _drop_foreign_attributes(module: ir.Module) -> None:
    """Removes TensorFlow's attributes from the module, its functions, their arguments and results."""
    for op in [module.operation, *walk(module, "func.func")]:
        for name in list(op.attributes):
            if name.partition(".")[0] in _FOREIGN or name in ("arg_attrs", "res_attrs"):
                del op.attributes[name]


def _freeze_results(entry: ir.Operation) -> None:
    """Returns what is cast to a dynamic batch as it was before the cast."""
    (block,) = entry.regions[0].blocks
    terminator = list(block.operations)[-1].operation
    for number, value in enumerate(terminator.operands):
        cast = defining_op(value)
        if cast is not None and cast.name == "tensor.cast":
            terminator.operands[number] = cast.operands[0]
            if not list(cast.result.uses):
                cast.erase()
    arguments, results = ([value.type for value in values] for values in (block.arguments, terminator.operands))
    with entry.context:
        entry.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(arguments, results))


def _annotate(entry: ir.Operation, key: str, tensors: list[TensorInfo]) -> None:
    """Sets name and quantization of arguments or results."""
    with entry.context:
        attributes = [ir.DictAttr.get(_attributes(tensor)) for tensor in tensors]
        entry.attributes[key] = ir.ArrayAttr.get(attributes)


def _attributes(tensor: TensorInfo) -> dict[str, ir.Attribute]:
    attributes: dict[str, ir.Attribute] = {"filterlet.name": ir.StringAttr.get(tensor.name)}
    if tensor.quantization is not None:
        scale, zero_point = tensor.quantization
        i32 = ir.IntegerType.get_signless(32)
        fields = {"scale": ir.FloatAttr.get_f64(scale), "zero_point": ir.IntegerAttr.get(i32, zero_point)}
        attributes["filterlet.quantization"] = ir.DictAttr.get(fields)
    return attributes


def _broken(path: Path) -> DtmmError:
    return DtmmError(
        "the file is damaged or truncated: it is not a readable TFLite model; export or download it again.",
        where=str(path),
    )
