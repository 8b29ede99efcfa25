"""Every rule of the verifier: a correct op with one thing changed, and what must be said about it."""

from __future__ import annotations

import pytest
from iree.compiler import ir

from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.dialect.plan import Kernel, Plan
from dtmm_mlir.dialect.verifier import verify
from dtmm_mlir.passes.base import PassError
from tests.kernels.convolutions import Case, Sample, build_module, geometry

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

POINTWISE = CONV.replace("3x3x4", "1x1x4").replace("1, 1, 1, 1>", "0, 0, 0, 0>")

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
    ("rescale = {", "removed = 3 : i64, rescale = {", "removed must have the entries filters and channels"),
    ("rescale = {", "removed = {filters = array<i64: 1>}, rescale = {", "removed must have the entries"),
    (
        "rescale = {",
        "removed = {channels = array<i64>, filters = array<i32: 1>}, rescale = {",
        "filters and channels, which are array<i64>",
    ),
    (
        "rescale = {",
        "removed = {channels = array<i64>, filters = array<i64: 1, 4>}, rescale = {",
        "removed's filters must be ascending numbers of 4 filters, not [1, 4]",
    ),
    (
        "rescale = {",
        "removed = {channels = array<i64: 3, 1>, filters = array<i64>}, rescale = {",
        "removed's channels must be ascending numbers of 6 channels, not [3, 1]",
    ),
    ('"table"', '"fast"', 'plan names the kernel "fast"'),
    ('"table"', '"depthwise"', "the convolution is not depthwise"),
    ("pixels = 4", "pixels = 9", "plan has pixels = 9"),
    (", rows = 2 : i64", "", "missing or unknown fields: rows"),
    ("run_width = 1", "run_width = 4", "run_width 4 is wider than the 3x3 kernel"),
    ("filters = 1", "filters = 3", "filters = 3 does not fit 2 filters"),
    ("filters = 1", "filters = 9", "plan has filters = 9, which is out of range"),
    (
        'filters = 1 : i64, kernel = "table"',
        'filters = 2 : i64, kernel = "input_stationary"',
        "takes filters of 1, and a run_width of 1 or 3",
    ),
    ('filters = 1 : i64, kernel = "table"', 'filters = 2 : i64, kernel = "pairs"', "which takes filters of 1, a"),
    ('kernel = "table"', 'kernel = "pairs", dense = 1 : i64', "and no dense"),
    ('kernel = "table"', 'kernel = "mixed"', "the mixed kernel, which takes filters of 1, a run_width of 3, and no"),
    ('kernel = "table"', 'kernel = "linear"', "which takes i8, one group, a 1x1 kernel, no padding and 4 to 32767"),
    ('kernel = "table"', 'kernel = "table", row_width = 5 : i64', "row_width = 5, which takes a 1x1"),
    ('kernel = "table"', 'kernel = "table", skip_padding = 2 : i64', "2, which takes the input_stationary kernel"),
    ('kernel = "table"', 'kernel = "input_stationary", skip_padding = 2 : i64', "takes all 5 columns as pixels"),
    (
        'kernel = "table", pixels = 4 : i64',
        'kernel = "input_stationary", joined = 4 : i64, pixels = 5 : i64, skip_padding = 2 : i64',
        "and channels that are not joined",
    ),
    (
        'kernel = "table", pixels = 4 : i64, rows = 2 : i64, run_width = 1 : i64',
        'kernel = "input_stationary", joined = 4 : i64, pixels = 4 : i64, rows = 2 : i64, run_width = 3 : i64',
        "run_width = 3 takes channels that are not joined",
    ),
    (
        'kernel = "table", pixels = 4 : i64, rows = 2 : i64',
        'kernel = "input_stationary", pixels = 4 : i64, pixel_rows = 2 : i64, rows = 3 : i64',
        "pixel_rows = 2 must divide the plan's rows = 3, if these are not all 5",
    ),
    ('kernel = "table"', 'kernel = "input_stationary", unrolled = 12 : i64', "unrolled = 12 must be a power of two"),
    ('kernel = "table"', 'kernel = "table", masked = 1 : i64, dense = 1 : i64', "no dense or skip_padding"),
    ('kernel = "table"', 'kernel = "pixel_lanes", joined = 4 : i64', "which takes the table or input_stationary"),
    ('kernel = "table"', 'kernel = "pixel_lanes"', "takes at least 16 output pixels, which 2 rows of 5 are not"),
    (
        'kernel = "table", pixels = 4 : i64, rows = 2 : i64, run_width = 1 : i64',
        'kernel = "pixel_lanes", pixels = 4 : i64, rows = 5 : i64, run_width = 2 : i64',
        "one group, a run_width of 1, and no dense",
    ),
]

