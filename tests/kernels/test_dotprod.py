"""Dot products of AArch64: what does not show in results."""

from __future__ import annotations

import re

import pytest
from iree.compiler import ir
from iree.compiler.dialects import llvm

from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.passes.kernels.dotprod import Dotprod


@pytest.mark.parametrize("count", range(1, 10))
def test_no_weights_are_loaded_from_behind_the_last(count: int) -> None:
    with create_context(), ir.Location.unknown():
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            address = llvm.UndefOp(ir.Type.parse("!llvm.ptr")).result
            assert len(list(Dotprod().load_quads(address, count))) == count
    text = str(module)
    places = {name: int(at) for name, at in re.findall(r"(%\d+) = llvm.getelementptr %\d+\[(\d+)\]", text)}
    loads = re.findall(r"llvm.load (%\d+).* -> (\S+)", text)
    ends = [places.get(name, 0) + (4 if type == "i32" else 16) for name, type in loads]
    assert max(ends) == 4 * count
