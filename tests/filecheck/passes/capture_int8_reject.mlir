// RUN: dtmm-opt %s --filterlet-capture --split-input-file | filecheck %s

// What stays with IREE, untouched.

// An operand is broadcast.

// CHECK-LABEL: @broadcast
// CHECK-NOT: filterlet
// CHECK: return
func.func @broadcast(%x: tensor<1x2x2x3xi8>, %y: tensor<1x1x1x3xi8>) -> tensor<1x2x2x3xi8> {
  %m = "tosa.const"() {values = dense<1073741824> : tensor<1xi32>} : () -> tensor<1xi32>
  %s = "tosa.const"() {values = dense<20> : tensor<1xi8>} : () -> tensor<1xi8>
  %xz = "tosa.const"() {values = dense<3> : tensor<1xi8>} : () -> tensor<1xi8>
  %z = "tosa.const"() {values = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %oz = "tosa.const"() {values = dense<0> : tensor<1xi8>} : () -> tensor<1xi8>
  %k = "tosa.const"() {values = dense<1073741824> : tensor<1xi32>} : () -> tensor<1xi32>
  %t = "tosa.const"() {values = dense<41> : tensor<1xi8>} : () -> tensor<1xi8>
  %0 = "tosa.rescale"(%x, %m, %s, %xz, %z) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2x2x3xi32>
  %1 = "tosa.rescale"(%y, %m, %s, %xz, %z) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x1x1x3xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x1x1x3xi32>
  %2 = "tosa.add"(%0, %1) : (tensor<1x2x2x3xi32>, tensor<1x1x1x3xi32>) -> tensor<1x2x2x3xi32>
  %3 = "tosa.rescale"(%2, %k, %t, %z, %oz) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2x2x3xi8>
  return %3 : tensor<1x2x2x3xi8>
}

// -----

// The result is not int8.

// CHECK-LABEL: @to_i16
// CHECK-NOT: filterlet
// CHECK: return
func.func @to_i16(%x: tensor<1x2x2x3xi8>, %y: tensor<1x2x2x3xi8>) -> tensor<1x2x2x3xi16> {
  %m = "tosa.const"() {values = dense<1073741824> : tensor<1xi32>} : () -> tensor<1xi32>
  %s = "tosa.const"() {values = dense<20> : tensor<1xi8>} : () -> tensor<1xi8>
  %xz = "tosa.const"() {values = dense<3> : tensor<1xi8>} : () -> tensor<1xi8>
  %z = "tosa.const"() {values = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %oz = "tosa.const"() {values = dense<0> : tensor<1xi16>} : () -> tensor<1xi16>
  %k = "tosa.const"() {values = dense<1073741824> : tensor<1xi32>} : () -> tensor<1xi32>
  %t = "tosa.const"() {values = dense<41> : tensor<1xi8>} : () -> tensor<1xi8>
  %0 = "tosa.rescale"(%x, %m, %s, %xz, %z) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2x2x3xi32>
  %1 = "tosa.rescale"(%y, %m, %s, %xz, %z) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2x2x3xi32>
  %2 = "tosa.add"(%0, %1) : (tensor<1x2x2x3xi32>, tensor<1x2x2x3xi32>) -> tensor<1x2x2x3xi32>
  %3 = "tosa.rescale"(%2, %k, %t, %z, %oz) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi16>) -> tensor<1x2x2x3xi16>
  return %3 : tensor<1x2x2x3xi16>
}

// -----

// The sides are scaled in 16 bits.

// CHECK-LABEL: @scale16
// CHECK-NOT: filterlet
// CHECK: return
func.func @scale16(%x: tensor<1x2x2x3xi8>, %y: tensor<1x2x2x3xi8>) -> tensor<1x2x2x3xi8> {
  %m = "tosa.const"() {values = dense<16384> : tensor<1xi16>} : () -> tensor<1xi16>
  %s = "tosa.const"() {values = dense<12> : tensor<1xi8>} : () -> tensor<1xi8>
  %xz = "tosa.const"() {values = dense<3> : tensor<1xi8>} : () -> tensor<1xi8>
  %z = "tosa.const"() {values = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %oz = "tosa.const"() {values = dense<0> : tensor<1xi8>} : () -> tensor<1xi8>
  %k = "tosa.const"() {values = dense<1073741824> : tensor<1xi32>} : () -> tensor<1xi32>
  %t = "tosa.const"() {values = dense<41> : tensor<1xi8>} : () -> tensor<1xi8>
  %0 = "tosa.rescale"(%x, %m, %s, %xz, %z) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = false} : (tensor<1x2x2x3xi8>, tensor<1xi16>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2x2x3xi32>
  %1 = "tosa.rescale"(%y, %m, %s, %xz, %z) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = false} : (tensor<1x2x2x3xi8>, tensor<1xi16>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2x2x3xi32>
  %2 = "tosa.add"(%0, %1) : (tensor<1x2x2x3xi32>, tensor<1x2x2x3xi32>) -> tensor<1x2x2x3xi32>
  %3 = "tosa.rescale"(%2, %k, %t, %z, %oz) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2x2x3xi8>
  return %3 : tensor<1x2x2x3xi8>
}

// -----

// The sides are unsigned.

// CHECK-LABEL: @unsigned
// CHECK-NOT: filterlet
// CHECK: return
func.func @unsigned(%x: tensor<1x2x2x3xi8>, %y: tensor<1x2x2x3xi8>) -> tensor<1x2x2x3xi8> {
  %m = "tosa.const"() {values = dense<1073741824> : tensor<1xi32>} : () -> tensor<1xi32>
  %s = "tosa.const"() {values = dense<20> : tensor<1xi8>} : () -> tensor<1xi8>
  %xz = "tosa.const"() {values = dense<3> : tensor<1xi8>} : () -> tensor<1xi8>
  %z = "tosa.const"() {values = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %oz = "tosa.const"() {values = dense<0> : tensor<1xi8>} : () -> tensor<1xi8>
  %k = "tosa.const"() {values = dense<1073741824> : tensor<1xi32>} : () -> tensor<1xi32>
  %t = "tosa.const"() {values = dense<41> : tensor<1xi8>} : () -> tensor<1xi8>
  %0 = "tosa.rescale"(%x, %m, %s, %xz, %z) {input_unsigned = true, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2x2x3xi32>
  %1 = "tosa.rescale"(%y, %m, %s, %xz, %z) {input_unsigned = true, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2x2x3xi32>
  %2 = "tosa.add"(%0, %1) : (tensor<1x2x2x3xi32>, tensor<1x2x2x3xi32>) -> tensor<1x2x2x3xi32>
  %3 = "tosa.rescale"(%2, %k, %t, %z, %oz) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2x2x3xi8>
  return %3 : tensor<1x2x2x3xi8>
}

// -----

// The sums are used elsewhere as well.

// CHECK-LABEL: @sums_used
// CHECK-NOT: filterlet
// CHECK: return
func.func @sums_used(%x: tensor<1x2x2x3xi8>, %y: tensor<1x2x2x3xi8>) -> (tensor<1x2x2x3xi8>, tensor<1x2x2x3xi32>) {
  %m = "tosa.const"() {values = dense<1073741824> : tensor<1xi32>} : () -> tensor<1xi32>
  %s = "tosa.const"() {values = dense<20> : tensor<1xi8>} : () -> tensor<1xi8>
  %xz = "tosa.const"() {values = dense<3> : tensor<1xi8>} : () -> tensor<1xi8>
  %z = "tosa.const"() {values = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %oz = "tosa.const"() {values = dense<0> : tensor<1xi8>} : () -> tensor<1xi8>
  %k = "tosa.const"() {values = dense<1073741824> : tensor<1xi32>} : () -> tensor<1xi32>
  %t = "tosa.const"() {values = dense<41> : tensor<1xi8>} : () -> tensor<1xi8>
  %0 = "tosa.rescale"(%x, %m, %s, %xz, %z) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2x2x3xi32>
  %1 = "tosa.rescale"(%y, %m, %s, %xz, %z) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2x2x3xi32>
  %2 = "tosa.add"(%0, %1) : (tensor<1x2x2x3xi32>, tensor<1x2x2x3xi32>) -> tensor<1x2x2x3xi32>
  %3 = "tosa.rescale"(%2, %k, %t, %z, %oz) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2x2x3xi8>
  return %3, %2 : tensor<1x2x2x3xi8>, tensor<1x2x2x3xi32>
}

// -----

// Nothing depends on an argument: IREE computes it at compile time.

// CHECK-LABEL: @constant
// CHECK-NOT: filterlet
// CHECK: return
func.func @constant() -> tensor<1x2x2x3xi8> {
  %x = "tosa.const"() {values = dense<3> : tensor<1x2x2x3xi8>} : () -> tensor<1x2x2x3xi8>
  %y = "tosa.const"() {values = dense<4> : tensor<1x2x2x3xi8>} : () -> tensor<1x2x2x3xi8>
  %m = "tosa.const"() {values = dense<1073741824> : tensor<1xi32>} : () -> tensor<1xi32>
  %s = "tosa.const"() {values = dense<20> : tensor<1xi8>} : () -> tensor<1xi8>
  %xz = "tosa.const"() {values = dense<3> : tensor<1xi8>} : () -> tensor<1xi8>
  %z = "tosa.const"() {values = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %oz = "tosa.const"() {values = dense<0> : tensor<1xi8>} : () -> tensor<1xi8>
  %k = "tosa.const"() {values = dense<1073741824> : tensor<1xi32>} : () -> tensor<1xi32>
  %t = "tosa.const"() {values = dense<41> : tensor<1xi8>} : () -> tensor<1xi8>
  %0 = "tosa.rescale"(%x, %m, %s, %xz, %z) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2x2x3xi32>
  %1 = "tosa.rescale"(%y, %m, %s, %xz, %z) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2x2x3xi32>
  %2 = "tosa.add"(%0, %1) : (tensor<1x2x2x3xi32>, tensor<1x2x2x3xi32>) -> tensor<1x2x2x3xi32>
  %3 = "tosa.rescale"(%2, %k, %t, %z, %oz) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x2x2x3xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2x2x3xi8>
  return %3 : tensor<1x2x2x3xi8>
}

// -----

// Sums of something else than int8 tensors.

// CHECK-LABEL: @i32_sums
// CHECK-NOT: filterlet
// CHECK: return
func.func @i32_sums(%x: tensor<1x2x2x3xi32>, %y: tensor<1x2x2x3xi32>) -> tensor<1x2x2x3xi32> {
  %0 = "tosa.add"(%x, %y) : (tensor<1x2x2x3xi32>, tensor<1x2x2x3xi32>) -> tensor<1x2x2x3xi32>
  return %0 : tensor<1x2x2x3xi32>
}

// -----

// Windows with padding are of several sizes.

// CHECK-LABEL: @padded_average
// CHECK-NOT: filterlet
// CHECK: return
func.func @padded_average(%x: tensor<1x8x8x5xi8>) -> tensor<1x8x8x5xi8> {
  %z = "tosa.const"() {values = dense<0> : tensor<1xi8>} : () -> tensor<1xi8>
  %0 = "tosa.avg_pool2d"(%x, %z, %z) {acc_type = i32, kernel = array<i64: 3, 3>, pad = array<i64: 1, 1, 1, 1>, stride = array<i64: 1, 1>} : (tensor<1x8x8x5xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x8x8x5xi8>
  return %0 : tensor<1x8x8x5xi8>
}

// -----

// Pools of floats.

// CHECK-LABEL: @float_pools
// CHECK-NOT: filterlet
// CHECK: return
func.func @float_pools(%x: tensor<1x8x8x5xf32>) -> tensor<1x2x2x5xf32> {
  %z = "tosa.const"() {values = dense<0.0> : tensor<1xf32>} : () -> tensor<1xf32>
  %0 = "tosa.max_pool2d"(%x) {kernel = array<i64: 2, 2>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 2, 2>} : (tensor<1x8x8x5xf32>) -> tensor<1x4x4x5xf32>
  %1 = "tosa.avg_pool2d"(%0, %z, %z) {acc_type = f32, kernel = array<i64: 2, 2>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 2, 2>} : (tensor<1x4x4x5xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<1x2x2x5xf32>
  return %1 : tensor<1x2x2x5xf32>
}

// -----

// A sum along the channels.

// CHECK-LABEL: @mean_of_channels
// CHECK-NOT: filterlet
// CHECK: return
func.func @mean_of_channels(%x: tensor<1x2x3x3xi8>) -> tensor<1x1x3x1xi8> {
  %m = "tosa.const"() {values = dense<1431655765> : tensor<1xi32>} : () -> tensor<1xi32>
  %33 = "tosa.const"() {values = dense<33> : tensor<1xi8>} : () -> tensor<1xi8>
  %z = "tosa.const"() {values = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %oz = "tosa.const"() {values = dense<5> : tensor<1xi8>} : () -> tensor<1xi8>
  %0 = "tosa.cast"(%x) : (tensor<1x2x3x3xi8>) -> tensor<1x2x3x3xi32>
  %1 = "tosa.reduce_sum"(%0) {axis = 1 : i32} : (tensor<1x2x3x3xi32>) -> tensor<1x1x3x3xi32>
  %2 = "tosa.reduce_sum"(%1) {axis = 3 : i32} : (tensor<1x1x3x3xi32>) -> tensor<1x1x3x1xi32>
  %3 = "tosa.rescale"(%2, %m, %33, %z, %oz) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x1x3x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x3x1xi8>
  return %3 : tensor<1x1x3x1xi8>
}

// -----

// One of the two sums is used elsewhere as well.

// CHECK-LABEL: @sums_of_rows
// CHECK-NOT: filterlet
// CHECK: return
func.func @sums_of_rows(%x: tensor<1x2x3x3xi8>) -> (tensor<1x1x1x3xi8>, tensor<1x1x3x3xi32>) {
  %m = "tosa.const"() {values = dense<1431655765> : tensor<1xi32>} : () -> tensor<1xi32>
  %33 = "tosa.const"() {values = dense<33> : tensor<1xi8>} : () -> tensor<1xi8>
  %z = "tosa.const"() {values = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %oz = "tosa.const"() {values = dense<5> : tensor<1xi8>} : () -> tensor<1xi8>
  %0 = "tosa.cast"(%x) : (tensor<1x2x3x3xi8>) -> tensor<1x2x3x3xi32>
  %1 = "tosa.reduce_sum"(%0) {axis = 1 : i32} : (tensor<1x2x3x3xi32>) -> tensor<1x1x3x3xi32>
  %2 = "tosa.reduce_sum"(%1) {axis = 2 : i32} : (tensor<1x1x3x3xi32>) -> tensor<1x1x1x3xi32>
  %3 = "tosa.rescale"(%2, %m, %33, %z, %oz) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x1x1x3xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x3xi8>
  return %3, %1 : tensor<1x1x1x3xi8>, tensor<1x1x3x3xi32>
}
