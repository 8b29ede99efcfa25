"""From a model in any accepted form to a module in IREE's context."""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iree.compiler import ir

from dtmm_mlir.errors import DtmmError
from dtmm_mlir.frontends.checks import find_entry, keep_only, reject_dynamic_shapes, reject_non_finite
from dtmm_mlir.passes.pipeline import verify

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_ACCEPTED = "a .tflite, .pt2, .mlir or .mlirbc file, or module:function"


def import_model(source: Any, context: ir.Context, example_inputs: Sequence[Any] | None = None) -> ir.Module:
    """Imports a model.

    Args:
        source: path of a ``.tflite``, ``.pt2``, ``.mlir`` or ``.mlirbc`` file; ``module:function`` naming a Python
            function that returns a model or (model, example inputs); a ``torch.nn.Module``; a
            ``torch.export.ExportedProgram``; or an ``ir.Module``.
        context: from ``create_context``; the module lives in it.
        example_inputs: arrays or tensors to trace a ``torch.nn.Module`` with.

    Returns:
        A module with one public function, in the tosa, linalg, torch or filterlet dialect.

    Raises:
        DtmmError: what is wrong with the model, where, and what to do.
    """
    module = _dispatch(source, context, example_inputs)
    reject_non_finite(module)
    return module


def _dispatch(source: Any, context: ir.Context, example_inputs: Sequence[Any] | None) -> ir.Module:
    if isinstance(source, str) and _FUNCTION.fullmatch(source) and not Path(source).exists():
        model = _call(source)
        if isinstance(model, tuple) and len(model) == 2:
            model, own_inputs = model
            example_inputs = own_inputs if example_inputs is None else example_inputs
        return _dispatch(model, context, example_inputs)
    if isinstance(source, str | os.PathLike):
        return _import_file(Path(source), context, example_inputs)
    if isinstance(source, ir.Module):
        return _import_module(source, context)
    if _is_torch(source):
        return _import_torch(source, context, example_inputs)
    raise DtmmError(f"a model of type {type(source).__name__} cannot be compiled; give {_ACCEPTED}.")


def _import_file(path: Path, context: ir.Context, example_inputs: Sequence[Any] | None) -> ir.Module:
    if not path.exists():
        raise DtmmError(f"there is no such file; give {_ACCEPTED}.", where=str(path))
    if not path.is_file() or not os.access(path, os.R_OK):
        raise DtmmError("this is not a file that can be read.", where=str(path))
    suffix = path.suffix.lower()
    if suffix == ".tflite":
        from dtmm_mlir.frontends.tflite import import_tflite

        return import_tflite(path, context)
    if suffix in (".mlir", ".mlirbc"):
        from dtmm_mlir.frontends.mlir import import_mlir

        return import_mlir(path, context)
    if suffix == ".pt2":
        return _import_torch(path, context, example_inputs)
    if suffix == ".onnx":
        raise DtmmError(
            "ONNX models are not supported: their per-channel quantized convolutions import with wrong values. "
            "Export the PyTorch model with torch.export (.pt2), or convert it to .tflite.",
            where=str(path),
        )
    raise DtmmError(f"this kind of file is not known; give {_ACCEPTED}.", where=str(path))


def _import_torch(source: Any, context: ir.Context, example_inputs: Sequence[Any] | None) -> ir.Module:
    """Imports with arrays among the example inputs made tensors."""
    from dtmm_mlir.frontends.torch import import_torch

    if example_inputs is None:
        return import_torch(source, context)
    try:
        import torch
    except ImportError:
        return import_torch(source, context)  # says what to install
    return import_torch(source, context, tuple(torch.as_tensor(value) for value in example_inputs))


def _import_module(source: ir.Module, context: ir.Context) -> ir.Module:
    """A copy of a module of the caller's in ``context``."""
    buffer = io.BytesIO()
    source.operation.write_bytecode(buffer)
    module = ir.Module.parse(buffer.getvalue(), context)
    verify(module)
    keep_only(module, find_entry(module))
    reject_dynamic_shapes(module)
    return module


def _call(name: str) -> Any:
    """Calls the function that ``module:function`` names; modules are also looked for in the working directory."""
    module_name, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        raise DtmmError(f"there is no Python module '{error.name}', nor a file of this name.", where=name) from None
    except AttributeError as error:
        raise DtmmError(f"{error}.", where=name) from None
    try:
        return found() if callable(found) and not _is_torch(found) else found
    except Exception as error:
        raise DtmmError(f"calling it raised {type(error).__name__}: {error}.", where=name) from error


def _is_torch(value: Any) -> bool:
    """Whether ``value`` is a model of torch's; does not import torch."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    exported = sys.modules.get("torch.export")
    kinds = (torch.nn.Module, exported.ExportedProgram) if exported else (torch.nn.Module,)
    return isinstance(value, kinds)
