"""Merged tables: the same results as IREE's interpolation of the ones they were, for every difference there is."""

from __future__ import annotations

import io
from typing import Any

import iree.compiler
import iree.runtime
import numpy as np
import pytest
from iree.compiler import ir

from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.passes.merge_tables import MergeTables

ROUNDED = "scale32 = true, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, per_channel = false"
SIGNED = "input_unsigned = false, output_unsigned = false"

NETWORK = """
func.func @main(%x8: tensor<256x1x2xi8>) -> tensor<256x1x2xi32> {{
  %scale = "tosa.const"() {{values = dense<{multiplier}> : tensor<1xi32>}} : () -> tensor<1xi32>
  %one = "tosa.const"() {{values = dense<1073741824> : tensor<1xi32>}} : () -> tensor<1xi32>
  %30 = "tosa.const"() {{values = dense<30> : tensor<1xi8>}} : () -> tensor<1xi8>
  %shift = "tosa.const"() {{values = dense<{shift}> : tensor<1xi8>}} : () -> tensor<1xi8>
  %z8 = "tosa.const"() {{values = dense<-7> : tensor<1xi8>}} : () -> tensor<1xi8>
  %z16 = "tosa.const"() {{values = dense<0> : tensor<1xi16>}} : () -> tensor<1xi16>
  %z = "tosa.const"() {{values = dense<0> : tensor<1xi32>}} : () -> tensor<1xi32>
  %9 = "tosa.const"() {{values = dense<9> : tensor<1x1x1xi32>}} : () -> tensor<1x1x1xi32>
  %7 = "tosa.const"() {{values = dense<7> : tensor<1x1x1xi32>}} : () -> tensor<1x1x1xi32>
  %a = "tosa.const"() {{values = dense<{tables[0]}> : tensor<513xi16>}} : () -> tensor<513xi16>
  %b = "tosa.const"() {{values = dense<{tables[1]}> : tensor<513xi16>}} : () -> tensor<513xi16>
  %x = "tosa.rescale"(%x8, %one, %30, %z8, %z) {{{exact}}}
    : (tensor<256x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<256x1x2xi32>
  %largest = "tosa.reduce_max"(%x) {{axis = 2 : i32}} : (tensor<256x1x2xi32>) -> tensor<256x1x1xi32>
  %below = "tosa.sub"(%x, %largest) : (tensor<256x1x2xi32>, tensor<256x1x1xi32>) -> tensor<256x1x2xi32>
  %place = "tosa.rescale"(%below, %scale, %shift, %z, %z16) {{{exact}}}
    : (tensor<256x1x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi16>) -> tensor<256x1x2xi16>
  %0 = "tosa.table"(%place, %a) : (tensor<256x1x2xi16>, tensor<513xi16>) -> tensor<256x1x2xi32>
  %1 = "tosa.table"(%place, %b) : (tensor<256x1x2xi16>, tensor<513xi16>) -> tensor<256x1x2xi32>
  %2 = "tosa.logical_left_shift"(%0, %9) : (tensor<256x1x2xi32>, tensor<1x1x1xi32>) -> tensor<256x1x2xi32>
  %3 = "tosa.arithmetic_right_shift"(%1, %7) {{round = {round}}}
    : (tensor<256x1x2xi32>, tensor<1x1x1xi32>) -> tensor<256x1x2xi32>
  %4 = "tosa.add"(%2, %3) : (tensor<256x1x2xi32>, tensor<256x1x2xi32>) -> tensor<256x1x2xi32>
  return %4 : tensor<256x1x2xi32>
}}
"""


def results(module: ir.Module, x: np.ndarray) -> np.ndarray:
    stream = io.BytesIO()
    module.operation.write_bytecode(stream)
    flags = ["--iree-llvmcpu-target-cpu=host", "--iree-opt-level=O0"]
    binary = iree.compiler.compile_str(
        stream.getvalue(), input_type="tosa", target_backends=["llvm-cpu"], extra_args=flags
    )
    system: Any = iree.runtime.SystemContext(config=iree.runtime.Config("local-sync"))
    system.add_vm_module(iree.runtime.VmModule.copy_buffer(system.instance, binary))
    return system.modules.module["main"](x).to_host()


@pytest.mark.parametrize(
    ("multiplier", "shift", "round"),
    [(1 << 30, 23, "true"), (1 << 30, 21, "false"), (1876543210, 24, "true")],
    ids=["as-tflite", "saturated", "odd"],
)
def test_every_difference(multiplier: int, shift: int, round: str) -> None:
    random = np.random.default_rng(7)
    tables = random.integers(-(1 << 15), 1 << 15, (2, 513)).tolist()
    text = NETWORK.format(
        multiplier=multiplier,
        shift=shift,
        round=round,
        tables=tables,
        exact=f"{ROUNDED}, {SIGNED}",
    )
    x = np.stack([np.full(256, 127), np.arange(-128, 128)], axis=1).astype(np.int8).reshape(256, 1, 2)
    with create_context():
        module = ir.Module.parse(text)
    expected = results(module, x)
    MergeTables()(module)
    assert not list(walk(module, "tosa.table"))
    assert len(np.unique(expected)) > 50
    np.testing.assert_array_equal(results(module, x), expected)
