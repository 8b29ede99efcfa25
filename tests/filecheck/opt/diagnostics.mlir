// RUN: dtmm-opt %s --split-input-file --verify-diagnostics -o %t.mlir
// RUN: not dtmm-opt %s --split-input-file 2>&1 | filecheck %s

// CHECK: diagnostics.mlir:[[# @LINE + 3]]:10: error: use of undeclared SSA value name
func.func @undeclared() -> i32 {
  // expected-error @below {{undeclared SSA value}}
  return %nothing : i32
}
// CHECK-NEXT: return %nothing : i32
// CHECK-NEXT: ^

// -----

// CHECK: diagnostics.mlir:{{[0-9]+}}:{{[0-9]+}}: error: 'func.return' op has 1 operands, but enclosing function
func.func @too_many(%x: i32) {
  return %x : i32 // expected-error {{has 1 operands}}
}

// -----

func.func @regex(%x: i32) -> i64 {
  // expected-error-re @+1 {{type of return operand {{[0-9]}} ('i32') doesn't match}}
  return %x : i32
}
