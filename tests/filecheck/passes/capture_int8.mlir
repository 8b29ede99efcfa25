// RUN: dtmm-opt %s --filterlet-capture --split-input-file | filecheck %s

// TFLite's addition: both sides with 20 bits more, their sum rescaled and clamped. One op computes all that.

// CHECK-LABEL: @add
// CHECK-NOT: tosa.rescale
// CHECK-NOT: tosa.add
// CHECK: %[[R:.*]] = "filterlet.add"(%arg0, %arg1) {affine = {multipliers = array<i32: 1942086, 5441530>, offset = -209253347 : i32, shift = 21 : i32}, clamp = [-128 : i32, 90 : i32]} : (tensor<1x2x2x3xi8>, tensor<1x2x2x3xi8>) -> tensor<1x2x2x3xi8>
// CHECK: return %[[R]]
func.func @add(%x: tensor<1x2x2x3xi8>, %y: tensor<1x2x2x3xi8>) -> tensor<1x2x2x3xi8> {
  %one = "tosa.const"() {values = dense<1073741824> : tensor<1xi32>} : () -> tensor<1xi32>
  %10 = "tosa.const"() {values = dense<10> : tensor<1xi8>} : () -> tensor<1xi8>
  %11 = "tosa.const"() {values = dense<11> : tensor<1xi8>} : () -> tensor<1xi8>
  %33 = "tosa.const"() {values = dense<33> : tensor<1xi8>} : () -> tensor<1xi8>
  %48 = "tosa.const"() {values = dense<48> : tensor<1xi8>} : () -> tensor<1xi8>
  %ml = "tosa.const"() {values = dense<1532876737> : tensor<1xi32>} : () -> tensor<1xi32>
  %mo = "tosa.const"() {values = dense<1393031777> : tensor<1xi32>} : () -> tensor<1xi32>
  %lz = "tosa.const"() {values = dense<-128> : tensor<1xi8>} : () -> tensor<1xi8>
  %rz = "tosa.const"() {values = dense<35> : tensor<1xi8>} : () -> tensor<1xi8>
  %z = "tosa.const"() {values = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %0 = "tosa.rescale"(%x, %one, %10, %lz, %z) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<DOUBLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2x2x3xi32>
  %1 = "tosa.rescale"(%0, %ml, %33, %z, %z) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<DOUBLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<1x2x2x3xi32>
  %2 = "tosa.rescale"(%y, %one, %11, %rz, %z) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<DOUBLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2x2x3xi32>
  %3 = "tosa.add"(%1, %2) : (tensor<1x2x2x3xi32>, tensor<1x2x2x3xi32>) -> tensor<1x2x2x3xi32>
  %4 = "tosa.rescale"(%3, %mo, %48, %z, %lz) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<DOUBLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2x2x3xi8>
  %5 = "tosa.clamp"(%4) {min_val = -128 : i8, max_val = 90 : i8} : (tensor<1x2x2x3xi8>) -> tensor<1x2x2x3xi8>
  return %5 : tensor<1x2x2x3xi8>
}

// -----

// CHECK-LABEL: @max_pool
// CHECK: "filterlet.max_pool_2d"(%arg0) {kernel = array<i64: 3, 3>, pads = array<i64: 1, 0, 1, 0>, strides = array<i64: 2, 2>} : (tensor<1x8x8x5xi8>) -> tensor<1x4x4x5xi8>
func.func @max_pool(%x: tensor<1x8x8x5xi8>) -> tensor<1x4x4x5xi8> {
  %0 = "tosa.max_pool2d"(%x) {kernel = array<i64: 3, 3>, pad = array<i64: 1, 0, 1, 0>, stride = array<i64: 2, 2>} : (tensor<1x8x8x5xi8>) -> tensor<1x4x4x5xi8>
  return %0 : tensor<1x4x4x5xi8>
}

// -----

// The zero points and the count of a window are in the affine form of its sum.

// CHECK-LABEL: @avg_pool
// CHECK: "filterlet.avg_pool_2d"(%arg0) {affine = {multipliers = array<i32: {{.*}}>, offset = {{.*}} : i32, shift = {{.*}} : i32}, kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<1x8x8x5xi8>) -> tensor<1x4x4x5xi8>
func.func @avg_pool(%x: tensor<1x8x8x5xi8>) -> tensor<1x4x4x5xi8> {
  %iz = "tosa.const"() {values = dense<-3> : tensor<1xi8>} : () -> tensor<1xi8>
  %oz = "tosa.const"() {values = dense<7> : tensor<1xi8>} : () -> tensor<1xi8>
  %0 = "tosa.avg_pool2d"(%x, %iz, %oz) {acc_type = i32, kernel = array<i64: 2, 2>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 2, 2>} : (tensor<1x8x8x5xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x4x4x5xi8>
  return %0 : tensor<1x4x4x5xi8>
}

// -----

// TFLite's mean over height and width.

// CHECK-LABEL: @mean
// CHECK-NOT: tosa.reduce_sum
// CHECK: "filterlet.avg_pool_2d"(%arg0) {affine = {multipliers = array<i32: {{.*}}>, offset = {{.*}} : i32, shift = {{.*}} : i32}, kernel = array<i64: 5, 4>, strides = array<i64: 1, 1>} : (tensor<1x5x4x3xi8>) -> tensor<1x1x1x3xi8>
func.func @mean(%x: tensor<1x5x4x3xi8>) -> tensor<1x1x1x3xi8> {
  %one = "tosa.const"() {values = dense<1073741824> : tensor<1xi32>} : () -> tensor<1xi32>
  %30 = "tosa.const"() {values = dense<30> : tensor<1xi8>} : () -> tensor<1xi8>
  %34 = "tosa.const"() {values = dense<34> : tensor<1xi8>} : () -> tensor<1xi8>
  %m = "tosa.const"() {values = dense<879700756> : tensor<1xi32>} : () -> tensor<1xi32>
  %xz = "tosa.const"() {values = dense<-128> : tensor<1xi8>} : () -> tensor<1xi8>
  %z = "tosa.const"() {values = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %0 = "tosa.rescale"(%x, %one, %30, %xz, %z) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<DOUBLE_ROUND>, scale32 = true} : (tensor<1x5x4x3xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x5x4x3xi32>
  %1 = "tosa.reduce_sum"(%0) {axis = 1 : i32} : (tensor<1x5x4x3xi32>) -> tensor<1x1x4x3xi32>
  %2 = "tosa.reduce_sum"(%1) {axis = 2 : i32} : (tensor<1x1x4x3xi32>) -> tensor<1x1x1x3xi32>
  %3 = "tosa.rescale"(%2, %m, %34, %z, %xz) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<DOUBLE_ROUND>, scale32 = true} : (tensor<1x1x1x3xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x3xi8>
  return %3 : tensor<1x1x1x3xi8>
}

// -----

// PyTorch's: the zero point is subtracted from the sum.

// CHECK-LABEL: @mean_of_raw
// CHECK-NOT: tosa.reduce_sum
// CHECK: "filterlet.avg_pool_2d"(%arg0) {affine = {{.*}}, kernel = array<i64: 2, 3>, strides = array<i64: 1, 1>}
func.func @mean_of_raw(%x: tensor<1x2x3x3xi8>) -> tensor<1x1x1x3xi8> {
  %m = "tosa.const"() {values = dense<1431655765> : tensor<1xi32>} : () -> tensor<1xi32>
  %33 = "tosa.const"() {values = dense<33> : tensor<1xi8>} : () -> tensor<1xi8>
  %offset = "tosa.const"() {values = dense<-42> : tensor<1x1x1x1xi32>} : () -> tensor<1x1x1x1xi32>
  %z = "tosa.const"() {values = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %oz = "tosa.const"() {values = dense<5> : tensor<1xi8>} : () -> tensor<1xi8>
  %0 = "tosa.cast"(%x) : (tensor<1x2x3x3xi8>) -> tensor<1x2x3x3xi32>
  %1 = "tosa.reduce_sum"(%0) {axis = 1 : i32} : (tensor<1x2x3x3xi32>) -> tensor<1x1x3x3xi32>
  %2 = "tosa.reduce_sum"(%1) {axis = 2 : i32} : (tensor<1x1x3x3xi32>) -> tensor<1x1x1x3xi32>
  %3 = "tosa.sub"(%2, %offset) : (tensor<1x1x1x3xi32>, tensor<1x1x1x1xi32>) -> tensor<1x1x1x3xi32>
  %4 = "tosa.rescale"(%3, %m, %33, %z, %oz) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x1x1x3xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x3xi8>
  return %4 : tensor<1x1x1x3xi8>
}
