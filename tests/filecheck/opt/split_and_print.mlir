// RUN: dtmm-opt %s --split-input-file --canonicalize | filecheck %s
// RUN: dtmm-opt %s --split-input-file --canonicalize --mlir-print-ir-before-all --mlir-print-ir-after-all -o %t.mlir 2>&1 | filecheck %s --check-prefix=DUMP
// RUN: dtmm-opt %s --split-input-file --mlir-elide-elementsattrs-if-larger=4 | filecheck %s --check-prefix=ELIDE
// RUN: dtmm-opt %s --split-input-file --mlir-print-debuginfo | filecheck %s --check-prefix=LOCATIONS

// DUMP: IR Dump Before canonicalize
// DUMP: func.func @first
// DUMP: IR Dump After canonicalize
// DUMP: IR Dump Before canonicalize
// DUMP: func.func @second

// CHECK: func.func @first
// ELIDE: func.func @first
// ELIDE: dense_resource<__elided__>
// LOCATIONS: func.func @first
// LOCATIONS: loc(#loc2)
func.func @first() -> tensor<8xi32> {
  %0 = arith.constant dense<[1, 2, 3, 4, 5, 6, 7, 8]> : tensor<8xi32>
  return %0 : tensor<8xi32>
}

// CHECK: // -----

// -----

// CHECK: func.func @second
func.func @second() {
  return
}
