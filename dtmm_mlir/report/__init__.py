"""Where a network's instructions, flash and RAM go: figures, pages and exports."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dtmm_mlir.report.build import analyze, measure
    from dtmm_mlir.report.data import Report

__all__ = ["Report", "analyze", "measure"]

_HOMES = {"analyze": "build", "measure": "build", "Report": "data"}


def __getattr__(name: str) -> Any:
    """Loads what is asked for only then, as the compiler imports a part of this package."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"dtmm_mlir.report.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'dtmm_mlir.report' has no attribute '{name}'")
