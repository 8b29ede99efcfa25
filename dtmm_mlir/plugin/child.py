"""What the plug-in of ``iree-compile`` runs: takes a module on stdin and answers on stdout, see ``plugin/plugin.cpp``.

Warnings go to stderr, as does everything that is printed; errors are part of the answer, so that IREE shows them.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import BinaryIO

from iree.compiler import ir

from dtmm_mlir import diagnostics
from dtmm_mlir.diagnostics import Diagnostic
from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.passes.base import PassError
from dtmm_mlir.passes.cleanup import strip_annotations
from dtmm_mlir.passes.pipeline import make_step, run_pipeline, verify
from dtmm_mlir.plugin.target import find_target, parent_flags
from dtmm_mlir.targets import Target


def lower(module: ir.Module, target: Target) -> bool:
    """Captures and lowers the convolutions of ``module`` for ``target``.

    Returns:
        Whether ``module`` is to be used; else there was nothing to capture, and it may be half converted.

    Raises:
        PassError, ir.MLIRError: a filterlet op is wrong, or a pass fails.
    """
    verify(module)
    if any(op.name.startswith("torch.") for op in walk(module)):
        try:
            run_pipeline(module, [make_step("filterlet-torch-to-tosa")])
        except PassError as error:
            logging.getLogger("dtmm_mlir").warning("%s The model is left to IREE.", error)
            return False
    run_pipeline(module, [make_step("filterlet-capture")])
    if not _filterlet_ops(module):
        return False
    option = f"target={target.name}"
    steps = [make_step("filterlet-plan", option), make_step("filterlet-pack"), make_step("filterlet-lower", option)]
    run_pipeline(module, steps)
    for op in _filterlet_ops(module):
        raise PassError(op, "is left after filterlet-lower; IREE cannot compile it.")
    for function in walk(module, "func.func"):
        strip_annotations(function)
    return True


def answer(request: bytes, flags: list[str]) -> bytes:
    """The answer to ``request``, a module as bytecode, of an ``iree-compile`` with ``flags``."""
    context = create_context()
    try:
        module = ir.Module.parse(request, context)
        if not lower(module, find_target(module, flags)):
            return b"unchanged\0"
    except PassError as error:
        return _errors([diagnostics.from_pass_error(error)])
    except ir.MLIRError as error:
        return _errors([diagnostics.from_mlir(info) for info in error.error_diagnostics])
    except DtmmError as error:
        return _errors([Diagnostic("error", ir.Location.unknown(context), str(error))])
    buffer = io.BytesIO()
    module.operation.write_bytecode(buffer)
    return b"module\0" + buffer.getvalue()


def main() -> None:
    """Reads, answers and ends."""
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    with _take_stdout() as output:
        output.write(answer(sys.stdin.buffer.read(), parent_flags()))


def _filterlet_ops(module: ir.Module) -> list[ir.Operation]:
    return [op for op in walk(module) if op.name.startswith("filterlet.")]


def _errors(found: list[Diagnostic]) -> bytes:
    fields = [field for item in found for field in ("error", str(item.location), item.message)]
    return "".join(field.replace("\0", "") + "\0" for field in fields).encode()


def _take_stdout() -> BinaryIO:
    """Stdout for the answer alone: what others print goes to stderr."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return output


if __name__ == "__main__":
    main()
