"""Small models as MLIR text."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]

PACKED, CONV = (
    next(
        text
        for text in re.findall(r"```mlir\n(.*?)```", (ROOT / "docs/dialect.md").read_text(), re.DOTALL)
        if op in text
    )
    for op in ("filterlet.packed_conv_2d", '"filterlet.conv_2d"')
)
"""Ops of the filterlet dialect, as the documentation shows them."""

_LINALG = """
func.func @main(%x: tensor<1x10x10x16xTYPE>) -> tensor<1x8x8x8xSUM> {
  %w = arith.constant dense<WEIGHTS> : tensor<3x3x16x8xTYPE>
  %zero = arith.constant ZERO : SUM
  %empty = tensor.empty() : tensor<1x8x8x8xSUM>
  %init = linalg.fill ins(%zero : SUM) outs(%empty : tensor<1x8x8x8xSUM>) -> tensor<1x8x8x8xSUM>
  %y = linalg.conv_2d_nhwc_hwcf ins(%x, %w : tensor<1x10x10x16xTYPE>, tensor<3x3x16x8xTYPE>)
    outs(%init : tensor<1x8x8x8xSUM>) -> tensor<1x8x8x8xSUM>
  return %y : tensor<1x8x8x8xSUM>
}
"""

_TORCH = """
func.func @main(%x: !torch.vtensor<[1,16,10,10],f32>) -> !torch.vtensor<[1,8,8,8],f32> {
  %w = torch.vtensor.literal(dense<WEIGHTS> : tensor<8x16x3x3xf32>) : !torch.vtensor<[8,16,3,3],f32>
  %b = torch.vtensor.literal(dense<1.0> : tensor<8xf32>) : !torch.vtensor<[8],f32>
  %zero = torch.constant.int 0
  %one = torch.constant.int 1
  %false = torch.constant.bool false
  %ones = torch.prim.ListConstruct %one, %one : (!torch.int, !torch.int) -> !torch.list<int>
  %zeros = torch.prim.ListConstruct %zero, %zero : (!torch.int, !torch.int) -> !torch.list<int>
  %none = torch.prim.ListConstruct : () -> !torch.list<int>
  %y = torch.aten.convolution %x, %w, %b, %ones, %zeros, %ones, %false, %none, %one :
    !torch.vtensor<[1,16,10,10],f32>, !torch.vtensor<[8,16,3,3],f32>, !torch.vtensor<[8],f32>, !torch.list<int>,
    !torch.list<int>, !torch.list<int>, !torch.bool, !torch.list<int>, !torch.int -> !torch.vtensor<[1,8,8,8],f32>
  return %y : !torch.vtensor<[1,8,8,8],f32>
}
"""

NO_CONV = """
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = arith.addf %a, %a : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""

TORCH_NO_CONV = """
func.func @main(%x: !torch.vtensor<[4],f32>) -> !torch.vtensor<[4],f32> {
  %y = torch.aten.relu %x : !torch.vtensor<[4],f32> -> !torch.vtensor<[4],f32>
  return %y : !torch.vtensor<[4],f32>
}
"""


def _weights(dtype: str, kept: float) -> np.ndarray:
    """[3, 3, 16, 8] of small whole numbers, whose sums are exact in any order."""
    random = np.random.default_rng(0)
    return (random.integers(-8, 9, (3, 3, 16, 8)) * (random.random((3, 3, 1, 8)) < kept)).astype(dtype)


def _hex(array: np.ndarray) -> str:
    return f'"0x{np.ascontiguousarray(array).tobytes().hex()}"'


def linalg(dtype: str = "float32", kept: float = 0.3) -> str:
    """A convolution of 16 channels with ``kept`` of its filterlets; int8 sums stay i32."""
    names = {"float32": ("f32", "f32", "0.0"), "int8": ("i8", "i32", "0")}[dtype]
    text = _LINALG.replace("WEIGHTS", _hex(_weights(dtype, kept)))
    for placeholder, name in zip(("TYPE", "SUM", "ZERO"), names, strict=True):
        text = text.replace(placeholder, name)
    return text


def torch(kept: float = 0.3) -> str:
    """The same in the torch dialect, NCHW."""
    return _TORCH.replace("WEIGHTS", _hex(_weights("float32", kept).transpose(3, 2, 0, 1)))
