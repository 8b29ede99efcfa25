"""What every imported module must fulfil, whatever it came from."""

from __future__ import annotations

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import attribute_array, walk
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.passes.base import PassError

_FLOATS = (ir.F32Type, ir.F64Type, ir.F16Type)


def find_entry(module: ir.Module, name: str | None = None, source: str | None = None) -> ir.Operation:
    """The ``func.func`` that is the model.

    Args:
        module: the imported module.
        name: its symbol; by default the only public function with a body, or ``main`` among several.
        source: the file, for the message.

    Raises:
        DtmmError: there is none, or more than one and no ``main``.
    """
    public = {}
    for op in module.body.operations:
        operation = op.operation
        if operation.name != "func.func" or not operation.regions[0].blocks:
            continue
        visibility = operation.attributes.get("sym_visibility")
        if visibility is None or ir.StringAttr(visibility).value == "public":
            public[ir.StringAttr(operation.attributes["sym_name"]).value] = operation
    if name is not None:
        if name not in public:
            raise DtmmError(f"there is no public function '{name}'; there are: {', '.join(public) or 'none'}.", source)
        return public[name]
    if not public:
        raise DtmmError("there is no public func.func with a body to compile.", source)
    if len(public) > 1 and "main" not in public:
        raise DtmmError(
            f"there are several public functions ({', '.join(public)}) and none is called 'main'; "
            "make the others private.",
            source,
        )
    return public["main"] if "main" in public else next(iter(public.values()))


def keep_only(module: ir.Module, entry: ir.Operation) -> None:
    """Makes every other public function private: one artifact holds one model."""
    for op in module.body.operations:
        if op.operation.name == "func.func" and op.operation != entry:
            op.operation.attributes["sym_visibility"] = ir.StringAttr.get("private", module.context)


def reject_dynamic_shapes(module: ir.Module) -> None:
    """Raises PassError naming the first op, or function argument, of dynamic shape."""
    for op in walk(module):
        arguments = [argument for region in op.regions for block in region.blocks for argument in block.arguments]
        for value in (*op.results, *arguments):
            if _is_dynamic(value.type):
                raise PassError(
                    op,
                    f"{value.type} has a dynamic shape, but sizes on a microcontroller are fixed at compile time; "
                    "export the model with fixed sizes (a batch of 1).",
                )


def _is_dynamic(kind: ir.Type) -> bool:
    if isinstance(kind, ir.RankedTensorType):
        return not kind.has_static_shape
    return isinstance(kind, ir.UnrankedTensorType) or (str(kind).startswith("!torch.vtensor") and "?" in str(kind))


def reject_non_finite(module: ir.Module) -> None:
    """Raises PassError naming the first float constant that holds NaN or infinity.

    Scalars and splats of infinity are legitimate: they start a max pool or open a clamp.
    """
    for op in walk(module):
        for name in op.attributes:
            attribute = op.attributes[name]
            array = attribute_array(attribute) if _is_float_tensor(attribute.type) else None
            if array is None or _is_infinite_splat(array):
                continue
            count = int(np.count_nonzero(~np.isfinite(array)))
            if count:
                raise PassError(
                    op,
                    f"{count} of the {array.size} values of this constant are NaN or infinite; the weights are "
                    "broken, most likely because training diverged.",
                )


def _is_float_tensor(kind: ir.Type) -> bool:
    return isinstance(kind, ir.RankedTensorType) and isinstance(kind.element_type, _FLOATS)


def _is_infinite_splat(array: np.ndarray) -> bool:
    return array.size > 0 and bool(np.isinf(array.flat[0]) and (array == array.flat[0]).all())
