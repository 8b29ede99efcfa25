// RUN: dtmm-opt %s --pass-pipeline='builtin.module(canonicalize,func.func(cse))' | filecheck %s
// RUN: dtmm-opt %s --canonicalize --cse | filecheck %s
// RUN: dtmm-opt -canonicalize -cse < %s | filecheck %s
// RUN: dtmm-opt -pass-pipeline='builtin.module(canonicalize,cse)' %s -o%t.mlir && filecheck %s < %t.mlir
// RUN: dtmm-opt %s --canonicalize --emit-bytecode -o %t.mlirbc && dtmm-opt %t.mlirbc --cse | filecheck %s

// CHECK-LABEL: func.func @twice
// CHECK-NEXT:    %0 = arith.addi %arg0, %arg0 : i32
// CHECK-NEXT:    %1 = arith.muli %0, %0 : i32
// CHECK-NEXT:    return %1 : i32
func.func @twice(%x: i32) -> i32 {
  %unused = arith.constant 3 : i32
  %0 = arith.addi %x, %x : i32
  %1 = arith.addi %x, %x : i32
  %2 = arith.muli %0, %1 : i32
  return %2 : i32
}
