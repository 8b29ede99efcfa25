"""A compiler for filterlet-pruned networks on microcontrollers, on top of MLIR and IREE."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dtmm_mlir.errors import DtmmError

if TYPE_CHECKING:
    from dtmm_mlir.artifact import Artifact, load
    from dtmm_mlir.compiler import compile

    __version__: str

__all__ = ["Artifact", "DtmmError", "__version__", "compile", "load"]

_HOMES = {"Artifact": "artifact", "load": "artifact", "compile": "compiler"}


def __getattr__(name: str) -> Any:
    """Loads what is asked for only then, so that ``import dtmm_mlir`` costs nothing."""
    if name == "__version__":
        from importlib.metadata import version

        return version("dtmm-mlir")
    if name in _HOMES:
        return getattr(importlib.import_module(f"dtmm_mlir.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'dtmm_mlir' has no attribute '{name}'")
