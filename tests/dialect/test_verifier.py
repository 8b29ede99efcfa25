"""Every rule of the verifier: a correct op with one thing changed, and what must be said about it."""

from __future__ import annotations

import pytest
from iree.compiler import ir

from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.dialect.verifier import verify
from dtmm_mlir.passes.base import PassError

CONV = """
func.func @conv(%x: tensor<1x5x5x4xi8>, %dynamic: tensor<2x3x3x4xi8>) -> tensor<1x5x5x2xi8> {
  %w = arith.constant dense<1> : tensor<2x3x3x4xi8>
  %b = arith.constant dense<0> : tensor<2xi32>
  %0 = "filterlet.conv_2d"(%x, %w, %b) {
    clamp = [-128 : i32, 127 : i32], dilations = array<i64: 1, 1>, groups = 1 : i64, input_zero_point = -3 : i32,
    pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>,
    plan = {filters = 1 : i64, kernel = "table", pixels = 4 : i64, rows = 2 : i64, run_width = 1 : i64},
    rescale = {multiplier = array<i32: 7, 8>, shift = array<i8: 38, 39>, output_zero_point = 1 : i32,
               rounding = "double"}
  } : (tensor<1x5x5x4xi8>, tensor<2x3x3x4xi8>, tensor<2xi32>) -> tensor<1x5x5x2xi8>
  return %0 : tensor<1x5x5x2xi8>
}
"""

PACKED = """
func.func @packed(%x: tensor<1x5x5x4xi8>, %dynamic: tensor<3x4xi8>) -> tensor<1x5x5x2xi32> {
  %v = arith.constant dense<1> : tensor<3x4xi8>
  %p = arith.constant dense<[0, 8, 4]> : tensor<3xi16>
  %c = arith.constant dense<[2, 1]> : tensor<2xi16>
  %b = arith.constant dense<0> : tensor<2xi32>
  %0 = "filterlet.packed_conv_2d"(%x, %v, %p, %c, %b) {
    clamp, dilations = array<i64: 1, 1>, groups = 1 : i64, input_zero_point = -3 : i32, kernel = array<i64: 3, 3>,
    pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>, rescale, kept = 3 : i64, total = 18 : i64,
    plan = {filters = 1 : i64, kernel = "table", pixels = 4 : i64, rows = 2 : i64, run_width = 1 : i64}
  } : (tensor<1x5x5x4xi8>, tensor<3x4xi8>, tensor<3xi16>, tensor<2xi16>, tensor<2xi32>) -> tensor<1x5x5x2xi32>
  return %0 : tensor<1x5x5x2xi32>
}
"""

CONV_ERRORS = [
    ("(%x, %w, %b)", "(%x, %dynamic, %b)", "weights must be a constant"),
    ("strides = array<i64: 1, 1>", "strides = array<i64: 1>", "strides must be array<i64> of 2 numbers"),
    ("strides = array<i64: 1, 1>", "strides = array<i64: 0, 1>", "strides must be positive"),
    ("dilations = array<i64: 1, 1>", "dilations = array<i32: 1, 1>", "dilations must be array<i64>"),
    ("pads = array<i64: 1, 1, 1, 1>", "pads = array<i64: 1, 1, -1, 1>", "pads must be non-negative"),
    ("pads = array<i64: 1, 1, 1, 1>", "pads = array<i64: 0, 0, 0, 0>", "result must have shape [1, 3, 3, 2]"),
    ("dilations = array<i64: 1, 1>", "dilations = array<i64: 9, 9>", "does not fit into the padded 5x5 input"),
    ("groups = 1 : i64", "groups = 2 : i64", "weights have 4 channels for 2 group(s)"),
    ("groups = 1 : i64", "groups = 0 : i64", "groups must be positive"),
    ("input_zero_point = -3", "input_zero_point = 200", "input_zero_point must be within i8"),
    ("array<i32: 7, 8>", "array<i32: 7>", "rescale's multiplier has 1 entries for 2 filters"),
    ("array<i32: 7, 8>", "array<i32: 7, -8>", "multiplier must not be negative"),
    ("array<i8: 38, 39>", "array<i8: 38, 39, 40>", "rescale's shift has 3 entries for 2 filters"),
    ("array<i8: 38, 39>", "array<i8: 38, 1>", "shift must be within 2 to 62"),
    ("array<i8: 38, 39>", "array<i32: 38, 39>", "rescale's shift has the wrong type"),
    ('"double"', '"triple"', 'rounding must be "single" or "double"'),
    ("output_zero_point = 1 : i32", "output_zero_point = 128 : i32", "output_zero_point must be within i8"),
    (", output_zero_point = 1 : i32", "", "rescale must have the entries"),
    ("[-128 : i32, 127 : i32]", "[3 : i32, 2 : i32]", "clamp's min 3 is greater than its max 2"),
    ("[-128 : i32, 127 : i32]", "[0 : i32]", "clamp must be [min, max]"),
    ("[-128 : i32, 127 : i32]", "[0.0 : f32, 6.0 : f32]", "clamp must be [min, max] as i32 numbers"),
    ("tensor<1x5x5x4xi8>", "tensor<1x5x?x4xi8>", "input must have a static shape"),
    ("tensor<1x5x5x4xi8>", "tensor<1x5x5x4xi16>", "input must hold i8 or f32"),
    ("tensor<1x5x5x4xi8>", "tensor<1x5x5x4xf32>", "weights hold i8 but the input holds f32"),
    ("tensor<1x5x5x4xi8>", "tensor<5x5x4xi8>", "input must be a tensor of rank 4"),
    ("tensor<2xi32>", "tensor<3xi32>", "bias must have 2 elements"),
    ("tensor<2xi32>", "tensor<2xi16>", "bias must hold i32"),
    ("tensor<1x5x5x2xi8>", "tensor<1x5x5x2xi32>", "result must hold i8"),
    ('"table"', '"fast"', 'plan names the kernel "fast"'),
    ('"table"', '"depthwise"', "the convolution is not depthwise"),
    ("pixels = 4", "pixels = 9", "plan has pixels = 9"),
    (", rows = 2 : i64", "", "missing or unknown fields: rows"),
    ("run_width = 1", "run_width = 4", "run_width 4 is wider than the 3x3 kernel"),
    ("filters = 1", "filters = 3", "filters = 3 does not fit 2 filters"),
]

