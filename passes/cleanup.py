"""Erases what passes leave without a user."""

from __future__ import annotations

from iree.compiler import ir

from dtmm_mlir.dialect.constants import walk

_PURE = (
    "arith.constant",
    "linalg.broadcast",
    "linalg.fill",
    "linalg.transpose",
    "tensor.empty",
    "tensor.pad",
    "tosa.const",
    "tosa.const_shape",
    "tosa.pad",
    "tosa.reshape",
    "tosa.slice",
    "tosa.transpose",
)


def erase_unused(module: ir.Module) -> None:
    """Erases constants, and ops that only move data, whose results nobody uses."""
    for op in reversed(list(walk(module, *_PURE))):
        if not any(list(result.uses) for result in op.results):
            op.erase()
