// RUN: dtmm-opt %s --pass-pipeline='builtin.module(filterlet-torch-to-tosa)' --split-input-file | filecheck %s

// A quantized convolution becomes integers; boundary quantization becomes an attribute, NCHW stays at the boundary.

// CHECK-LABEL: func.func @main
// CHECK-SAME: %arg0: tensor<1x2x3x3xi8> {filterlet.quantization = {scale = 5.000000e-01 : f64, zero_point = 3 : i32}}
// CHECK-SAME: -> (tensor<1x2x2x2xi8> {filterlet.quantization = {scale = 2.500000e-01 : f64, zero_point = -100 : i32}})
// CHECK: %[[X:.*]] = tosa.transpose %arg0 perms([0, 2, 3, 1])
// CHECK: %[[CONV:.*]] = tosa.conv2d %[[X]], {{.*}} pad([0, 0, 0, 0]) stride([1, 1]) dilation([1, 1]) acc_type(i32)
// CHECK-SAME: -> tensor<1x2x2x2xi32>
// CHECK: %[[SCALED:.*]] = tosa.rescale %[[CONV]], {{.*}} rounding_mode<SINGLE_ROUND> per_channel(true)
// CHECK: %[[BOUND:.*]] = tosa.clamp %[[SCALED]] min_val(-100 : i8) max_val(127 : i8)
// CHECK: %[[Y:.*]] = tosa.transpose %[[BOUND]] perms([0, 3, 1, 2])
// CHECK: return %[[Y]] : tensor<1x2x2x2xi8>
func.func @main(%x: !torch.vtensor<[1,2,3,3],f32>) -> !torch.vtensor<[1,2,2,2],f32> {
  %none = torch.constant.none
  %zero = torch.constant.int 0
  %one = torch.constant.int 1
  %low = torch.constant.int -128
  %high = torch.constant.int 127
  %wlow = torch.constant.int -127
  %half = torch.constant.float 5.000000e-01
  %three = torch.constant.int 3
  %quarter = torch.constant.float 2.500000e-01
  %offset = torch.constant.int -100
  %ones = torch.prim.ListConstruct %one, %one : (!torch.int, !torch.int) -> !torch.list<int>
  %zeros = torch.prim.ListConstruct %zero, %zero : (!torch.int, !torch.int) -> !torch.list<int>
  %w = torch.vtensor.literal(dense<1> : tensor<2x2x2x2xi8>) : !torch.vtensor<[2,2,2,2],si8>
  %ws = torch.vtensor.literal(dense<[1.000000e-01, 2.000000e-01]> : tensor<2xf32>) : !torch.vtensor<[2],f32>
  %wz = torch.vtensor.literal(dense<0> : tensor<2xi64>) : !torch.vtensor<[2],si64>
  %wf = torch.quantized_decomposed.dequantize_per_channel %w, %ws, %wz, %zero, %wlow, %high, %one, %none : !torch.vtensor<[2,2,2,2],si8>, !torch.vtensor<[2],f32>, !torch.vtensor<[2],si64>, !torch.int, !torch.int, !torch.int, !torch.int, !torch.none -> !torch.vtensor<[2,2,2,2],f32>
  %xq = torch.quantized_decomposed.quantize_per_tensor %x, %half, %three, %low, %high, %one : !torch.vtensor<[1,2,3,3],f32>, !torch.float, !torch.int, !torch.int, !torch.int, !torch.int -> !torch.vtensor<[1,2,3,3],si8>
  %xf = torch.quantized_decomposed.dequantize_per_tensor %xq, %half, %three, %low, %high, %one, %none : !torch.vtensor<[1,2,3,3],si8>, !torch.float, !torch.int, !torch.int, !torch.int, !torch.int, !torch.none -> !torch.vtensor<[1,2,3,3],f32>
  %c = torch.aten.conv2d %xf, %wf, %none, %ones, %zeros, %ones, %one : !torch.vtensor<[1,2,3,3],f32>, !torch.vtensor<[2,2,2,2],f32>, !torch.none, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.int -> !torch.vtensor<[1,2,2,2],f32>
  %r = torch.aten.relu %c : !torch.vtensor<[1,2,2,2],f32> -> !torch.vtensor<[1,2,2,2],f32>
  %yq = torch.quantized_decomposed.quantize_per_tensor %r, %quarter, %offset, %low, %high, %one : !torch.vtensor<[1,2,2,2],f32>, !torch.float, !torch.int, !torch.int, !torch.int, !torch.int -> !torch.vtensor<[1,2,2,2],si8>
  %yf = torch.quantized_decomposed.dequantize_per_tensor %yq, %quarter, %offset, %low, %high, %one, %none : !torch.vtensor<[1,2,2,2],si8>, !torch.float, !torch.int, !torch.int, !torch.int, !torch.int, !torch.none -> !torch.vtensor<[1,2,2,2],f32>
  return %yf : !torch.vtensor<[1,2,2,2],f32>
}

// -----

// A float network: flattening moves no data, the columns of the next weight follow.

// CHECK-LABEL: func.func @float
// CHECK-NOT: filterlet.quantization
// CHECK: %[[X:.*]] = tosa.transpose %arg0 perms([0, 2, 3, 1])
// CHECK: tosa.reshape %[[X]]
// CHECK: dense<{{\[\[\[\[}}1.000000e+00, 3.000000e+00, 2.000000e+00, 4.000000e+00]]]]> : tensor<1x1x1x4xf32>
// CHECK: tosa.conv2d {{.*}} acc_type(f32)
func.func @float(%x: !torch.vtensor<[1,2,1,2],f32>) -> !torch.vtensor<[1,1],f32> {
  %one = torch.constant.int 1
  %end = torch.constant.int -1
  %w = torch.vtensor.literal(dense<[[1.0, 2.0, 3.0, 4.0]]> : tensor<1x4xf32>) : !torch.vtensor<[1,4],f32>
  %b = torch.vtensor.literal(dense<0.5> : tensor<1xf32>) : !torch.vtensor<[1],f32>
  %f = torch.aten.flatten.using_ints %x, %one, %end : !torch.vtensor<[1,2,1,2],f32>, !torch.int, !torch.int -> !torch.vtensor<[1,4],f32>
  %y = torch.aten.linear %f, %w, %b : !torch.vtensor<[1,4],f32>, !torch.vtensor<[1,4],f32>, !torch.vtensor<[1],f32> -> !torch.vtensor<[1,1],f32>
  return %y : !torch.vtensor<[1,1],f32>
}