PACKED_ERRORS = [
    ("(%x, %v,", "(%x, %dynamic,", "values must be a constant"),
    ("[0, 8, 4]", "[0, 9, 4]", "positions must be within 0 to 8"),
    ("[0, 8, 4]", "[0, -1, 4]", "positions must be within 0 to 8"),
    ("[2, 1]", "[2, 2]", "counts sum to 4 but values hold 3 runs"),
    ("[2, 1]", "[4, -1]", "counts must not be negative"),
    ("run_width = 1", "run_width = 2", "goes past the end of its kernel row"),
    ("tensor<3x4xi8>", "tensor<3x5xi8>", "values hold 5 weights per run"),
    ("tensor<3x4xi8>", "tensor<2x4xi8>", "counts sum to 3 but values hold 2 runs"),
    ("dense<[2, 1]> : tensor<2xi16>", "dense<[1, 1, 1]> : tensor<3xi16>", "counts has 3 entries"),
    ("tensor<3xi16>", "tensor<3xi32>", "positions must be a tensor of rank 1 holding i16"),
    ("kept = 3", "kept = 19", "kept = 19 of total = 18"),
    ("total = 18", "total = 17", "does not fit 2 filters of 3x3"),
    ("kernel = array<i64: 3, 3>", "kernel = array<i64: 3>", "kernel must be array<i64> of 2 numbers"),
]


@pytest.mark.parametrize("text", [CONV, PACKED], ids=["conv_2d", "packed_conv_2d"])
def test_correct_ops_pass(text: str) -> None:
    verify(ir.Module.parse(text, create_context()))


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [(CONV, *error) for error in CONV_ERRORS] + [(PACKED, *error) for error in PACKED_ERRORS],
)
def test_wrong_op_is_rejected_with_its_location(text: str, old: str, new: str, message: str) -> None:
    assert old in text
    changed = text.replace(old, new)
    if "tensor<3xi16>" in new:  # the type of counts alone: its op's signature names positions first
        changed = text.replace("dense<[2, 1]> : tensor<2xi16>", new).replace(
            "tensor<3xi16>, tensor<2xi16>", "tensor<3xi16>, tensor<3xi16>"
        )
    module = ir.Module.parse(changed, create_context())
    with pytest.raises(PassError) as error:
        verify(module)
    assert message in error.value.message
    assert "filterlet." in error.value.message
    assert error.value.where
    assert error.value.where.startswith("-:")


@pytest.mark.parametrize(
    "missing", ["strides = array<i64: 1, 1>,", "groups = 1 : i64,", "input_zero_point = -3 : i32,"]
)
def test_missing_attribute_is_rejected_by_irdl(missing: str) -> None:
    with pytest.raises(ir.MLIRError, match="attribute"):
        ir.Module.parse(CONV.replace(missing, ""), create_context())
