"""What a value is made from."""

from __future__ import annotations

import pytest
from iree.compiler import ir

from dtmm_mlir.dialect.constants import depends_on_argument, walk
from dtmm_mlir.dialect.context import create_context

MODULE = """
util.global private mutable @state = dense<1.0> : tensor<4xf32>
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {{
  %c = arith.constant dense<2.0> : tensor<4xf32>
  %sum = arith.addf %c, %c : tensor<4xf32>
  %g = util.global.load @state : tensor<4xf32>
  %y = math.absf {value} : tensor<4xf32>
  return %y : tensor<4xf32>
}}
"""


@pytest.mark.parametrize(("value", "depends"), [("%x", True), ("%c", False), ("%sum", False), ("%g", True)])
def test_depends_on_argument(value: str, depends: bool) -> None:
    module = ir.Module.parse(MODULE.format(value=value), create_context())
    (op,) = walk(module, "math.absf")
    assert depends_on_argument(op.result) is depends
