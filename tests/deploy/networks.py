"""Small networks as MLIR text, and stock IREE on the host as their reference."""

from __future__ import annotations

from pathlib import Path

import iree.runtime as rt
import numpy as np

from dtmm_mlir import iree_compile
from dtmm_mlir.targets import HOST


def _weights(seed: int, *shape: int) -> str:
    values = np.random.default_rng(seed).integers(-128, 128, shape, np.int8)
    return f'dense<"0x{values.tobytes().hex().upper()}"> : tensor<{"x".join(map(str, shape))}xi8>'


CONVS = f"""
#map = affine_map<(n, y, x, c) -> (n, y, x, c)>
func.func @main(%x: tensor<1x8x8x4xi8>) -> tensor<1x6x6x5xi8> {{
  %w0 = arith.constant {_weights(0, 3, 3, 4, 8)}
  %w1 = arith.constant {_weights(1, 3, 3, 8, 5)}
  %zero = arith.constant 0 : i32
  %low = arith.constant -128 : i32
  %high = arith.constant 127 : i32
  %shift = arith.constant 7 : i32
  %pad = arith.constant 11 : i8
  %z0 = tensor.splat %zero : tensor<1x6x6x8xi32>
  %a0 = linalg.conv_2d_nhwc_hwcf ins(%x, %w0 : tensor<1x8x8x4xi8>, tensor<3x3x4x8xi8>)
      outs(%z0 : tensor<1x6x6x8xi32>) -> tensor<1x6x6x8xi32>
  %e0 = tensor.empty() : tensor<1x6x6x8xi8>
  %y0 = linalg.generic {{indexing_maps = [#map, #map],
      iterator_types = ["parallel", "parallel", "parallel", "parallel"]}}
      ins(%a0 : tensor<1x6x6x8xi32>) outs(%e0 : tensor<1x6x6x8xi8>) {{
  ^bb0(%a: i32, %o: i8):
    %s = arith.shrsi %a, %shift : i32
    %l = arith.maxsi %s, %low : i32
    %h = arith.minsi %l, %high : i32
    %t = arith.trunci %h : i32 to i8
    linalg.yield %t : i8
  }} -> tensor<1x6x6x8xi8>
  %p = tensor.pad %y0 low[0, 1, 1, 0] high[0, 1, 1, 0] {{
  ^bb0(%n: index, %i: index, %j: index, %c: index):
    tensor.yield %pad : i8
  }} : tensor<1x6x6x8xi8> to tensor<1x8x8x8xi8>
  %z1 = tensor.splat %zero : tensor<1x6x6x5xi32>
  %a1 = linalg.conv_2d_nhwc_hwcf ins(%p, %w1 : tensor<1x8x8x8xi8>, tensor<3x3x8x5xi8>)
      outs(%z1 : tensor<1x6x6x5xi32>) -> tensor<1x6x6x5xi32>
  %e1 = tensor.empty() : tensor<1x6x6x5xi8>
  %y1 = linalg.generic {{indexing_maps = [#map, #map],
      iterator_types = ["parallel", "parallel", "parallel", "parallel"]}}
      ins(%a1 : tensor<1x6x6x5xi32>) outs(%e1 : tensor<1x6x6x5xi8>) {{
  ^bb0(%a: i32, %o: i8):
    %s = arith.shrsi %a, %shift : i32
    %l = arith.maxsi %s, %low : i32
    %h = arith.minsi %l, %high : i32
    %t = arith.trunci %h : i32 to i8
    linalg.yield %t : i8
  }} -> tensor<1x6x6x5xi8>
  return %y1 : tensor<1x6x6x5xi8>
}}
"""
"""Two int8 convolutions, the second padded with 11."""

SEVERAL = """
#all = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>
func.func @main(%a: tensor<4x5xf32>, %b: tensor<4x5xf32>, %c: tensor<7xi8>)
    -> (tensor<4x5xf32>, tensor<7xi8>, tensor<3xi32>, tensor<4xf32>, tensor<4x5xf32>) {
  %k = arith.constant dense<[1, -2, 3]> : tensor<3xi32>
  %zero = arith.constant dense<0.0> : tensor<4xf32>
  %sum = arith.addf %a, %b : tensor<4x5xf32>
  %rows = linalg.generic {indexing_maps = [#all, #row], iterator_types = ["parallel", "reduction"]}
      ins(%sum : tensor<4x5xf32>) outs(%zero : tensor<4xf32>) {
  ^bb0(%x: f32, %y: f32):
    %s = arith.addf %x, %y : f32
    linalg.yield %s : f32
  } -> tensor<4xf32>
  return %sum, %c, %k, %rows, %sum : tensor<4x5xf32>, tensor<7xi8>, tensor<3xi32>, tensor<4xf32>, tensor<4x5xf32>
}
"""
"""Several inputs and outputs: one output is an input, one a constant, two are the same value."""


ROOTS = """
func.func @main(%x: tensor<4x10xf32>) -> tensor<4x10xf32> {
  %empty = tensor.empty() : tensor<4x10xf32>
  %shares = linalg.softmax dimension(1) ins(%x : tensor<4x10xf32>) outs(%empty : tensor<4x10xf32>) -> tensor<4x10xf32>
  %roots = math.sqrt %shares : tensor<4x10xf32>
  return %roots : tensor<4x10xf32>
}
"""
"""The square roots of a softmax: functions of the C library where the processor has no floating-point unit."""


def image_inputs(count: int) -> list[list[np.ndarray]]:
    """Inputs for CONVS."""
    return [list(case[None]) for case in np.random.default_rng(7).integers(-128, 128, (count, 1, 8, 8, 4), np.int8)]


def host_results(text: str, cases: list[list[np.ndarray]], folder: Path) -> list[list[np.ndarray]]:
    """What IREE's runtime computes on this machine."""
    source, module = folder / "host.mlir", folder / "host.vmfb"
    source.write_text(text)
    iree_compile.run(source, module, HOST.iree_flags())
    config = rt.Config("local-sync")
    loaded = rt.load_vm_module(rt.VmModule.copy_buffer(config.vm_instance, module.read_bytes()), config)
    results = [loaded["main"](*case) for case in cases]
    return [[np.array(r.to_host()) for r in (case if isinstance(case, list | tuple) else [case])] for case in results]
