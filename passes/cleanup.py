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
    "tosa.cast",
    "tosa.const",
    "tosa.const_shape",
    "tosa.pad",
    "tosa.rescale",
    "tosa.reshape",
    "tosa.slice",
    "tosa.transpose",
)


def erase_unused(module: ir.Module) -> None:
    """Erases constants, and ops without effects that captures leave, whose results nobody uses."""
    for op in reversed(list(walk(module, *_PURE))):
        if not any(list(result.uses) for result in op.results):
            op.erase()


def strip_annotations(function: ir.Operation) -> None:
    """Removes the ``filterlet.*`` attributes of arguments and results, which stock IREE does not know."""
    for key in ("arg_attrs", "res_attrs"):
        if key not in function.attributes:
            continue
        kept = [
            {named.name: named.attr for named in ir.DictAttr(one) if not named.name.startswith("filterlet.")}
            for one in ir.ArrayAttr(function.attributes[key])
        ]
        with function.context:
            function.attributes[key] = ir.ArrayAttr.get([ir.DictAttr.get(one) for one in kept])
