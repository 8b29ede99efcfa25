"""Functions of one element: their value in numpy, for tables of quantized networks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from iree.compiler import ir

from dtmm_mlir.passes.base import PassError
from dtmm_mlir.passes.torch_to_tosa.operands import name_of, python_value


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _hard_sigmoid(x: np.ndarray) -> np.ndarray:
    return np.clip(x + 3, 0, 6) / 6


FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "aten.sigmoid": _sigmoid,
    "aten.tanh": np.tanh,
    "aten.silu": lambda x: x * _sigmoid(x),
    "aten.hardsigmoid": _hard_sigmoid,
    "aten.hardswish": lambda x: x * _hard_sigmoid(x),
    "aten.gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "aten.exp": np.exp,
    "aten.abs": np.abs,
    "aten.neg": np.negative,
}
"""By the name of the torch op, those that depend on nothing else."""

_WITH_NUMBER: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "aten.leaky_relu": lambda x, slope: np.where(x < 0, x * slope, x),
    "aten.add.Scalar": np.add,
    "aten.sub.Scalar": np.subtract,
    "aten.mul.Scalar": np.multiply,
    "aten.div.Scalar": np.divide,
}

TABLES = (*FUNCTIONS, *_WITH_NUMBER)
"""Names of the torch ops that ``evaluate`` knows."""


def evaluate(op: ir.Operation, x: np.ndarray) -> np.ndarray:
    """``op``, one of ``TABLES``, on the f32 array ``x``.

    Raises:
        PassError: a form of the op that is not known.
    """
    name = name_of(op)
    if name in _WITH_NUMBER:
        if name in ("aten.add.Scalar", "aten.sub.Scalar") and python_value(op, 2) not in (None, 1):
            raise PassError(op, f"alpha={python_value(op, 2)} is not supported; multiply separately")
        return _WITH_NUMBER[name](x, python_value(op, 1)).astype(np.float32)
    if name == "aten.gelu" and python_value(op, 1) == "tanh":
        return (0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))).astype(np.float32)
    return FUNCTIONS[name](x.astype(np.float64)).astype(np.float32)
