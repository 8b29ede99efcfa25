"""MLIR contexts that know the filterlet dialect."""

from __future__ import annotations

from pathlib import Path

from iree.compiler import ir
from iree.compiler.dialects._ods_common import _cext

from dtmm_mlir.dialect import bindings
from dtmm_mlir.dialect.irdl import load_irdl

IRDL_FILE = Path(__file__).with_name("filterlet.irdl.mlir")

_cext.globals.append_dialect_search_prefix(bindings.__name__)


def create_context() -> ir.Context:
    """A fresh context of IREE's with the filterlet dialect registered.

    The dialect comes from ``filterlet.irdl.mlir``, as with ``iree-opt --irdl-file``.
    """
    context = ir.Context()
    load_irdl(context, IRDL_FILE)
    return context
