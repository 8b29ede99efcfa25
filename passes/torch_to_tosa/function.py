"""The pass, and how a whole function changes over."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from iree.compiler import ir
from iree.compiler.dialects import func

from dtmm_mlir.dialect.constants import defining_op, walk
from dtmm_mlir.passes.base import Pass, PassError, warn
from dtmm_mlir.passes.torch_to_tosa import build
from dtmm_mlir.passes.torch_to_tosa.floating import FloatForms, unsupported
from dtmm_mlir.passes.torch_to_tosa.fold import fold_constants
from dtmm_mlir.passes.torch_to_tosa.integer import IntegerForms
from dtmm_mlir.passes.torch_to_tosa.layout import Tensor, from_torch_order, to_torch_order
from dtmm_mlir.passes.torch_to_tosa.movement import MOVEMENTS
from dtmm_mlir.passes.torch_to_tosa.operands import (
    DEQUANTIZE,
    DEQUANTIZE_PER_CHANNEL,
    QUANTIZE,
    Quantization,
    element_of,
    is_tensor,
    name_of,
    quantization,
    shape_of,
)
from dtmm_mlir.passes.torch_to_tosa.recompose import recompose
from dtmm_mlir.passes.torch_to_tosa.window import CONVOLUTIONS, LINEARS

_QUANTIZATION = "filterlet.quantization"


@dataclasses.dataclass
class TorchToTosa(Pass):
    """Turns functions on ``!torch.vtensor`` into TOSA, NHWC inside.

    Reads float32 networks and networks quantized to int8 by PT2E, whose groups ``dequantize ... quantize`` become
    integer TOSA. Arguments and results keep torch's NCHW shapes; those of a quantized network are i8 and carry
    ``filterlet.quantization = {scale, zero_point}``.

        torch.aten.conv2d(dequantize x, dequantize w), torch.aten.relu, quantize
    ==>
        tosa.conv2d i8 -> i32, tosa.rescale (one multiplier per channel), tosa.clamp

    Every group differs from torch by at most one step, where torch rounds ties to even.
    Not handled: dynamic shapes, transposed, 1-D and 3-D convolutions, recurrent networks, attention; asymmetric and
    uint8 weights; float32 convolutions inside a quantized network.
    """

    name: ClassVar[str] = "filterlet-torch-to-tosa"

    def run(self, module: ir.Module) -> None:
        """Converts every function of ``module`` that takes or returns a ``!torch.vtensor``.

        Raises:
            PassError: an op has no TOSA form.
        """
        for op in walk(module, "func.func"):
            function = op.opview
            if any(map(is_torch_type, [*function.type.inputs, *function.type.results])):
                fold_constants(function.operation)
                recompose(function.operation)
                _Conversion(function).run()


def is_torch_type(kind: ir.Type) -> bool:
    """Whether ``kind`` is a tensor of the torch dialect."""
    return str(kind).startswith(("!torch.vtensor", "!torch.tensor"))


class _Conversion:
    """One function on its way; the new one is built in front of the old one."""

    def __init__(self, function: func.FuncOp) -> None:
        if function.is_external or len(function.body.blocks) != 1:
            raise PassError(function, "must have a body of one block")
        self._old = function
        self._block = function.entry_block
        self._return = self._block.operations[len(self._block.operations) - 1].operation
        self._quantized = any(name_of(op) in (QUANTIZE, DEQUANTIZE) for op in self._ops())
        self._tensors: dict[ir.Value, Tensor] = {}

    def run(self) -> None:
        arguments = [_argument_quantization(value) for value in self._block.arguments]
        results = [self._result_source(value) for value in self._return.operands]
        self._check_float_ops()
        new = self._create(arguments, results)
        try:
            self._fill(new, arguments, results)
        except PassError:
            new.erase()
            raise
        name = self._old.attributes["sym_name"]
        self._old.erase()
        new.attributes["sym_name"] = name

    def _fill(
        self,
        new: func.FuncOp,
        arguments: list[Quantization | None],
        results: list[tuple[ir.Value, Quantization | None]],
    ) -> None:
        with ir.InsertionPoint(new.entry_block):
            for old, value, parameters in zip(self._block.arguments, new.entry_block.arguments, arguments, strict=True):
                self._tensors[old] = from_torch_order(value, parameters)
            self._convert_body()
            with self._return.location:
                func.ReturnOp([to_torch_order(self._tensors[value]) for value, _ in results])

    def _ops(self) -> list[ir.Operation]:
        return [op.operation for op in self._block.operations]

    def _convert_body(self) -> None:
        floats, integers = FloatForms(self._tensors), IntegerForms(self._tensors)
        needed, stored = self._needed()
        for op in self._ops():
            with op.location:
                if op in stored:
                    self._tensors[op.results[0]] = integers.quantize(op)
                elif op in needed:
                    floats.convert(op)

    def _result_source(self, value: ir.Value) -> tuple[ir.Value, Quantization | None]:
        """What is returned instead of ``value``: a final dequantize is left to the caller."""
        op = defining_op(value)
        if op is not None and name_of(op) == DEQUANTIZE:
            return op.operands[0], quantization(op)[0]
        if op is not None and name_of(op) == QUANTIZE:
            return value, quantization(op)[0]
        if not is_tensor(value):
            raise PassError(self._return, f"returns {value.type}; only tensors can be returned")
        return value, None

    def _needed(self) -> tuple[set[ir.Operation], set[ir.Operation]]:
        """Ops whose f32 result is needed, and quantize ops whose i8 result is."""
        floats: set[ir.Operation] = set()
        stored: set[ir.Operation] = set()
        todo = [self._result_source(value)[0] for value in self._return.operands]
        while todo:
            op = defining_op(todo.pop())
            if op is None or op in floats or op in stored or name_of(op) == "vtensor.literal":
                continue
            if name_of(op) == QUANTIZE:
                stored.add(op)
                todo += _stored_sources(op)
            elif name_of(op) == "prim.ListConstruct":
                todo += filter(is_tensor, op.operands)
            elif name_of(op) != DEQUANTIZE_PER_CHANNEL:
                floats.add(op)
                todo += [value for value in op.operands if is_tensor(value) or "list<vtensor" in str(value.type)]
        return floats, stored

    def _check_float_ops(self) -> None:
        """Refuses ops that may not stay in f32, warns of those that do."""
        for op in self._ops():
            if name_of(op).startswith("onnx."):
                raise PassError(op, unsupported(op))
        if not self._quantized:
            return
        floats, _ = self._needed()
        tail = [op for op in self._ops() if op in floats and name_of(op) != DEQUANTIZE]
        for op in tail:
            if name_of(op) in (*CONVOLUTIONS, *LINEARS):
                raise PassError(
                    op,
                    "a float32 layer inside a quantized network; annotate it in the quantizer, so that its input, "
                    "weight and output are int8",
                )
        islands = [op for op in tail if name_of(op) not in MOVEMENTS]
        if islands:
            names = ", ".join(dict.fromkeys(name_of(op) for op in islands))
            warn(islands[0], f"stays in float32 at the end of a quantized network ({names})")

    def _create(
        self, arguments: list[Quantization | None], results: list[tuple[ir.Value, Quantization | None]]
    ) -> func.FuncOp:
        inputs = [
            _builtin_type(value, self._old, parameters)
            for value, parameters in zip(self._block.arguments, arguments, strict=True)
        ]
        outputs = [_builtin_type(value, self._old, parameters) for value, parameters in results]
        with ir.InsertionPoint(self._old), self._old.location:
            new = func.FuncOp(f"{self._old.name.value}.tosa", (inputs, outputs), visibility=_visibility(self._old))
        new.add_entry_block([self._old.location] * len(inputs))
        _attach(new, "arg_attrs", arguments)
        _attach(new, "res_attrs", [parameters for _, parameters in results])
        return new


def _stored_sources(op: ir.Operation) -> list[ir.Value]:
    """The i8 tensors that a quantize op is computed from: back to the dequantize ops."""
    found, todo, seen = [], [op.operands[0]], set()
    while todo:
        source = defining_op(todo.pop())
        if source is None or source in seen:
            continue
        seen.add(source)
        if name_of(source) == DEQUANTIZE:
            found.append(source.operands[0])
        else:
            todo += [value for value in source.operands if is_tensor(value) or "list<vtensor" in str(value.type)]
    return found


def _argument_quantization(argument: ir.Value) -> Quantization | None:
    """How the quantize ops after ``argument`` store it; for an i8 argument, how it is dequantized.

    Raises:
        PassError: the argument is not a tensor, is quantized in two ways, or is read as f32 too.
    """
    if not is_tensor(argument):
        raise PassError(argument.owner.owner, f"takes {argument.type}; only tensors can be arguments")
    stored = element_of(argument) == "si8"
    found: set[Quantization] = set()
    real: list[ir.Operation] = []
    todo = [argument]
    while todo:
        for use in todo.pop().uses:
            op = use.owner.operation
            if name_of(op) == (DEQUANTIZE if stored else QUANTIZE):
                found.add(quantization(op)[0])
            elif name_of(op) in MOVEMENTS:
                todo.append(op.results[0])
            else:
                real.append(op)
    if len(found) > 1:
        raise PassError(argument.owner.owner, "an argument is quantized in two ways; share its quantization")
    if found and real:
        raise PassError(
            real[0], "reads an argument as float32 that is int8 elsewhere; annotate the op in the quantizer"
        )
    return found.pop() if found else None


def _builtin_type(value: ir.Value, function: func.FuncOp, parameters: Quantization | None) -> ir.Type:
    element = element_of(value)
    if parameters is not None or element == "si8":
        return build.tensor_type(shape_of(value), 8)
    if element != "f32":
        raise PassError(function, f"a tensor of {element or value.type}; only float32 and int8 are supported")
    return build.tensor_type(shape_of(value), ir.F32Type.get())


def _attach(function: func.FuncOp, name: str, parameters: list[Quantization | None]) -> None:
    """Puts ``filterlet.quantization`` on the arguments or results that are quantized."""
    if not any(parameters):
        return
    entries = [{} if item is None else {_QUANTIZATION: item.attribute()} for item in parameters]
    function.attributes[name] = ir.ArrayAttr.get([ir.DictAttr.get(entry) for entry in entries])


def _visibility(function: func.FuncOp) -> str | None:
    attribute = function.attributes.get("sym_visibility") if "sym_visibility" in function.attributes else None
    return ir.StringAttr(attribute).value if attribute is not None else None
