"""What every capture ends in: one ``filterlet.conv_2d`` in place of the ops it stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import constant, constant_array, defining_op, depends_on_argument
from dtmm_mlir.dialect.ops import CONV, Clamp, Geometry, Rescale, clamp_attribute


class NotCapturedError(Exception):
    """Why a convolution stays as it is."""


class NotWorthwhileError(NotCapturedError):
    """A convolution stays as it is by choice."""


@dataclass(frozen=True)
class Conv:
    """A convolution as a capture found it.

    Attributes:
        input: [N, H, W, C] i8 or f32.
        weights: [F, KH, KW, C / groups], same dtype.
        bias: [F] i32 or f32.
        strides, dilations, pads, groups, input_zero_point, rescale, clamp: as in ``filterlet.conv_2d``.
    """

    input: ir.Value
    weights: np.ndarray
    bias: np.ndarray
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    groups: int
    input_zero_point: int = 0
    rescale: Rescale | None = None
    clamp: Clamp | None = None

    @property
    def geometry(self) -> Geometry:
        """Its shape."""
        f, kh, kw, channels = self.weights.shape
        n, h, w, _ = ir.RankedTensorType(self.input.type).shape
        c = channels * self.groups
        return Geometry(n, h, w, c, f, kh, kw, self.strides, self.dilations, self.pads, self.groups)

    @cached_property
    def kept(self) -> np.ndarray:
        """[F, KH, KW] bool: which filterlets have a weight that is not zero."""
        return np.asarray(self.weights.any(axis=3))

    @property
    def element_type(self) -> str:
        return "f32" if self.weights.dtype == np.float32 else "i8"

    @property
    def output_element(self) -> ir.Type:
        """What the result is made of: i8 if rescaled, else the type of the sums."""
        if self.weights.dtype == np.float32:
            return ir.F32Type.get()
        return ir.IntegerType.get_signless(8 if self.rescale else 32)

    def create(self) -> ir.Value:
        """The op at the current insertion point and location; returns its result."""
        i64, i32 = ir.IntegerType.get_signless(64), ir.IntegerType.get_signless(32)
        result = ir.RankedTensorType.get(self.geometry.output_shape, self.output_element)
        attributes = {
            "strides": ir.DenseI64ArrayAttr.get(self.strides),
            "dilations": ir.DenseI64ArrayAttr.get(self.dilations),
            "pads": ir.DenseI64ArrayAttr.get(self.pads),
            "groups": ir.IntegerAttr.get(i64, self.groups),
            "input_zero_point": ir.IntegerAttr.get(i32, self.input_zero_point),
            "rescale": self.rescale.attribute() if self.rescale else ir.UnitAttr.get(),
            "clamp": clamp_attribute(self.clamp),
        }
        operands = [self.input, constant(self.weights), constant(self.bias)]
        return ir.Operation.create(CONV, [result], operands, attributes).result


Check: TypeAlias = Callable[[Conv], None]
"""Raises NotCapturedError for a convolution that is to stay as it is."""


def check_types(op: ir.Operation, weights: np.ndarray | None) -> np.ndarray:
    """The weights, if the kernels can compute with them and with the op's input.

    Raises:
        NotCapturedError: they cannot.
    """
    type = ir.RankedTensorType(op.operands[0].type)
    if weights is None:
        raise NotCapturedError("its weights are not constant")
    if not depends_on_argument(op.operands[0]):
        raise NotCapturedError("its input is constant, so it is computed at compile time")
    if not type.has_static_shape:
        raise NotCapturedError(f"its input {type} has a dynamic shape")
    names = {np.dtype(np.int8): "i8", np.dtype(np.float32): "f32"}
    if names.get(weights.dtype) != str(type.element_type):
        raise NotCapturedError(f"its input holds {type.element_type} and its weights {weights.dtype}")
    return weights


def scalar(value: ir.Value) -> int:
    """The number in a constant of one element or a scalar constant.

    Raises:
        NotCapturedError: it is not constant.
    """
    op = defining_op(value)
    if op is not None and op.name == "arith.constant" and not isinstance(value.type, ir.RankedTensorType):
        return op.attributes["value"].value
    array = constant_array(value)
    if array is None or array.size != 1:
        raise NotCapturedError("a zero point is not constant")
    return array.reshape(-1)[0].item()


def only_user(value: ir.Value, name: str) -> ir.Operation | None:
    """The op called ``name`` that is the only user of ``value``, if there is such."""
    users = list(value.uses)
    if len(users) != 1:
        return None
    op = users[0].owner.operation
    return op if op.name == name else None


def replace(chain: list[ir.Operation], result: ir.Value) -> None:
    """Puts ``result`` in the place of what the last op of ``chain`` (in program order) makes; erases the chain."""
    chain[-1].result.replace_all_uses_with(result)
    for op in reversed(chain):
        op.erase()