POINTWISE_ERRORS = [
    ("run_width = 1", "run_width = 1 : i64, row_width = 4", "row_width = 4 does not divide the 25 pixels of the input"),
    ("pixels = 4", "pixels = 4 : i64, row_width = -1", "plan has row_width = -1, which is out of range"),
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


ADD = """
func.func @add(%x: tensor<1x5x5x4xi8>) {
  %0 = "filterlet.add"(%x, %x) {
    affine = {multipliers = array<i32: 100, -3>, offset = 7 : i32, shift = 8 : i32}, clamp = [-128 : i32, 127 : i32]
  } : (tensor<1x5x5x4xi8>, tensor<1x5x5x4xi8>) -> tensor<1x5x5x4xi8>
  return
}
"""

ADD_ERRORS = [
    ("-> tensor<1x5x5x4xi8>", "-> tensor<1x5x4x5xi8>", "lhs, rhs and result must have one shape"),
    ("-> tensor<1x5x5x4xi8>", "-> tensor<1x5x5x4xi16>", "result must be a tensor of i8 with a static shape"),
    ("tensor<1x5x5x4xi8>", "tensor<1x5x?x4xi8>", "lhs must be a tensor of i8 with a static shape"),
    ("array<i32: 100, -3>", "array<i32: 100>", "affine has 1 multipliers for 2 operand(s)"),
    ("array<i32: 100, -3>", "array<i64: 100, -3>", "affine's multipliers has the wrong type"),
    ("array<i32: 100, -3>", "array<i32: 16777215, -3>", "affine may reach 2147483911"),
    ("offset = 7 : i32, ", "", "affine must have the entries multipliers, offset, shift"),
    ("shift = 8", "shift = 1", "affine's shift must be within 2 to 24, not 1"),
    ("shift = 8", "shift = 25", "affine's shift must be within 2 to 24, not 25"),
    ("[-128 : i32, 127 : i32]", "[3 : i32, 2 : i32]", "clamp's min 3 is greater than its max 2"),
    ("[-128 : i32, 127 : i32]", "[0.0 : f32, 6.0 : f32]", "clamp must be [min, max] as i32 numbers"),
    ("[-128 : i32, 127 : i32]", "[0 : i32, 128 : i32]", "clamp must be within i8, not [0, 128]"),
]

POOLS = """
func.func @pools(%x: tensor<1x5x5x4xi8>) {
  %0 = "filterlet.max_pool_2d"(%x) {
    kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>
  } : (tensor<1x5x5x4xi8>) -> tensor<1x3x3x4xi8>
  %1 = "filterlet.avg_pool_2d"(%x) {
    affine = {multipliers = array<i32: 64>, offset = 7 : i32, shift = 8 : i32},
    kernel = array<i64: 2, 3>, strides = array<i64: 2, 2>
  } : (tensor<1x5x5x4xi8>) -> tensor<1x2x2x4xi8>
  return
}
"""

POOL_ERRORS = [
    ("tensor<1x5x5x4xi8>", "tensor<1x5x5x4xf32>", "input must be a tensor of i8 with a static shape"),
    ("tensor<1x5x5x4xi8>", "tensor<5x5x4xi8>", "input and result must have rank 4 (NHWC)"),
    ("kernel = array<i64: 3, 3>", "kernel = array<i64: 3>", "kernel must be array<i64> of 2 numbers"),
    ("kernel = array<i64: 2, 3>", "kernel = array<i64: 0, 3>", "kernel must be positive"),
    ("kernel = array<i64: 2, 3>", "kernel = array<i64: 6, 3>", "does not fit into the padded 5x5 input"),
    ("strides = array<i64: 2, 2>", "strides = array<i64: 1, 2>", "result must have shape [1, 5, 3, 4]"),
    ("pads = array<i64: 1, 1, 1, 1>", "pads = array<i64: 1, 1, 1>", "pads must be array<i64> of 4 numbers"),
    (
        "pads = array<i64: 1, 1, 1, 1>",
        "pads = array<i64: 3, 1, 1, 1>",
        "pads [3, 1, 1, 1] must be smaller than the 3x3",
    ),
    ("array<i32: 64>", "array<i32: 64, 1>", "affine has 2 multipliers for 1 operand(s)"),
    ("array<i32: 64>", "array<i32: 2796203>", "affine may reach 2147483911"),
]


INPUT_STATIONARY = """
func.func @conv(%x: tensor<1x1x40xCxT>) -> tensor<1x1xOx2xT> {
  %w = arith.constant dense<1> : tensor<2x1x1xDxT>
  %b = arith.constant dense<0> : tensor<2xS>
  %0 = "filterlet.conv_2d"(%x, %w, %b) {
    clamp, dilations = array<i64: 1, 1>, groups = G : i64, input_zero_point = 0 : i32, rescale,
    pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 2>,
    plan = {filters = 1 : i64, kernel = "input_stationary", pixels = 8 : i64, rows = 1 : i64, run_width = 1 : i64}
  } : (tensor<1x1x40xCxT>, tensor<2x1x1xDxT>, tensor<2xS>) -> tensor<1x1x20x2xS>
  return %0 : tensor<1x1x20x2xS>
}
"""


@pytest.mark.parametrize(
    ("channels", "groups", "element", "expected"),
    [
        (240, 1, "i8", None),
        (241, 1, "i8", "at most 7 pixels of 241 channels at a stride of 2"),
        (16, 2, "i8", "which takes i8 and one group"),
        (16, 1, "f32", "which takes i8 and one group"),
    ],
)
def test_input_stationary_kernel_fits(channels: int, groups: int, element: str, expected: str | None) -> None:
    text = INPUT_STATIONARY.replace("xOx2xT", "x20x2xS").replace("G :", f"{groups} :").replace("xT>", f"x{element}>")
    text = text.replace("xCx", f"x{channels}x").replace("xDx", f"x{channels // groups}x")
    if element == "f32":
        text = text.replace("dense<1>", "dense<1.0>").replace("dense<0>", "dense<0.0>")
    text = text.replace("xS>", "xf32>" if element == "f32" else "xi32>")
    module = ir.Module.parse(text, create_context())
    if not expected:
        verify(module)
        return
    with pytest.raises(PassError, match=expected):
        verify(module)


@pytest.mark.parametrize("kernel", ["table", "pixel_lanes"])
def test_many_filters_take_the_pixel_lanes_kernel(kernel: Kernel) -> None:
    sample = Sample.of(Case(geometry(4, 4, 3, 8), plan=Plan(kernel, 1, 5, 1, 4)))
    module = build_module([sample])
    if kernel == "pixel_lanes":
        verify(module)
        return
    with pytest.raises(PassError, match="plan has filters = 5; more than 4 take the pixel_lanes kernel"):
        verify(module)


@pytest.mark.parametrize("text", [CONV, PACKED, ADD, POOLS], ids=["conv_2d", "packed_conv_2d", "add", "pools"])
def test_correct_ops_pass(text: str) -> None:
    verify(ir.Module.parse(text, create_context()))


ERRORS = [
    (CONV, CONV_ERRORS),
    (POINTWISE, POINTWISE_ERRORS),
    (PACKED, PACKED_ERRORS),
    (ADD, ADD_ERRORS),
    (POOLS, POOL_ERRORS),
]


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [(text, *error) for text, errors in ERRORS for error in errors],
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


def _changed(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def _joined(channels: int, run_width: int) -> tuple[tuple[str, str], ...]:
    """Joins ``channels`` in runs of ``run_width``."""
    return (("run_width = 1 : i64", f"run_width = {run_width} : i64, joined = {channels} : i64"),)


_TWENTY = (("x4xi8>", "x20xi8>"),)
_FLOATS = (
    ("xi8>", "xf32>"),
    ("tensor<2xi32>", "tensor<2xf32>"),
    ("dense<1>", "dense<1.0>"),
    ("dense<0>", "dense<0.0>"),
    ("input_zero_point = -3", "input_zero_point = 0"),
    ("clamp = [-128 : i32, 127 : i32]", "clamp"),
    (CONV[CONV.index("rescale = ") : CONV.index("\n  } :")], "rescale"),
)
_DILATED = (
    ("dilations = array<i64: 1, 1>", "dilations = array<i64: 1, 2>"),
    ("array<i64: 1, 1, 1, 1>", "array<i64: 1, 1, 2, 2>"),
)
_GROUPED = (("groups = 1", "groups = 2"), ("tensor<2x3x3x4xi8>", "tensor<2x3x3x2xi8>"))


@pytest.mark.parametrize(
    "changes",
    [
        _joined(4, 1), _joined(4, 3), (*_TWENTY, *_joined(4, 3)), (*_TWENTY, *_joined(20, 2)),
        _FLOATS, _DILATED, _GROUPED,
        (
            ("dilations = array<i64: 1, 1>", "dilations = array<i64: 2, 2>"),
            ("array<i64: 1, 1, 1, 1>", "array<i64: 0, 0, 0, 0>"),
            ("tensor<1x5x5x2xi8>", "tensor<1x1x1x2xi8>"),
        ),
        (("filters = 1", "filters = 2"),),
        (("run_width = 1", "run_width = 3"),),
        (("input_zero_point = -3", "input_zero_point = -128"),),
        (("input_zero_point = -3", "input_zero_point = 127"),),
        (("output_zero_point = 1", "output_zero_point = -128"),),
        (("output_zero_point = 1", "output_zero_point = 127"),),
        (("array<i8: 38, 39>", "array<i8: 2, 62>"),),
        (("array<i32: 7, 8>", "array<i32: 0, 2147483647>"),),
        (('"double"', '"single"'),),
        (("rescale = {", "removed = {channels = array<i64: 0, 5>, filters = array<i64: 2>}, rescale = {"),),
        (("[-128 : i32, 127 : i32]", "[5 : i32, 5 : i32]"),),
        (("[-128 : i32, 127 : i32]", "[-1 : i32, 0 : i32]"),),
    ],
    ids=lambda changes: changes[-1][1][:40],
)  # fmt: skip
def test_what_is_at_the_limit_passes(changes: tuple[tuple[str, str], ...]) -> None:
    verify(ir.Module.parse(_changed(CONV, *changes), create_context()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (_joined(3, 3), "plan joins 3 of 4 channels; it can join all, or in runs of 3 filterlets the last 4"),
        ((*_TWENTY, *_joined(4, 1)), "plan joins 4 of 20 channels"),
        ((*_TWENTY, *_joined(5, 3)), "plan joins 5 of 20 channels"),
        ((*_FLOATS, *_joined(4, 3)), "plan joins channels, which takes the table or input_stationary kernel, i8"),
        ((*_DILATED, *_joined(4, 3)), "plan joins channels, which takes the table or input_stationary kernel, i8"),
        ((*_GROUPED, *_joined(4, 3)), "plan joins channels, which takes the table or input_stationary kernel, i8"),
        ((*_GROUPED, ("tensor<2x3x3x2xi8>", "tensor<3x3x3x2xi8>"), ("tensor<2xi32>", "tensor<3xi32>"),
          ("x5x5x2xi8>", "x5x5x3xi8>")), "groups = 2 must divide 4 input and 3 output channels"),
        ((*_GROUPED, ("filters = 1", "filters = 2")), "filters = 2 does not fit 2 filters in 2 group(s)"),
        ((*_FLOATS, ("dense<1.0>", "dense<0x7F800000>")), "weights and bias must be finite"),
        ((*_FLOATS, ("dense<0.0>", "dense<0x7FC00000>")), "weights and bias must be finite"),
        ((*_FLOATS, ("input_zero_point = 0", "input_zero_point = 1")), "input_zero_point must be 0 for f32, not 1"),
        ((*_FLOATS, ("clamp", "clamp = [0 : i32, 1 : i32]")), "clamp must be [min, max] as f32 numbers"),
        ((*_FLOATS, ("tensor<2xf32>", "tensor<2xi32>"), ("dense<0.0>", "dense<0>")), "bias must hold f32, not i32"),
        ((("input_zero_point = -3", "input_zero_point = -129"),), "input_zero_point must be within i8, not -129"),
        ((("input_zero_point = -3", "input_zero_point = 128"),), "input_zero_point must be within i8, not 128"),
        ((("output_zero_point = 1", "output_zero_point = -129"),), "output_zero_point must be within i8, not -129"),
        ((("array<i8: 38, 39>", "array<i8: 38, 63>"),), "shift must be within 2 to 62"),
        ((("%w, %b) {", "%w, %w) {"), (", tensor<2xi32>) ->", ", tensor<2x3x3x4xi8>) ->")), "bias must"),
        ((("dense<1> : tensor<2x3x3x4xi8>", "dense<1> : tensor<0x3x3x4xi8>"), ("%w, %b) {", "%w, %b) {"),
          (", tensor<2x3x3x4xi8>, tensor<2xi32>)", ", tensor<0x3x3x4xi8>, tensor<2xi32>)"),
          ("%w = arith.constant dense<1> : tensor<0", "%w = arith.constant dense<> : tensor<0")),
         "weights must not be empty"),
        ((("groups = 1 : i64", "groups = 1.0 : f32"),), ""),
        (((CONV[CONV.index("plan = {") : CONV.index(",\n    rescale")], "plan = 3 : i64"),),
         "plan must be a dictionary, not 3"),
        ((("tensor<2x3x3x4xi8>", "tensor<2x3x12xi8>"),), "weights must be a tensor of rank 4 (OHWI)"),
    ],
)  # fmt: skip
def test_what_is_beyond_the_limit_is_rejected(changes: tuple[tuple[str, str], ...], message: str) -> None:
    with pytest.raises((PassError, ir.MLIRError)) as error:
        verify(ir.Module.parse(_changed(CONV, *changes), create_context()))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ((("kept = 3", "kept = -1"),), "kept = -1 of total = 18"),
        ((("[0, 8, 4]", "[0, 8, 9]"),), "positions must be within 0 to 8"),
        ((("run_width = 1", "run_width = 2"), ("tensor<3x4xi8>", "tensor<3x8xi8>"), ("[0, 8, 4]", "[0, 2, 4]")),
         "goes past the end of its kernel row"),
        ((("kernel = array<i64: 3, 3>", "kernel = array<i64: 0, 3>"),), "kernel must be positive"),
        ((("tensor<3x4xi8>", "tensor<3x4xi16>"),), "values must be a tensor of rank 2 holding i8 or f32"),
        ((("dense<[2, 1]> : tensor<2xi16>", "dense<[2, 1]> : tensor<2xi32>"),
          ("tensor<3xi16>, tensor<2xi16>", "tensor<3xi16>, tensor<2xi32>")), "counts must be a tensor of rank 1"),
        ((("dense<[0, 8, 4]> : tensor<3xi16>", "dense<[0, 8, 4, 4]> : tensor<4xi16>"),
          ("tensor<3xi16>, tensor<2xi16>", "tensor<4xi16>, tensor<2xi16>")), "positions has 4 entries for 3 runs"),
        ((("dense<[2, 1]> : tensor<2xi16>", "dense<[1, 1]> : tensor<2xi16>"),), "counts sum to 2 but values hold 3"),
    ],
)  # fmt: skip
def test_inconsistent_packing_is_rejected(changes: tuple[tuple[str, str], ...], message: str) -> None:
    with pytest.raises(PassError) as error:
        verify(ir.Module.parse(_changed(PACKED, *changes), create_context()))
    assert message in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        (("kept = 3", "kept = 18"),),
        (("kept = 3", "kept = 0"),),
        (("run_width = 1", "run_width = 2"), ("tensor<3x4xi8>", "tensor<3x8xi8>"), ("[0, 8, 4]", "[0, 7, 4]")),
        (("dense<[2, 1]>", "dense<[0, 3]>"),),
        (("filters = 1", "filters = 2"), ("tensor<3x4xi8>", "tensor<3x8xi8>"),
         ("dense<[2, 1]> : tensor<2xi16>", "dense<[3]> : tensor<1xi16>"), ("tensor<3xi16>, tensor<2xi16>",
         "tensor<3xi16>, tensor<1xi16>")),
    ],
    ids=lambda changes: changes[0][1],
)  # fmt: skip
def test_consistent_packing_passes(changes: tuple[tuple[str, str], ...]) -> None:
    verify(ir.Module.parse(_changed(PACKED, *changes), create_context()))
