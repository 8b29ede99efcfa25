"""Every pass of this project by its flag name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from dtmm_mlir.errors import DtmmError
from dtmm_mlir.passes.base import Pass

_PACKAGE = "dtmm_mlir.passes"

PASSES: Mapping[str, str] = {
    "filterlet-torch-to-tosa": "torch_to_tosa:TorchToTosa",
    "filterlet-merge-tables": "merge_tables:MergeTables",
    "filterlet-capture": "capture:CaptureConv",
    "filterlet-remove-channels": "remove_channels:RemoveChannels",
    "filterlet-plan": "plan:PlanKernels",
    "filterlet-pack": "pack:PackFilterlets",
    "filterlet-lower": "lower:LowerToStream",
    "filterlet-verify": "verify:VerifyFilterlet",
}
"""``flag -> module:class`` below ``dtmm_mlir.passes``, in the order of the pipeline; loaded when asked for."""


def get_pass(name: str) -> type[Pass]:
    """The class of the pass whose flag is ``name``.

    Raises:
        DtmmError: there is no such pass.
    """
    entry = PASSES.get(name)
    if entry is None:
        raise DtmmError(f"there is no pass '{name}'; this project's passes are {', '.join(PASSES)}.")
    module, attribute = entry.split(":")
    return getattr(importlib.import_module(f"{_PACKAGE}.{module}"), attribute)
