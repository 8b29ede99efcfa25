"""MLIR text and bytecode, and what every import checks."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from iree.compiler import ir

import dtmm_mlir
from dtmm_mlir import DtmmError
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.frontends import import_model
from dtmm_mlir.frontends.checks import find_entry
from dtmm_mlir.frontends.mlir import import_mlir

CONV = """
func.func @main(%x: tensor<1x8x8x3xf32>) -> tensor<1x6x6x4xf32> {
  %w = arith.constant dense<0.5> : tensor<3x3x3x4xf32>
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<1x6x6x4xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<1x6x6x4xf32>) -> tensor<1x6x6x4xf32>
  %0 = linalg.conv_2d_nhwc_hwcf ins(%x, %w : tensor<1x8x8x3xf32>, tensor<3x3x3x4xf32>)
    outs(%init : tensor<1x6x6x4xf32>) -> tensor<1x6x6x4xf32>
  return %0 : tensor<1x6x6x4xf32>
}
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_text_and_bytecode_give_the_same(tmp_path: Path) -> None:
    text = write(tmp_path / "model.mlir", CONV)
    module = ir.Module.parse(CONV, create_context())
    bytecode = tmp_path / "model.mlirbc"
    with bytecode.open("wb") as file:
        module.operation.write_bytecode(file)
    x = np.random.default_rng(0).standard_normal((1, 8, 8, 3)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    expected = np.repeat(0.5 * windows.sum((3, 4, 5))[..., None], 4, axis=3)
    for source in (text, bytecode, module):
        np.testing.assert_allclose(dtmm_mlir.compile(source).run(x), expected, rtol=1e-5, atol=1e-5)


def test_parse_error_is_located(tmp_path: Path) -> None:
    path = write(tmp_path / "model.mlir", "func.func @f() {\n  %0 = nonsense.op\n}\n")
    with pytest.raises(DtmmError, match=r"model\.mlir:2:8: this is not valid MLIR"):
        import_mlir(path, create_context())


def test_text_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "model.mlir"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(DtmmError, match=r"model\.mlir"):
        import_mlir(path, create_context())
    path.write_bytes(b"ML\xefR truncated")
    with pytest.raises(DtmmError, match=r"model\.mlir"):
        import_mlir(path, create_context())


def test_choice_of_the_function(tmp_path: Path) -> None:
    def name(text: str, entry: str | None = None) -> str:
        module = import_mlir(write(tmp_path / "model.mlir", text), create_context(), entry)
        return ir.StringAttr(find_entry(module).attributes["sym_name"]).value

    helper = "func.func private @helper() { return }\n"
    assert name(helper + "func.func @forward() { return }") == "forward"
    assert name("func.func @main() { return }\nfunc.func @other() { return }") == "main"
    assert name("func.func @a() { return }\nfunc.func @b() { return }", "b") == "b"
    with pytest.raises(DtmmError, match=r"several public functions \(a, b\)"):
        name("func.func @a() { return }\nfunc.func @b() { return }")
    with pytest.raises(DtmmError, match="no public function 'c'; there are: a"):
        name("func.func @a() { return }", "c")
    with pytest.raises(DtmmError, match=r"no public func.func with a body"):
        name(helper)


def test_dynamic_shapes_are_rejected(tmp_path: Path) -> None:
    path = write(tmp_path / "model.mlir", "\nfunc.func @f(%x: tensor<?x4xf32>) { return }")
    with pytest.raises(DtmmError, match=r"model\.mlir:2:1: 'func.func': tensor<\?x4xf32> has a dynamic shape"):
        import_mlir(path, create_context())


def test_infinite_weights_are_rejected_but_splats_are_not(tmp_path: Path) -> None:
    def import_constant(values: str) -> None:
        text = f"func.func @f() -> tensor<2xf32> {{\n  %0 = arith.constant dense<{values}> : tensor<2xf32>\n"
        path = write(tmp_path / "model.mlir", text + "  return %0 : tensor<2xf32>\n}")
        import_model(path, create_context())

    import_constant("[1.0, 2.0]")
    import_constant("0xFF800000")
    for broken in ("[0x7F800000, 1.0]", "0x7FC00000"):
        with pytest.raises(DtmmError, match=r"model\.mlir:2:8: 'arith.constant': . of the 2 values"):
            import_constant(broken)


def test_nan_in_a_resource(tmp_path: Path) -> None:
    text = """func.func @f() -> tensor<2xf32> {
  %0 = arith.constant dense_resource<weights> : tensor<2xf32>
  return %0 : tensor<2xf32>
}
{-# dialect_resources: { builtin: { weights: "0x040000000000803F0000C07F" } } #-}"""
    with pytest.raises(DtmmError, match="1 of the 2 values"):
        import_model(write(tmp_path / "model.mlir", text), create_context())


def test_unknown_sources(tmp_path: Path) -> None:
    context = create_context()
    with pytest.raises(DtmmError, match="of type int cannot be compiled"):
        import_model(3, context)
    with pytest.raises(DtmmError, match="ONNX models are not supported"):
        import_model(write(tmp_path / "model.onnx", ""), context)
    with pytest.raises(DtmmError, match="this kind of file is not known"):
        import_model(write(tmp_path / "model.txt", ""), context)
    with pytest.raises(DtmmError, match="not a file"):
        import_model(tmp_path, context)


def test_module_of_another_context() -> None:
    module = ir.Module.parse(CONV, create_context())
    copy = import_model(module, create_context())
    buffer = io.StringIO()
    copy.operation.print(file=buffer)
    assert "linalg.conv_2d_nhwc_hwcf" in buffer.getvalue()
