// RUN: dtmm-opt %s --filterlet-pack --split-input-file | filecheck %s

// Two filters of 2x2 filterlets with two channels; three of the eight filterlets are kept. The zero point 3 goes into
// the bias: 10 - 3 * (1 + 2 + 3 + 4) = -20 and 20 - 3 * (5 + 6) = -13.

// CHECK-LABEL: @filterlets
// CHECK-DAG: arith.constant dense<{{\[\[}}1, 2], [3, 4], [5, 6]]> : tensor<3x2xi8>
// CHECK-DAG: arith.constant dense<[0, 3, 1]> : tensor<3xi16>
// CHECK-DAG: arith.constant dense<[2, 1]> : tensor<2xi16>
// CHECK-DAG: arith.constant dense<[-20, -13]> : tensor<2xi32>
// CHECK: "filterlet.packed_conv_2d"{{.*}}kept = 3 : i64, kernel = array<i64: 2, 2>{{.*}}total = 8 : i64
// CHECK-NOT: tensor<2x2x2x2xi8>
func.func @filterlets(%x: tensor<1x3x3x2xi8>) -> tensor<1x2x2x2xi32> {
  %w = arith.constant dense<[[[[1, 2], [0, 0]], [[0, 0], [3, 4]]], [[[0, 0], [5, 6]], [[0, 0], [0, 0]]]]> : tensor<2x2x2x2xi8>
  %b = arith.constant dense<[10, 20]> : tensor<2xi32>
  %0 = "filterlet.conv_2d"(%x, %w, %b) {plan = {filters = 1 : i64, kernel = "table", pixels = 2 : i64, rows = 1 : i64, run_width = 1 : i64}, clamp, dilations = array<i64: 1, 1>, groups = 1 : i64, input_zero_point = 3 : i32, pads = array<i64: 0, 0, 0, 0>, rescale, strides = array<i64: 1, 1>} : (tensor<1x3x3x2xi8>, tensor<2x2x2x2xi8>, tensor<2xi32>) -> tensor<1x2x2x2xi32>
  return %0 : tensor<1x2x2x2xi32>
}

// -----

// Runs of two along kx. The last filterlet of a row of three starts its run early; what the run before holds already is
// zero in it.

// CHECK-LABEL: @runs
// CHECK-DAG: arith.constant dense<{{\[\[}}1, 2], [0, 3]]> : tensor<2x2xi8>
// CHECK-DAG: arith.constant dense<[0, 1]> : tensor<2xi16>
// CHECK: "filterlet.packed_conv_2d"{{.*}}kept = 3 : i64
func.func @runs(%x: tensor<1x1x3x1xi8>) -> tensor<1x1x1x1xi32> {
  %w = arith.constant dense<[[[[1], [2], [3]]]]> : tensor<1x1x3x1xi8>
  %b = arith.constant dense<0> : tensor<1xi32>
  %0 = "filterlet.conv_2d"(%x, %w, %b) {plan = {filters = 1 : i64, joined = 1 : i64, kernel = "table", pixels = 1 : i64, rows = 1 : i64, run_width = 2 : i64}, clamp, dilations = array<i64: 1, 1>, groups = 1 : i64, input_zero_point = 0 : i32, pads = array<i64: 0, 0, 0, 0>, rescale, strides = array<i64: 1, 1>} : (tensor<1x1x3x1xi8>, tensor<1x1x3x1xi8>, tensor<1xi32>) -> tensor<1x1x1x1xi32>
  return %0 : tensor<1x1x1x1xi32>
}

// -----

// Two filters together: they share runs, so a filterlet that only one of them kept is stored as zeros for the other.
// The third filter's block overlaps the first.

// CHECK-LABEL: @blocks
// CHECK-DAG: arith.constant dense<{{\[\[}}1, 0], [0, 2], [0, 3], [2, 0]]> : tensor<4x2xi8>
// CHECK-DAG: arith.constant dense<[0, 2, 1, 2]> : tensor<4xi16>
// CHECK-DAG: arith.constant dense<2> : tensor<2xi16>
func.func @blocks(%x: tensor<1x1x3x1xi8>) -> tensor<1x1x1x3xi32> {
  %w = arith.constant dense<[[[[1], [0], [0]]], [[[0], [0], [2]]], [[[0], [3], [0]]]]> : tensor<3x1x3x1xi8>
  %b = arith.constant dense<0> : tensor<3xi32>
  %0 = "filterlet.conv_2d"(%x, %w, %b) {plan = {filters = 2 : i64, kernel = "table", pixels = 1 : i64, rows = 1 : i64, run_width = 1 : i64}, clamp, dilations = array<i64: 1, 1>, groups = 1 : i64, input_zero_point = 0 : i32, pads = array<i64: 0, 0, 0, 0>, rescale, strides = array<i64: 1, 1>} : (tensor<1x1x3x1xi8>, tensor<3x1x3x1xi8>, tensor<3xi32>) -> tensor<1x1x1x3xi32>
  return %0 : tensor<1x1x1x3xi32>
}

// -----

// A depthwise convolution keeps a position for all channels: a row of weights per position.

// CHECK-LABEL: @depthwise
// CHECK-DAG: arith.constant dense<{{\[\[}}1, 0], [0, 2]]> : tensor<2x2xi8>
// CHECK-DAG: arith.constant dense<[0, 2]> : tensor<2xi16>
// CHECK-DAG: arith.constant dense<2> : tensor<1xi16>
func.func @depthwise(%x: tensor<1x1x3x2xi8>) -> tensor<1x1x1x2xi32> {
  %w = arith.constant dense<[[[[1], [0], [0]]], [[[0], [0], [2]]]]> : tensor<2x1x3x1xi8>
  %b = arith.constant dense<0> : tensor<2xi32>
  %0 = "filterlet.conv_2d"(%x, %w, %b) {plan = {filters = 1 : i64, kernel = "depthwise", pixels = 1 : i64, rows = 1 : i64, run_width = 1 : i64}, clamp, dilations = array<i64: 1, 1>, groups = 2 : i64, input_zero_point = 0 : i32, pads = array<i64: 0, 0, 0, 0>, rescale, strides = array<i64: 1, 1>} : (tensor<1x1x3x2xi8>, tensor<2x1x3x1xi8>, tensor<2xi32>) -> tensor<1x1x1x2xi32>
  return %0 : tensor<1x1x1x2xi32>
}
