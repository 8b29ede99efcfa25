"""MLIR text and bytecode."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from iree.compiler import ir

from dtmm_mlir.diagnostics import to_error
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.frontends.checks import find_entry, keep_only, reject_dynamic_shapes
from dtmm_mlir.passes.pipeline import verify

_BYTECODE = b"ML\xefR"
_SECONDS = 120.0
"""Time after which reading is given up; the largest models take about one second."""


def import_mlir(path: Path, context: ir.Context, entry: str | None = None) -> ir.Module:
    """Reads a ``.mlir`` or ``.mlirbc`` file: linalg, tosa, torch or filterlet ops on tensors of static shape.

    Args:
        path: text or bytecode. Bytecode is first read in a child process: damaged files can crash the native reader.
        context: from ``create_context``.
        entry: the function to compile; by default the only public one, or ``main``.

    Raises:
        DtmmError: the file does not parse or verify, has no such function, or dynamic shapes; names the location.
    """
    with path.open("rb") as file:
        if file.read(len(_BYTECODE)) == _BYTECODE:
            _try_in_child(path)
    try:
        module = ir.Module.parseFile(str(path), context)
        verify(module)
        keep_only(module, find_entry(module, entry, str(path)))
    except ir.MLIRError as error:
        raise to_error(error, "this is not valid MLIR") from None
    except UnicodeDecodeError:
        raise DtmmError("the file is neither MLIR bytecode nor UTF-8 text.", where=str(path)) from None
    except RuntimeError:  # the bindings', for a name or message that is not UTF-8
        raise _damaged(path, "a text in it is not UTF-8") from None
    reject_dynamic_shapes(module)
    return module


def _try_in_child(path: Path) -> None:
    """Raises DtmmError where reading the file kills the process that does it, or takes for ever."""
    command = [sys.executable, "-m", "dtmm_mlir.frontends._mlir_reader", str(path)]
    try:
        child = subprocess.run(command, capture_output=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise _damaged(path, f"reading it takes more than {_SECONDS:g} s") from None
    if child.returncode < 0:
        raise _damaged(path, f"MLIR's reader crashed (signal {-child.returncode})")


def _damaged(path: Path, reason: str) -> DtmmError:
    return DtmmError(f"the MLIR file is damaged: {reason}; export it again.", where=str(path))
