// RUN: dtmm-opt %s --filterlet-remove-channels --split-input-file | filecheck %s

// Nothing reads channel 1 of 3, so filter 1 goes, though it has weights.

// CHECK-LABEL: @unread
// CHECK: %[[W:.*]] = arith.constant dense<{{\[\[\[\[}}1, 2]]], {{\[\[\[}}5, 6]]]]> : tensor<2x1x1x2xi8>
// CHECK: %[[B:.*]] = arith.constant dense<[10, 30]> : tensor<2xi32>
// CHECK: %[[Y:.*]] = "filterlet.conv_2d"(%{{.*}}, %[[W]], %[[B]]) {{.*}}removed = {channels = array<i64>, filters = array<i64: 1>}, rescale = {multiplier = array<i32: 5, 7>,{{.*}}shift = array<i8: 35, 37>}{{.*}} -> tensor<1x4x4x2xi8>
// CHECK: %[[P:.*]] = "filterlet.max_pool_2d"(%[[Y]]) {{.*}} : (tensor<1x4x4x2xi8>) -> tensor<1x2x2x2xi8>
// CHECK: %[[V:.*]] = arith.constant dense<{{\[\[\[\[}}7, 9]]]]> : tensor<1x1x1x2xi8>
// CHECK: "filterlet.conv_2d"(%[[P]], %[[V]], %{{.*}}) {{.*}}removed = {channels = array<i64: 1>, filters = array<i64>}
// CHECK-SAME: -> tensor<1x2x2x1xi32>
func.func @unread(%x: tensor<1x4x4x2xi8>) -> tensor<1x2x2x1xi32> {
  %w = arith.constant dense<[[[[1, 2]]], [[[3, 4]]], [[[5, 6]]]]> : tensor<3x1x1x2xi8>
  %b = arith.constant dense<[10, 20, 30]> : tensor<3xi32>
  %v = arith.constant dense<[[[[7, 0, 9]]]]> : tensor<1x1x1x3xi8>
  %c = arith.constant dense<0> : tensor<1xi32>
  %y = "filterlet.conv_2d"(%x, %w, %b) {
    strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64,
    input_zero_point = 0 : i32, clamp,
    rescale = {multiplier = array<i32: 5, 6, 7>, shift = array<i8: 35, 36, 37>, output_zero_point = 1 : i32,
               rounding = "double"}
  } : (tensor<1x4x4x2xi8>, tensor<3x1x1x2xi8>, tensor<3xi32>) -> tensor<1x4x4x3xi8>
  %p = "filterlet.max_pool_2d"(%y) {
    kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>
  } : (tensor<1x4x4x3xi8>) -> tensor<1x2x2x3xi8>
  %z = "filterlet.conv_2d"(%p, %v, %c) {
    strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64,
    input_zero_point = 1 : i32, clamp, rescale
  } : (tensor<1x2x2x3xi8>, tensor<1x1x1x3xi8>, tensor<1xi32>) -> tensor<1x2x2x1xi32>
  return %z : tensor<1x2x2x1xi32>
}

// -----

// Filter 0 has no weights: 6 of 1 << 2 is 2, and its zero point is 1. Channels of the model's result stay.

// CHECK-LABEL: @constant
// CHECK: "filterlet.conv_2d"({{.*}}removed = {channels = array<i64>, filters = array<i64: 0>}
// CHECK: dense<38> : tensor<1xi32>
// CHECK: "filterlet.conv_2d"({{.*}}removed = {channels = array<i64: 0>, filters = array<i64>}
// CHECK-SAME: -> tensor<1x4x4x1xi32>
func.func @constant(%x: tensor<1x4x4x1xi8>) -> tensor<1x4x4x1xi32> {
  %w = arith.constant dense<[[[[0]]], [[[3]]], [[[5]]]]> : tensor<3x1x1x1xi8>
  %b = arith.constant dense<[6, 0, 0]> : tensor<3xi32>
  %v = arith.constant dense<[[[[14, 3, 4]]]]> : tensor<1x1x1x3xi8>
  %c = arith.constant dense<10> : tensor<1xi32>
  %y = "filterlet.conv_2d"(%x, %w, %b) {
    strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64,
    input_zero_point = 0 : i32, clamp,
    rescale = {multiplier = array<i32: 1, 1, 1>, shift = array<i8: 2, 2, 2>, output_zero_point = 1 : i32,
               rounding = "single"}
  } : (tensor<1x4x4x1xi8>, tensor<3x1x1x1xi8>, tensor<3xi32>) -> tensor<1x4x4x3xi8>
  %z = "filterlet.conv_2d"(%y, %v, %c) {
    strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64,
    input_zero_point = 1 : i32, clamp, rescale
  } : (tensor<1x4x4x3xi8>, tensor<1x1x1x3xi8>, tensor<1xi32>) -> tensor<1x4x4x1xi32>
  return %z : tensor<1x4x4x1xi32>
}
