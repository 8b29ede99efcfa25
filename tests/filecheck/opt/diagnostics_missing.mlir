// RUN: not dtmm-opt %s --verify-diagnostics -o %t.mlir 2>&1 | filecheck %s
// RUN: not dtmm-opt %s --nope 2>&1 | filecheck %s --check-prefix=PASS
// RUN: not dtmm-opt %s --pass-pipeline='builtin.module(filterlet-plan{colour=red})' 2>&1 | filecheck %s --check-prefix=OPTION
// RUN: not dtmm-opt %s --pass-pipeline='func.func(cse)' 2>&1 | filecheck %s --check-prefix=ANCHOR
// RUN: not dtmm-opt %s --pass-pipeline='builtin.module(func.func(filterlet-plan))' 2>&1 | filecheck %s --check-prefix=NESTED
// RUN: not dtmm-opt %s.missing 2>&1 | filecheck %s --check-prefix=FILE

// CHECK: :14: error: expected error "this never happens" was not produced
// PASS: error: pass pipeline 'nope': 'nope' does not refer to a registered pass
// OPTION: error: pass pipeline {{.*}}: 'filterlet-plan' has no option 'colour'; its options are: target
// ANCHOR: error: pass pipeline 'func.func(cse)': a pipeline is written 'builtin.module(
// NESTED: runs on whole modules; put it at the outer level
// FILE: error: {{.*}}.missing: the input cannot be read: No such file or directory.
// expected-error {{this never happens}}
func.func @fine() {
  return
}
