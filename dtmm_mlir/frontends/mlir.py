"""MLIR text and bytecode."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
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
        path: text or bytecode. Bytecode is read by a child process, because damaged files can crash the native reader;
            what the child writes is read here.
        context: from ``create_context``.
        entry: the function to compile; by default the only public one, or ``main``.

    Raises:
        DtmmError: the file does not parse or verify, has no such function, or dynamic shapes; names the location.
    """
    with path.open("rb") as file:
        is_bytecode = file.read(len(_BYTECODE)) == _BYTECODE
    module = _read_in_child(path, context) if is_bytecode else read(path, context)
    keep_only(module, find_entry(module, entry, str(path)))
    reject_dynamic_shapes(module)
    return module


def read(path: Path, context: ir.Context) -> ir.Module:
    """The verified module in a file.

    Raises:
        DtmmError: the file does not parse or verify.
    """
    try:
        module = ir.Module.parseFile(str(path), context)
        verify(module)
    except ir.MLIRError as error:
        raise to_error(error, "this is not valid MLIR") from None
    except UnicodeDecodeError:
        raise DtmmError("the file is neither MLIR bytecode nor UTF-8 text.", where=str(path)) from None
    except RuntimeError:  # the bindings', for a name or message that is not UTF-8
        raise damaged(path, "a text in it is not UTF-8") from None
    return module


def _read_in_child(path: Path, context: ir.Context) -> ir.Module:
    """As ``read``; raises DtmmError also where that kills the process that does it, or takes for ever."""
    with tempfile.TemporaryDirectory(prefix="dtmm-") as folder:
        copy = Path(folder, "module.mlirbc")
        command = [sys.executable, "-m", "dtmm_mlir.frontends._mlir_reader", str(path), str(copy)]
        try:
            child = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            raise damaged(path, f"reading it takes more than {_SECONDS:g} s") from None
        if child.returncode < 0:
            raise damaged(path, f"MLIR's reader crashed (signal {-child.returncode})")
        if child.returncode > 0 and not child.stdout:
            reason = " ".join(child.stderr.split())[-300:]
            raise DtmmError(f"MLIR's reader cannot be started: {reason}", where=str(path))
        if child.returncode > 0:
            raise DtmmError(**json.loads(child.stdout))
        return ir.Module.parseFile(str(copy), context)


def damaged(path: Path, reason: str) -> DtmmError:
    """The error to raise for a file that nobody could have written on purpose."""
    return DtmmError(f"the MLIR file is damaged: {reason}; export it again.", where=str(path))
