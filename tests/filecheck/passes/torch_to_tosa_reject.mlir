// RUN: dtmm-opt %s --filterlet-torch-to-tosa --split-input-file --verify-diagnostics

func.func @onnx(%x: !torch.vtensor<[1,2],f32>) -> !torch.vtensor<[1,2],f32> {
  // expected-error@+1 {{ONNX ops are not read}}
  %0 = torch.operator "onnx.Relu"(%x) : (!torch.vtensor<[1,2],f32>) -> !torch.vtensor<[1,2],f32>
  return %0 : !torch.vtensor<[1,2],f32>
}

// -----

func.func @no_form(%x: !torch.vtensor<[1,2],f32>) -> !torch.vtensor<[1,2],f32> {
  // expected-error@+1 {{has no TOSA form in this compiler}}
  %0 = torch.aten.erfinv %x : !torch.vtensor<[1,2],f32> -> !torch.vtensor<[1,2],f32>
  return %0 : !torch.vtensor<[1,2],f32>
}

// -----

// expected-error@+1 {{has no static shape}}
func.func @dynamic(%x: !torch.vtensor<[?,2],f32>) -> !torch.vtensor<[?,2],f32> {
  %0 = torch.aten.relu %x : !torch.vtensor<[?,2],f32> -> !torch.vtensor<[?,2],f32>
  return %0 : !torch.vtensor<[?,2],f32>
}

// -----

func.func @uint8(%x: !torch.vtensor<[1,2],f32>) -> !torch.vtensor<[1,2],f32> {
  %none = torch.constant.none
  %scale = torch.constant.float 5.000000e-01
  %zero = torch.constant.int 0
  %high = torch.constant.int 255
  // expected-error@+1 {{stores uint8, only int8 has an integer form here}}
  %q = torch.quantized_decomposed.quantize_per_tensor %x, %scale, %zero, %zero, %high, %zero : !torch.vtensor<[1,2],f32>, !torch.float, !torch.int, !torch.int, !torch.int, !torch.int -> !torch.vtensor<[1,2],ui8>
  %y = torch.quantized_decomposed.dequantize_per_tensor %q, %scale, %zero, %zero, %high, %zero, %none : !torch.vtensor<[1,2],ui8>, !torch.float, !torch.int, !torch.int, !torch.int, !torch.int, !torch.none -> !torch.vtensor<[1,2],f32>
  return %y : !torch.vtensor<[1,2],f32>
}

// -----

func.func @asymmetric_weight(%x: !torch.vtensor<[1,2],f32>) -> !torch.vtensor<[1,1],f32> {
  %none = torch.constant.none
  %scale = torch.constant.float 5.000000e-01
  %zero = torch.constant.int 0
  %one = torch.constant.int 1
  %low = torch.constant.int -128
  %high = torch.constant.int 127
  %w = torch.vtensor.literal(dense<1> : tensor<1x2xi8>) : !torch.vtensor<[1,2],si8>
  // expected-error@+1 {{the weight is asymmetric}}
  %wf = torch.quantized_decomposed.dequantize_per_tensor %w, %scale, %one, %low, %high, %one, %none : !torch.vtensor<[1,2],si8>, !torch.float, !torch.int, !torch.int, !torch.int, !torch.int, !torch.none -> !torch.vtensor<[1,2],f32>
  %q = torch.quantized_decomposed.quantize_per_tensor %x, %scale, %zero, %low, %high, %one : !torch.vtensor<[1,2],f32>, !torch.float, !torch.int, !torch.int, !torch.int, !torch.int -> !torch.vtensor<[1,2],si8>
  %f = torch.quantized_decomposed.dequantize_per_tensor %q, %scale, %zero, %low, %high, %one, %none : !torch.vtensor<[1,2],si8>, !torch.float, !torch.int, !torch.int, !torch.int, !torch.int, !torch.none -> !torch.vtensor<[1,2],f32>
  %l = torch.aten.linear %f, %wf, %none : !torch.vtensor<[1,2],f32>, !torch.vtensor<[1,2],f32>, !torch.none -> !torch.vtensor<[1,1],f32>
  %y = torch.quantized_decomposed.quantize_per_tensor %l, %scale, %zero, %low, %high, %one : !torch.vtensor<[1,1],f32>, !torch.float, !torch.int, !torch.int, !torch.int, !torch.int -> !torch.vtensor<[1,1],si8>
  %d = torch.quantized_decomposed.dequantize_per_tensor %y, %scale, %zero, %low, %high, %one, %none : !torch.vtensor<[1,1],si8>, !torch.float, !torch.int, !torch.int, !torch.int, !torch.int, !torch.none -> !torch.vtensor<[1,1],f32>
  return %d : !torch.vtensor<[1,1],f32>
}

// -----

func.func @float_layer(%x: !torch.vtensor<[1,2],f32>) -> !torch.vtensor<[1,1],f32> {
  %none = torch.constant.none
  %scale = torch.constant.float 5.000000e-01
  %zero = torch.constant.int 0
  %one = torch.constant.int 1
  %low = torch.constant.int -128
  %high = torch.constant.int 127
  %w = torch.vtensor.literal(dense<1.0> : tensor<1x2xf32>) : !torch.vtensor<[1,2],f32>
  %q = torch.quantized_decomposed.quantize_per_tensor %x, %scale, %zero, %low, %high, %one : !torch.vtensor<[1,2],f32>, !torch.float, !torch.int, !torch.int, !torch.int, !torch.int -> !torch.vtensor<[1,2],si8>
  %f = torch.quantized_decomposed.dequantize_per_tensor %q, %scale, %zero, %low, %high, %one, %none : !torch.vtensor<[1,2],si8>, !torch.float, !torch.int, !torch.int, !torch.int, !torch.int, !torch.none -> !torch.vtensor<[1,2],f32>
  // expected-error@+1 {{a float32 layer inside a quantized network}}
  %l = torch.aten.linear %f, %w, %none : !torch.vtensor<[1,2],f32>, !torch.vtensor<[1,2],f32>, !torch.none -> !torch.vtensor<[1,1],f32>
  return %l : !torch.vtensor<[1,1],f32>
}
