"""What the plug-in of ``iree-compile`` runs: takes a module on stdin and answers on stdout, see ``plugin/plugin.cpp``.

Diagnostics are part of the answer, so that IREE shows them; what is printed goes to stderr.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from typing import BinaryIO

from iree.compiler import ir

from dtmm_mlir import diagnostics
from dtmm_mlir.dialect.constants import depends_on_argument, walk
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.dialect.ops import PACKED_CONV
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.passes.base import PassError, remark
from dtmm_mlir.passes.cleanup import strip_annotations
from dtmm_mlir.passes.pipeline import make_step, run_pipeline, verify
from dtmm_mlir.plugin.options import Options
from dtmm_mlir.plugin.target import find_target, parent_flags
from dtmm_mlir.targets import Target


def lower(module: ir.Module, options: Options) -> bool:
    """Captures and lowers the convolutions of ``module``.

    Returns:
        Whether ``module`` is to be used; else there was nothing to capture, and it may be half converted.

    Raises:
        PassError, ir.MLIRError: a filterlet op is wrong, or a pass fails.
        DtmmError: an option is wrong.
    """
    target = find_target(module, parent_flags(), options.target)
    if options.capture != "none" and not _capture(module, f"target={target.name} only={options.capture}"):
        return False
    if not _filterlet_ops(module):
        return False
    _reject_constant_inputs(module, target)
    planning = f'target={target.name} optimize={options.optimize} plans="{options.plans}"'
    steps = (("filterlet-remove-channels", ""), ("filterlet-plan", planning), ("filterlet-pack", ""))
    run_pipeline(module, [make_step(*step) for step in steps])
    for op in walk(module, PACKED_CONV):
        kept, total, plan = (op.attributes[name] for name in ("kept", "total", "plan"))
        remark(op, f"{kept.value} of {total.value} filterlets are kept; kernel for {target.name}: {plan}")
    run_pipeline(module, [make_step("filterlet-lower", f"target={target.name}")])
    for op in _filterlet_ops(module):
        raise PassError(op, "is left after filterlet-lower; IREE cannot compile it.")
    for function in walk(module, "func.func"):
        strip_annotations(function)
    return True


def _reject_constant_inputs(module: ir.Module, target: Target) -> None:
    """IREE computes what depends on constants alone at compile time: with kernels of another processor it crashes."""
    if target.is_host or "--iree-opt-const-eval=false" in parent_flags():
        return
    for op in _filterlet_ops(module):
        if not any(map(depends_on_argument, op.operands)):
            raise PassError(
                op,
                f"its input is constant, and iree-compile would run its kernel for {target.name} on this machine; add "
                "--iree-opt-const-eval=false, or compute it ahead.",
            )


def _capture(module: ir.Module, options: str) -> bool:
    """Captures what ``options`` of ``filterlet-capture`` say; false if an op cannot be converted."""
    if any(op.name.startswith("torch.") for op in walk(module)):
        try:
            run_pipeline(module, [make_step("filterlet-torch-to-tosa")])
        except PassError as error:
            logging.getLogger("dtmm_mlir").warning(
                "%s",
                error,
                extra={
                    "location": error.location,
                    "diagnostic": f"{error.message.rstrip('.')}. The model is left to IREE.",
                },
            )
            return False
    run_pipeline(module, [make_step("filterlet-merge-tables"), make_step("filterlet-capture", options)])
    return True


class Answer(logging.Handler):
    """Collects diagnostics, and writes them and a module as ``plugin/plugin.cpp`` reads them.

    Attributes:
        remarks: whether remarks are of interest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.remarks = False
        self.fields: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a message of ``passes.base.warn`` or ``remark``, or one without a place."""
        severity = "warning" if record.levelno >= logging.WARNING else "remark"
        if severity == "warning" or self.remarks:
            self.add(severity, getattr(record, "location", ""), getattr(record, "diagnostic", record.getMessage()))

    def add(self, severity: str, location: ir.Location | str, message: str) -> None:
        self.fields += [severity, str(location), message]

    def bytes(self, module: ir.Module | None) -> bytes:
        """The answer; with ``module``, or without one because it is to stay or there was an error."""
        text = "".join(field.replace("\0", "") + "\0" for field in self.fields).encode()
        if "error" in self.fields[::3]:
            return text
        if module is None:
            return text + b"unchanged\0"
        buffer = io.BytesIO()
        module.operation.write_bytecode(buffer)
        return text + b"module\0" + buffer.getvalue()


def answer(request: bytes, name: str, given: str) -> bytes:
    """Runs the pass ``name`` with the options ``given`` on ``request``, a module as bytecode."""
    reply, logger = Answer(), logging.getLogger("dtmm_mlir")
    logger.addHandler(reply)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    module: ir.Module | None = None
    try:
        context = create_context()
        context.allow_unregistered_dialects = True  # what nobody knows is left to IREE
        module = ir.Module.parse(request, context)
        verify(module)
        if name == Options.name:
            options = Options.read(module, given)
            reply.remarks = options.remarks
            if not lower(module, options):
                module = None
        else:
            run_pipeline(module, [make_step(name, given)])
    except PassError as error:
        failure = diagnostics.from_pass_error(error)
        reply.add(failure.severity, failure.location, failure.message)
    except ir.MLIRError as error:
        for failure in map(diagnostics.from_mlir, error.error_diagnostics):
            reply.add("error", failure.location, failure.message)
    except DtmmError as error:
        reply.add("error", "", str(error))
    except Exception as error:
        traceback.print_exc()
        reply.add("error", "", f"dtmm-mlir failed inside ({type(error).__name__}: {error}); please report this.")
    finally:
        logger.removeHandler(reply)
    return reply.bytes(module)


def main() -> None:
    """Reads, answers and ends; the arguments are the pass and its options."""
    with _take_stdout() as output:
        output.write(answer(sys.stdin.buffer.read(), *sys.argv[1:]))


def _filterlet_ops(module: ir.Module) -> list[ir.Operation]:
    return [op for op in walk(module) if op.name.startswith("filterlet.")]


def _take_stdout() -> BinaryIO:
    """Stdout for the answer alone: what others print goes to stderr."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return output


if __name__ == "__main__":
    main()
