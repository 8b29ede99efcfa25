"""What every pass is: a dataclass with a flag name, whose fields are the pass's options."""

from __future__ import annotations

import dataclasses
import logging
from typing import ClassVar

from iree.compiler import ir

from dtmm_mlir.errors import DtmmError

_LOG = logging.getLogger("dtmm_mlir")


def location_text(location: ir.Location) -> str | None:
    """``file:line:col`` or the name of ``location``; ``None`` where it is unknown."""
    if isinstance(location, ir.FileLineColLoc):
        return f"{location.filename}:{location.start_line}:{location.start_col}"
    if isinstance(location, ir.NameLoc):
        child = location_text(location.child_loc)
        return f'"{location.name_str}"' + (f" ({child})" if child else "")
    if isinstance(location, ir.CallSiteLoc):
        return location_text(location.callee)
    if isinstance(location, ir.FusedLoc):
        return next((text for inner in location.locations if (text := location_text(inner))), None)
    return None


class PassError(DtmmError):
    """A pass or a verifier rejects an op.

    Args:
        op: the op at fault; its location and name lead the message.
        message: what is wrong and what to do about it.
    """

    def __init__(self, op: ir.Operation | ir.OpView, message: str) -> None:
        operation = op.operation
        self.location = operation.location
        where = location_text(operation.location)
        super().__init__(f"'{operation.name}': {message}", where)


@dataclasses.dataclass
class Pass:
    """A transformation of a whole module, in place.

    Subclasses are dataclasses; each field is an option that ``dtmm-opt`` reads from
    ``flag{option=value}`` with underscores written as hyphens.
    """

    name: ClassVar[str]
    """Flag of the pass in a pipeline, for instance ``filterlet-capture``."""

    def run(self, module: ir.Module) -> None:
        """Transforms ``module``.

        Raises:
            PassError: the module cannot be transformed.
        """
        raise NotImplementedError

    def __call__(self, module: ir.Module) -> ir.Module:
        """Runs the pass with the module's context and an unknown location current; returns ``module``."""
        with module.context, ir.Location.unknown():
            self.run(module)
        return module


def warn(op: ir.Operation | ir.OpView, message: str) -> None:
    """Says, at the op's location, what a user should know; the log is shown on stderr."""
    _log(logging.WARNING, op, message)


def remark(op: ir.Operation | ir.OpView, message: str) -> None:
    """Says, at the op's location, what a user may want to know; the log keeps it at level INFO."""
    _log(logging.INFO, op, message)


def _log(level: int, op: ir.Operation | ir.OpView, message: str) -> None:
    location = op.operation.location
    where, text = location_text(location), f"'{op.operation.name}': {message}"
    _LOG.log(level, "%s%s", f"{where}: " if where else "", text, extra={"location": location, "diagnostic": text})
