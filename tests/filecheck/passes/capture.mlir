// RUN: dtmm-opt %s --filterlet-capture --split-input-file | filecheck %s

// A quantized TOSA convolution with its rescale and clamp becomes one op.

// CHECK-LABEL: @quantized
// CHECK: %[[W:.*]] = arith.constant dense<{{.*}}> : tensor<2x1x1x4xi8>
// CHECK: %[[R:.*]] = "filterlet.conv_2d"(%arg0, %[[W]], %{{.*}}) {clamp = [-100 : i32, 90 : i32]
// CHECK-SAME: groups = 1 : i64, input_zero_point = -3 : i32, pads = array<i64: 0, 0, 0, 0>
// CHECK-SAME: multiplier = array<i32: 1073741824, 1073741824>, output_zero_point = 5 : i32
// CHECK-SAME: rounding = "double", shift = array<i8: 38, 39>
// CHECK-NOT: tosa.conv2d
// CHECK-NOT: tosa.rescale
// CHECK: return %[[R]] : tensor<1x3x3x2xi8>
func.func @quantized(%x: tensor<1x3x3x4xi8>) -> tensor<1x3x3x2xi8> {
  %w = "tosa.const"() {values = dense<[[[[1, 2, 3, 4]]], [[[0, 0, 0, 0]]]]> : tensor<2x1x1x4xi8>} : () -> tensor<2x1x1x4xi8>
  %b = "tosa.const"() {values = dense<[7, 8]> : tensor<2xi32>} : () -> tensor<2xi32>
  %xz = "tosa.const"() {values = dense<-3> : tensor<1xi8>} : () -> tensor<1xi8>
  %wz = "tosa.const"() {values = dense<0> : tensor<1xi8>} : () -> tensor<1xi8>
  %0 = "tosa.conv2d"(%x, %w, %b, %xz, %wz) {acc_type = i32, dilation = array<i64: 1, 1>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x3x3x4xi8>, tensor<2x1x1x4xi8>, tensor<2xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x3x3x2xi32>
  %m = "tosa.const"() {values = dense<1073741824> : tensor<2xi32>} : () -> tensor<2xi32>
  %s = "tosa.const"() {values = dense<[38, 39]> : tensor<2xi8>} : () -> tensor<2xi8>
  %iz = "tosa.const"() {values = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %oz = "tosa.const"() {values = dense<5> : tensor<1xi8>} : () -> tensor<1xi8>
  %1 = "tosa.rescale"(%0, %m, %s, %iz, %oz) {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = #tosa.rounding_mode<DOUBLE_ROUND>, scale32 = true} : (tensor<1x3x3x2xi32>, tensor<2xi32>, tensor<2xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x3x3x2xi8>
  %2 = "tosa.clamp"(%1) {min_val = -100 : i8, max_val = 90 : i8} : (tensor<1x3x3x2xi8>) -> tensor<1x3x3x2xi8>
  return %2 : tensor<1x3x3x2xi8>
}

// -----

// The slice that TOSA's exact division asks for is not needed: a filterlet convolution reads what it needs.

// CHECK-LABEL: @trimmed
// CHECK-NOT: tosa.slice
// CHECK: "filterlet.conv_2d"(%arg0, {{.*}}strides = array<i64: 2, 2>{{.*}} : (tensor<1x4x4x1xf32>, tensor<1x1x1x1xf32>, tensor<1xf32>) -> tensor<1x2x2x1xf32>
func.func @trimmed(%x: tensor<1x4x4x1xf32>) -> tensor<1x2x2x1xf32> {
  %start = "tosa.const_shape"() {values = dense<0> : tensor<4xindex>} : () -> !tosa.shape<4>
  %size = "tosa.const_shape"() {values = dense<[1, 3, 3, 1]> : tensor<4xindex>} : () -> !tosa.shape<4>
  %0 = "tosa.slice"(%x, %start, %size) : (tensor<1x4x4x1xf32>, !tosa.shape<4>, !tosa.shape<4>) -> tensor<1x3x3x1xf32>
  %w = "tosa.const"() {values = dense<2.0> : tensor<1x1x1x1xf32>} : () -> tensor<1x1x1x1xf32>
  %b = "tosa.const"() {values = dense<0.0> : tensor<1xf32>} : () -> tensor<1xf32>
  %z = "tosa.const"() {values = dense<0.0> : tensor<1xf32>} : () -> tensor<1xf32>
  %1 = "tosa.conv2d"(%0, %w, %b, %z, %z) {acc_type = f32, dilation = array<i64: 1, 1>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 2, 2>} : (tensor<1x3x3x1xf32>, tensor<1x1x1x1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<1x2x2x1xf32>
  return %1 : tensor<1x2x2x1xf32>
}

// -----

// linalg: the padding before and the constant start of the sums go into the op; HWCF becomes OHWI.

// CHECK-LABEL: @linalg
// CHECK-NOT: tensor.pad
// CHECK: "filterlet.conv_2d"(%arg0, {{.*}}clamp, {{.*}}pads = array<i64: 1, 1, 1, 1>, rescale, {{.*}} : (tensor<1x4x4x2xf32>, tensor<3x3x3x2xf32>, tensor<3xf32>) -> tensor<1x4x4x3xf32>
// CHECK-NOT: linalg.conv
func.func @linalg(%x: tensor<1x4x4x2xf32>) -> tensor<1x4x4x3xf32> {
  %zero = arith.constant 0.0 : f32
  %p = tensor.pad %x low[0, 1, 1, 0] high[0, 1, 1, 0] {
  ^bb0(%a: index, %b: index, %c: index, %d: index):
    tensor.yield %zero : f32
  } : tensor<1x4x4x2xf32> to tensor<1x6x6x2xf32>
  %w = arith.constant dense<1.0> : tensor<3x3x2x3xf32>
  %e = tensor.empty() : tensor<1x4x4x3xf32>
  %i = linalg.fill ins(%zero : f32) outs(%e : tensor<1x4x4x3xf32>) -> tensor<1x4x4x3xf32>
  %r = linalg.conv_2d_nhwc_hwcf ins(%p, %w : tensor<1x6x6x2xf32>, tensor<3x3x2x3xf32>) outs(%i : tensor<1x4x4x3xf32>) -> tensor<1x4x4x3xf32>
  return %r : tensor<1x4x4x3xf32>
}

// -----

// Sums that start from something else than a bias: it is added afterwards. NCHW is transposed around the op.

// CHECK-LABEL: @accumulated
// CHECK: %[[X:.*]] = linalg.transpose ins(%arg0
// CHECK: %[[R:.*]] = "filterlet.conv_2d"(%[[X]],
// CHECK: %[[T:.*]] = linalg.transpose ins(%[[R]]
// CHECK: arith.addi %[[T]], %arg1 : tensor<1x3x4x4xi32>
func.func @accumulated(%x: tensor<1x2x4x4xi8>, %i: tensor<1x3x4x4xi32>) -> tensor<1x3x4x4xi32> {
  %w = arith.constant dense<1> : tensor<3x2x1x1xi8>
  %r = linalg.conv_2d_nchw_fchw ins(%x, %w : tensor<1x2x4x4xi8>, tensor<3x2x1x1xi8>) outs(%i : tensor<1x3x4x4xi32>) -> tensor<1x3x4x4xi32>
  return %r : tensor<1x3x4x4xi32>
}

// -----

// Weights that are computed at run time stay with IREE.

// CHECK-LABEL: @dynamic_weights
// CHECK: linalg.conv_2d_nhwc_hwcf
// CHECK-NOT: filterlet
func.func @dynamic_weights(%x: tensor<1x4x4x2xf32>, %w: tensor<1x1x2x3xf32>, %i: tensor<1x4x4x3xf32>) -> tensor<1x4x4x3xf32> {
  %r = linalg.conv_2d_nhwc_hwcf ins(%x, %w : tensor<1x4x4x2xf32>, tensor<1x1x2x3xf32>) outs(%i : tensor<1x4x4x3xf32>) -> tensor<1x4x4x3xf32>
  return %r : tensor<1x4x4x3xf32>
}
