// RUN: dtmm-opt %s --pass-pipeline='builtin.module(filterlet-lower{target=cortex-m55},canonicalize)' | filecheck %s

// One 2x2 filter with one filterlet left. The input is padded, so there is a row buffer: the dispatch's second result.
// There are no offsets; two that differ stand for them, as IREE would write equal ones to memory at each inference.

// CHECK: stream.executable private @filterlet_0
// CHECK: stream.executable.export public @filterlet_0_table_2x2_16x1 workgroups()
// CHECK: func.func @filterlet_0_table_2x2_16x1
// CHECK-SAME: translation_info = #{{.*}}
// CHECK: stream.binding.subspan %arg0{{.*}} : !stream.binding -> memref<144xi8>
// CHECK: scf.for
// CHECK: llvm.inline_asm has_side_effects{{.*}} "vldrw.u32 q0, [r9], #16\0Avldrw.u32 q1, [r11], #16
// CHECK-SAME: vmlav.s8 r0, q0, q1
// CHECK: llvm.call_intrinsic "llvm.arm.mve.vqrdmulh.v4i32"
// CHECK: llvm.call_intrinsic "llvm.arm.mve.vshl.scalar.v4i32"
// CHECK-LABEL: func.func @main
// CHECK: %[[R:.*]]:2 = flow.dispatch @filterlet_0::@filterlet_0_table_2x2_16x1(%arg0, %{{.*}}, %{{.*}}, %{{.*}}) : (tensor<1x3x3x16xi8>, tensor<32xi8>, tensor<2xi16>, tensor<4xi32>) -> (tensor<1x3x3x1xi8>, tensor<{{.*}}xi8>)
// CHECK: return %[[R]]#0
func.func @main(%x: tensor<1x3x3x16xi8>) -> tensor<1x3x3x1xi8> {
  %values = arith.constant dense<1> : tensor<1x16xi8>
  %positions = arith.constant dense<3> : tensor<1xi16>
  %counts = arith.constant dense<1> : tensor<1xi16>
  %bias = arith.constant dense<5> : tensor<1xi32>
  %0 = "filterlet.packed_conv_2d"(%x, %values, %positions, %counts, %bias) {plan = {filters = 1 : i64, kernel = "table", pixels = 3 : i64, rows = 3 : i64, run_width = 1 : i64}, kernel = array<i64: 2, 2>, kept = 1 : i64, total = 4 : i64, clamp, dilations = array<i64: 1, 1>, groups = 1 : i64, input_zero_point = 0 : i32, pads = array<i64: 0, 1, 0, 1>, rescale = {multiplier = array<i32: 1073741824>, shift = array<i8: 38>, output_zero_point = 0 : i32, rounding = "double"}, strides = array<i64: 1, 1>} : (tensor<1x3x3x16xi8>, tensor<1x16xi8>, tensor<1xi16>, tensor<1xi16>, tensor<1xi32>) -> tensor<1x3x3x1xi8>
  return %0 : tensor<1x3x3x1xi8>
}
