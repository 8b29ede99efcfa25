"""Tensors on their way: torch's logical shape, and how the data lies in TOSA."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from iree.compiler import ir

from dtmm_mlir.passes.torch_to_tosa import build
from dtmm_mlir.passes.torch_to_tosa.operands import Quantization

NHWC = (0, 2, 3, 1)
NCHW = (0, 3, 1, 2)


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A torch tensor inside the new function.

    Attributes:
        value: i8 or f32 tensor; NHWC where the rank is 4, else in torch's order.
        shape: torch's shape, so NCHW where the rank is 4.
        quantization: of an i8 tensor; ``None`` for f32.
        flattened: ``(C, H, W)`` where ``value`` is ``[N, K]`` and its K elements still lie in HWC order.
    """

    value: ir.Value
    shape: tuple[int, ...]
    quantization: Quantization | None = None
    flattened: tuple[int, int, int] | None = None

    def with_value(self, value: ir.Value) -> Tensor:
        """The same tensor holding other elements, from an elementwise op."""
        return dataclasses.replace(self, value=value)


def axis_of(tensor: Tensor, dimension: int) -> int:
    """The axis of ``tensor.value`` that is torch's ``dimension``."""
    rank = len(tensor.shape)
    dimension %= rank
    return NHWC.index(dimension) if rank == 4 else dimension


def from_torch_order(value: ir.Value, quantization: Quantization | None = None) -> Tensor:
    """A tensor whose elements lie in torch's order."""
    shape = tuple(build.shape_of(value))
    return Tensor(build.transpose(value, NHWC) if len(shape) == 4 else value, shape, quantization)


def to_torch_order(tensor: Tensor) -> ir.Value:
    """The elements in torch's order, shape ``tensor.shape``."""
    if len(tensor.shape) == 4:
        return build.transpose(tensor.value, NCHW)
    if tensor.flattened is None:
        return tensor.value
    channels, height, width = tensor.flattened
    batch = tensor.shape[0]
    maps = build.reshape(tensor.value, [batch, height, width, channels])
    return build.reshape(build.transpose(maps, NCHW), tensor.shape)


def unflattened(tensor: Tensor) -> Tensor:
    """``tensor`` with a flattened map brought into torch's order."""
    if tensor.flattened is None:
        return tensor
    return dataclasses.replace(tensor, value=to_torch_order(tensor), flattened=None)


def reshaped(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """``tensor`` with torch's shape ``shape``; flattening maps to ``[N, C*H*W]`` moves no data."""
    shape = tuple(shape)
    if shape == tensor.shape:
        return tensor
    if len(tensor.shape) == 4 and len(shape) == 2 and shape[0] == tensor.shape[0]:
        _, channels, height, width = tensor.shape
        mixed = channels > 1 and height * width > 1
        value = build.reshape(tensor.value, shape)
        return Tensor(value, shape, tensor.quantization, (channels, height, width) if mixed else None)
    return from_torch_order(build.reshape(to_torch_order(tensor), shape), tensor.quantization)


def constant_tensor(array: np.ndarray) -> Tensor:
    """A constant given in torch's order."""
    laid_out = array.transpose(NHWC) if array.ndim == 4 else array
    return Tensor(build.constant(np.ascontiguousarray(laid_out)), array.shape)


def with_rank(tensor: Tensor, rank: int) -> Tensor:
    """``tensor`` with leading dimensions of size 1 added, as broadcasting wants it."""
    missing = rank - len(tensor.shape)
    return reshaped(unflattened(tensor), (1,) * missing + tensor.shape) if missing > 0 else tensor


def aligned(tensors: Sequence[Tensor]) -> list[Tensor]:
    """``tensors`` with one rank and one order of elements, for an elementwise op or a concatenation."""
    rank = max(len(tensor.shape) for tensor in tensors)
    ranked = [with_rank(tensor, rank) for tensor in tensors]
    if len({tensor.flattened for tensor in ranked}) > 1:
        return [unflattened(tensor) for tensor in ranked]
    return ranked
