// RUN: dtmm-opt %s --filterlet-capture --verify-diagnostics

func.func @asymmetric(%x: tensor<1x3x3x4xi8>) -> tensor<1x3x3x1xi32> {
  %w = "tosa.const"() {values = dense<1> : tensor<1x1x1x4xi8>} : () -> tensor<1x1x1x4xi8>
  %b = "tosa.const"() {values = dense<7> : tensor<1xi32>} : () -> tensor<1xi32>
  %z = "tosa.const"() {values = dense<5> : tensor<1xi8>} : () -> tensor<1xi8>
  // expected-error @+1 {{the weights have zero point 5, so pruned weights are not zeros}}
  %0 = "tosa.conv2d"(%x, %w, %b, %z, %z) {acc_type = i32, dilation = array<i64: 1, 1>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x3x3x4xi8>, tensor<1x1x1x4xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x3x3x1xi32>
  return %0 : tensor<1x3x3x1xi32>
}
