// RUN: dtmm-opt %s --pass-pipeline='builtin.module(filterlet-plan{target=cortex-m55})' --split-input-file | filecheck %s

// Few channels: the three filterlets of a kernel row fit into one vector, so they are joined.

// CHECK-LABEL: @few_channels
// CHECK: plan = {dense = 0 : i64, filters = {{[0-9]}} : i64, joined = 3 : i64, kernel = "input_stationary", masked = 0 : i64, pixel_rows = 1 : i64, pixels = 8 : i64, row_width = 0 : i64, rows = 8 : i64, run_width = 1 : i64, skip_padding = {{[012]}} : i64, unrolled = 8 : i64}
func.func @few_channels(%x: tensor<1x8x8x3xi8>) -> tensor<1x8x8x4xi32> {
  %w = arith.constant dense<1> : tensor<4x3x3x3xi8>
  %b = arith.constant dense<0> : tensor<4xi32>
  %0 = "filterlet.conv_2d"(%x, %w, %b) {clamp, dilations = array<i64: 1, 1>, groups = 1 : i64, input_zero_point = 0 : i32, pads = array<i64: 1, 1, 1, 1>, rescale, strides = array<i64: 1, 1>} : (tensor<1x8x8x3xi8>, tensor<4x3x3x3xi8>, tensor<4xi32>) -> tensor<1x8x8x4xi32>
  return %0 : tensor<1x8x8x4xi32>
}

// -----

// A narrow map limits the pixels of a row, so all are taken as one; a plan given by hand is kept.

// CHECK-LABEL: @narrow
// CHECK: plan = {{{.*}}, pixel_rows = 1 : i64, pixels = 4 : i64, row_width = 4 : i64,
// CHECK: plan = {filters = 1 : i64, kernel = "table", pixels = 1 : i64, rows = 1 : i64, run_width = 1 : i64}
func.func @narrow(%x: tensor<1x2x2x16xi8>) -> tensor<1x2x2x16xi8> {
  %w = arith.constant dense<1> : tensor<16x1x1x16xi8>
  %b = arith.constant dense<0> : tensor<16xi32>
  %0 = "filterlet.conv_2d"(%x, %w, %b) {clamp, dilations = array<i64: 1, 1>, groups = 1 : i64, input_zero_point = 0 : i32, pads = array<i64: 0, 0, 0, 0>, rescale = {multiplier = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1>, shift = array<i8: 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9>, output_zero_point = 0 : i32, rounding = "single"}, strides = array<i64: 1, 1>} : (tensor<1x2x2x16xi8>, tensor<16x1x1x16xi8>, tensor<16xi32>) -> tensor<1x2x2x16xi8>
  %1 = "filterlet.conv_2d"(%0, %w, %b) {plan = {filters = 1 : i64, kernel = "table", pixels = 1 : i64, rows = 1 : i64, run_width = 1 : i64}, clamp, dilations = array<i64: 1, 1>, groups = 1 : i64, input_zero_point = 0 : i32, pads = array<i64: 0, 0, 0, 0>, rescale = {multiplier = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1>, shift = array<i8: 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9>, output_zero_point = 0 : i32, rounding = "single"}, strides = array<i64: 1, 1>} : (tensor<1x2x2x16xi8>, tensor<16x1x1x16xi8>, tensor<16xi32>) -> tensor<1x2x2x16xi8>
  return %1 : tensor<1x2x2x16xi8>
}

// -----

// CHECK-LABEL: @depthwise
// CHECK: plan = {dense = 0 : i64, filters = 1 : i64, joined = 0 : i64, kernel = "depthwise",
func.func @depthwise(%x: tensor<1x8x8x6xf32>) -> tensor<1x8x8x6xf32> {
  %w = arith.constant dense<1.0> : tensor<6x3x3x1xf32>
  %b = arith.constant dense<0.0> : tensor<6xf32>
  %0 = "filterlet.conv_2d"(%x, %w, %b) {clamp, dilations = array<i64: 1, 1>, groups = 6 : i64, input_zero_point = 0 : i32, pads = array<i64: 1, 1, 1, 1>, rescale, strides = array<i64: 1, 1>} : (tensor<1x8x8x6xf32>, tensor<6x3x3x1xf32>, tensor<6xf32>) -> tensor<1x8x8x6xf32>
  return %0 : tensor<1x8x8x6xf32>
}
