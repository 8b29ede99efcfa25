// RUN: dtmm-opt %s --filterlet-merge-tables --split-input-file | filecheck %s

// %x8 is rescaled by one; all of a table that is 3 everywhere is 3 << 7. ((3 << 7) << 9) - (2 << 7) = 196352.

// CHECK-LABEL: @softmax
// CHECK-NOT: tosa.table
// CHECK: %[[LARGEST:.*]] = tosa.reduce_max %[[X:.*]] axis(1) : (tensor<2x10xi32>) -> tensor<2x1xi32>
// CHECK: %[[BELOW:.*]] = tosa.sub %[[LARGEST]], %[[X]]
// CHECK: %[[TABLE:.*]] = arith.constant dense<196352> : tensor<1x256x1xi32>
// CHECK: %[[FLAT:.*]] = tosa.reshape %[[BELOW]]
// CHECK: %[[RESULTS:.*]] = tosa.gather %[[TABLE]], %[[FLAT]] : (tensor<1x256x1xi32>, tensor<1x20xi32>) -> tensor<1x20x1xi32>
// CHECK: %[[SUMS:.*]] = tosa.reshape %[[RESULTS]]
// CHECK-NOT: tosa.table
// CHECK: tosa.reduce_sum %[[SUMS]]
func.func @softmax(%x8: tensor<2x10xi8>) -> tensor<2x1xi32> {
  %one = "tosa.const"() {values = dense<1073741824> : tensor<1xi32>} : () -> tensor<1xi32>
  %30 = "tosa.const"() {values = dense<30> : tensor<1xi8>} : () -> tensor<1xi8>
  %23 = "tosa.const"() {values = dense<23> : tensor<1xi8>} : () -> tensor<1xi8>
  %z8 = "tosa.const"() {values = dense<5> : tensor<1xi8>} : () -> tensor<1xi8>
  %z16 = "tosa.const"() {values = dense<0> : tensor<1xi16>} : () -> tensor<1xi16>
  %z = "tosa.const"() {values = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %9 = "tosa.const"() {values = dense<9> : tensor<1x1xi32>} : () -> tensor<1x1xi32>
  %a = "tosa.const"() {values = dense<3> : tensor<513xi16>} : () -> tensor<513xi16>
  %b = "tosa.const"() {values = dense<-2> : tensor<513xi16>} : () -> tensor<513xi16>
  %x = "tosa.rescale"(%x8, %one, %30, %z8, %z) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<2x10xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<2x10xi32>
  %largest = "tosa.reduce_max"(%x) {axis = 1 : i32} : (tensor<2x10xi32>) -> tensor<2x1xi32>
  %below = "tosa.sub"(%x, %largest) : (tensor<2x10xi32>, tensor<2x1xi32>) -> tensor<2x10xi32>
  %place = "tosa.rescale"(%below, %one, %23, %z, %z16) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<2x10xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi16>) -> tensor<2x10xi16>
  %0 = "tosa.table"(%place, %a) : (tensor<2x10xi16>, tensor<513xi16>) -> tensor<2x10xi32>
  %1 = "tosa.table"(%place, %b) : (tensor<2x10xi16>, tensor<513xi16>) -> tensor<2x10xi32>
  %2 = "tosa.logical_left_shift"(%0, %9) : (tensor<2x10xi32>, tensor<1x1xi32>) -> tensor<2x10xi32>
  %3 = "tosa.add"(%2, %1) : (tensor<2x10xi32>, tensor<2x10xi32>) -> tensor<2x10xi32>
  %4 = "tosa.reduce_sum"(%3) {axis = 1 : i32} : (tensor<2x10xi32>) -> tensor<2x1xi32>
  return %4 : tensor<2x1xi32>
}

// -----

// A table that something else uses as well stays, and with it both.

// CHECK-LABEL: @used_otherwise
// CHECK-COUNT-2: tosa.table
// CHECK-NOT: tosa.gather
func.func @used_otherwise(%x8: tensor<1x10xi8>) -> (tensor<1x10xi32>, tensor<1x1xi32>, tensor<1x10xi16>) {
  %one = "tosa.const"() {values = dense<1073741824> : tensor<1xi32>} : () -> tensor<1xi32>
  %30 = "tosa.const"() {values = dense<30> : tensor<1xi8>} : () -> tensor<1xi8>
  %23 = "tosa.const"() {values = dense<23> : tensor<1xi8>} : () -> tensor<1xi8>
  %z8 = "tosa.const"() {values = dense<0> : tensor<1xi8>} : () -> tensor<1xi8>
  %z16 = "tosa.const"() {values = dense<0> : tensor<1xi16>} : () -> tensor<1xi16>
  %z = "tosa.const"() {values = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %a = "tosa.const"() {values = dense<3> : tensor<513xi16>} : () -> tensor<513xi16>
  %b = "tosa.const"() {values = dense<-2> : tensor<513xi16>} : () -> tensor<513xi16>
  %x = "tosa.rescale"(%x8, %one, %30, %z8, %z) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x10xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x10xi32>
  %largest = "tosa.reduce_max"(%x) {axis = 1 : i32} : (tensor<1x10xi32>) -> tensor<1x1xi32>
  %below = "tosa.sub"(%x, %largest) : (tensor<1x10xi32>, tensor<1x1xi32>) -> tensor<1x10xi32>
  %place = "tosa.rescale"(%below, %one, %23, %z, %z16) {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, scale32 = true} : (tensor<1x10xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi16>) -> tensor<1x10xi16>
  %0 = "tosa.table"(%place, %a) : (tensor<1x10xi16>, tensor<513xi16>) -> tensor<1x10xi32>
  %1 = "tosa.table"(%place, %b) : (tensor<1x10xi16>, tensor<513xi16>) -> tensor<1x10xi32>
  %2 = "tosa.add"(%0, %1) : (tensor<1x10xi32>, tensor<1x10xi32>) -> tensor<1x10xi32>
  %3 = "tosa.reduce_sum"(%2) {axis = 1 : i32} : (tensor<1x10xi32>) -> tensor<1x1xi32>
  return %0, %3, %place : tensor<1x10xi32>, tensor<1x1xi32>, tensor<1x10xi16>
}
