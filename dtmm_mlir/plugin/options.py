"""What users of the plug-in can choose."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar, Literal

from iree.compiler import ir

from dtmm_mlir.passes.pipeline import parse_options
from dtmm_mlir.passes.plan import Optimize

VARIABLE = "DTMM_MLIR_OPTIONS"
PREFIX = "filterlet."


@dataclass
class Options:
    """Options of ``filterlet-compile``.

    Attributes:
        target: name of the target; empty to find it, see ``target.find_target``.
        capture: convolutions to take: those estimated to be worthwhile, all, or none but filterlet ops.
        optimize, plans: as of ``filterlet-plan``.
        remarks: whether a remark at each convolution says what became of it.
    """

    name: ClassVar[str] = "filterlet-compile"
    target: str = ""
    capture: Literal["worthwhile", "all", "none"] = "worthwhile"
    optimize: Optimize = "balanced"
    plans: str = ""
    remarks: bool = False

    @staticmethod
    def read(module: ir.Module, given: str) -> Options:
        """The options ``given`` to the pass, before the module's ``filterlet.*``, before ``DTMM_MLIR_OPTIONS``.

        Raises:
            DtmmError: an option is unknown or has a wrong value.
        """
        attributes = module.operation.attributes
        names = [name for name in attributes if name.startswith(PREFIX)]
        written = " ".join(f"{name.removeprefix(PREFIX)}={_text(attributes[name])}" for name in names)
        found: dict[str, object] = {}
        for where, text in (
            (VARIABLE, os.environ.get(VARIABLE, "")),
            ("the module's attributes", written),
            ("", given),
        ):
            found |= parse_options(Options, text, f"{Options.name}{{{text}}} of {where}" if where else Options.name)
        return Options(**found)  # type: ignore[arg-type]


def _text(value: ir.Attribute) -> str:
    return "true" if isinstance(value, ir.UnitAttr) else str(value)
