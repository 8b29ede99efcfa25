"""``filterlet-verify``: rejects inconsistent filterlet ops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dtmm_mlir.dialect.verifier import verify
from dtmm_mlir.passes.base import Pass


@dataclass
class VerifyFilterlet(Pass):
    """Checks what IRDL cannot: shapes, counts, ranges, constants. Changes nothing."""

    name: ClassVar[str] = "filterlet-verify"

    def run(self, module: ir.Module) -> None:
        verify(module)
