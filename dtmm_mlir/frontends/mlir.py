"""MLIR text and bytecode."""

from __future__ import annotations

from pathlib import Path

from iree.compiler import ir

from dtmm_mlir.diagnostics import to_error
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.frontends.checks import find_entry, keep_only, reject_dynamic_shapes
from dtmm_mlir.passes.pipeline import verify


def import_mlir(path: Path, context: ir.Context, entry: str | None = None) -> ir.Module:
    """Reads a ``.mlir`` or ``.mlirbc`` file: linalg, tosa, torch or filterlet ops on tensors of static shape.

    Args:
        path: text or bytecode.
        context: from ``create_context``.
        entry: the function to compile; by default the only public one, or ``main``.

    Raises:
        DtmmError: the file does not parse or verify, has no such function, or dynamic shapes; names the location.
    """
    try:
        module = ir.Module.parseFile(str(path), context)
        verify(module)
    except ir.MLIRError as error:
        raise to_error(error, "this is not valid MLIR") from None
    except UnicodeDecodeError:
        raise DtmmError("the file is neither MLIR bytecode nor UTF-8 text.", where=str(path)) from None
    keep_only(module, find_entry(module, entry, str(path)))
    reject_dynamic_shapes(module)
    return module
