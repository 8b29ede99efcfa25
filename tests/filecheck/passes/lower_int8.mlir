// RUN: dtmm-opt %s --pass-pipeline='builtin.module(filterlet-lower{target=cortex-m55},canonicalize)' | filecheck %s

// Additions and pools have no memory of their own and no constants: a dispatch of the op's operands each.

// CHECK: stream.executable private @int8_2
// CHECK: func.func @int8_2_avg_pool_2d_2x2_8
// CHECK: arith.addi {{.*}} : vector<8xi16>
// CHECK: llvm.call_intrinsic "llvm.arm.mve.vshrn.v8i16.v4i32"
// CHECK: stream.executable private @int8_1
// CHECK: func.func @int8_1_max_pool_2d_2x2_16
// CHECK: arith.maxsi {{.*}} : vector<16xi8>
// CHECK: stream.executable private @int8_0
// CHECK: func.func @int8_0_add_256
// CHECK: scf.for
// CHECK: arith.muli {{.*}} : vector<4xi32>
// CHECK: llvm.call_intrinsic "llvm.arm.mve.vshrn.v16i8.v8i16"
// CHECK-LABEL: func.func @main
// CHECK: %[[A:.*]] = flow.dispatch @int8_0::@int8_0_add_256(%arg0, %arg1)
// CHECK: %[[B:.*]] = flow.dispatch @int8_1::@int8_1_max_pool_2d_2x2_16(%[[A]])
// CHECK: flow.dispatch @int8_2::@int8_2_avg_pool_2d_2x2_8(%arg2)
func.func @main(%x: tensor<1x4x4x16xi8>, %y: tensor<1x4x4x16xi8>, %z: tensor<1x4x4x8xi8>) -> (tensor<1x2x2x16xi8>, tensor<1x2x2x8xi8>) {
  %0 = "filterlet.add"(%x, %y) {affine = {multipliers = array<i32: 5, 3>, offset = -9 : i32, shift = 5 : i32}, clamp} : (tensor<1x4x4x16xi8>, tensor<1x4x4x16xi8>) -> tensor<1x4x4x16xi8>
  %1 = "filterlet.max_pool_2d"(%0) {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>} : (tensor<1x4x4x16xi8>) -> tensor<1x2x2x16xi8>
  %2 = "filterlet.avg_pool_2d"(%z) {affine = {multipliers = array<i32: 1>, offset = 2 : i32, shift = 2 : i32}, kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<1x4x4x8xi8>) -> tensor<1x2x2x8xi8>
  return %1, %2 : tensor<1x2x2x16xi8>, tensor<1x2x2x8xi8>
}
