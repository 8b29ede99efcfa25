"""MLIR's diagnostics as values of our own, and as errors a person can read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from iree.compiler import ir

from dtmm_mlir.errors import DtmmError
from dtmm_mlir.passes.base import PassError, location_text

_LONGEST_NOTE = 400


@dataclasses.dataclass(frozen=True)
class Diagnostic:
    """One message about a place.

    Attributes:
        severity: ``error``, ``warning``, ``remark`` or ``note``.
        location: the place it is about.
        message: text without location and severity.
        notes: further diagnostics that belong to it.
    """

    severity: str
    location: ir.Location
    message: str
    notes: tuple[Diagnostic, ...] = ()


def from_mlir(diagnostic: ir.Diagnostic | ir.DiagnosticInfo) -> Diagnostic:
    """Copies a diagnostic of MLIR's, which lives only as long as its handler runs."""
    message = diagnostic.message
    if message.startswith("see current operation") and len(message) > _LONGEST_NOTE:
        message = message[:_LONGEST_NOTE] + " ..."  # otherwise all weights of the op are printed
    severity = str(diagnostic.severity).rpartition(".")[2].lower()
    return Diagnostic(severity, _concrete(diagnostic.location), message, tuple(map(from_mlir, diagnostic.notes)))


def from_pass_error(error: PassError) -> Diagnostic:
    """The diagnostic a failing pass stands for."""
    return Diagnostic("error", error.location, error.message)


def file_location(location: ir.Location) -> ir.FileLineColLoc | None:
    """The first place in a file that ``location`` mentions."""
    if isinstance(location, ir.FileLineColLoc):
        return location
    if isinstance(location, ir.NameLoc):
        return file_location(location.child_loc)
    if isinstance(location, ir.CallSiteLoc):
        return file_location(location.callee)
    if isinstance(location, ir.FusedLoc):
        return next((found for inner in location.locations if (found := file_location(inner))), None)
    return None


def to_error(error: ir.MLIRError, doing: str, rename: str | None = None) -> DtmmError:
    """A failed parse, verification or native pass as one paragraph.

    Args:
        error: what the bindings raised.
        doing: what failed, e.g. ``the model cannot be read``.
        rename: name of the file whose text was parsed from memory; the bindings call it ``-``.
    """
    diagnostics = [from_mlir(info) for info in error.error_diagnostics]
    errors = [diagnostic for diagnostic in diagnostics if diagnostic.severity == "error"]
    if not errors:
        return DtmmError(f"{doing}: {error.message}.")
    where = location_text(errors[0].location)
    if where and rename and where.startswith("-:"):
        where = rename + where[1:]
    return DtmmError(f"{doing}: {_sentences(errors)}", where)


def _concrete(location: ir.Location) -> ir.Location:
    """``location`` as an object of its own class; ``DiagnosticInfo`` hands out plain ``Location``."""
    for kind in (ir.FileLineColLoc, ir.NameLoc, ir.CallSiteLoc, ir.FusedLoc):
        try:
            return kind(location)
        except ValueError:
            continue
    return location


def _sentences(diagnostics: Iterable[Diagnostic]) -> str:
    return "; ".join(dict.fromkeys(diagnostic.message.strip() for diagnostic in diagnostics)) + "."
