"""TFLite models."""

from __future__ import annotations

import contextlib
import importlib.util
import random
from pathlib import Path

import pytest
from iree.compiler import ir

from dtmm_mlir import DtmmError
from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.frontends.checks import find_entry
from dtmm_mlir.manifest import signature
from dtmm_mlir.passes.base import location_text

tflite = pytest.importorskip("tflite")
pytest.importorskip("tosa_converter_for_tflite")

from dtmm_mlir.frontends.tflite import import_tflite, read_signature  # noqa: E402


def patched(data: bytes, path: Path, change) -> Path:
    """``data`` with ``change(buffer, first subgraph)`` applied, at ``path``."""
    buffer = bytearray(data)
    change(buffer, tflite.Model.GetRootAs(buffer).Subgraphs(0))
    path.write_bytes(buffer)
    return path


def test_dynamic_batch_is_frozen(models: Path) -> None:
    path = models / "resnet12_cifar10.tflite"
    module = import_tflite(path, create_context())
    (entry,) = walk(module, "func.func")
    assert str(entry.attributes["function_type"]) == "(tensor<1x32x32x3xi8>) -> tensor<1x10xi8>"
    assert "?" not in module.operation.get_asm(large_elements_limit=4)
    assert {op.name.partition(".")[0] for op in walk(module)} == {"tosa", "func", "builtin"}


def test_signature_and_foreign_attributes(models: Path) -> None:
    module = import_tflite(models / "single_conv.tflite", create_context())
    (given,), (result,) = signature(find_entry(module))
    assert (given.name, given.shape, given.dtype) == ("input_1", (1, 16, 16, 64), "int8")
    assert given.quantization == {"scale": pytest.approx(1 / 255), "zero_point": -128}
    assert (result.name, result.shape, result.quantization["zero_point"]) == ("Identity", (1, 16, 16, 32), -36)
    names = [name for op in [module.operation, *walk(module)] for name in op.attributes]
    assert not [name for name in names if name.startswith(("tf", "tfl"))]


def test_locations_name_the_layers(models: Path) -> None:
    module = import_tflite(models / "single_conv.tflite", create_context())
    (conv,) = walk(module, "tosa.conv2d")
    assert isinstance(conv.location, ir.NameLoc)
    assert "Identity" in location_text(conv.location)


def test_not_tflite(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    for data in (b"", b"hello world, this is text", bytes(1000)):
        path.write_bytes(data)
        with pytest.raises(DtmmError, match="identifier 'TFL3' is missing"):
            import_tflite(path, create_context())


def test_dynamic_spatial_size(models: Path, tmp_path: Path) -> None:
    def change(buffer: bytearray, graph) -> None:
        shape = graph.Tensors(graph.Inputs(0)).ShapeSignatureAsNumpy()
        assert not shape.flags.owndata
        shape.flags.writeable = True
        shape[1] = -1

    path = patched((models / "resnet12_cifar10.tflite").read_bytes(), tmp_path / "model.tflite", change)
    with pytest.raises(DtmmError, match=r"has the dynamic shape 1x\?x32x3, but only the batch"):
        read_signature(path)


def test_op_that_is_not_supported_is_named(models: Path, tmp_path: Path) -> None:
    """The softmax of a model, declared to be another op, which TOSA cannot express."""

    def change(buffer: bytearray, graph) -> None:
        model = tflite.Model.GetRootAs(buffer)
        codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
        (code,) = [one for one in codes if one.BuiltinCode() == tflite.BuiltinOperator.SOFTMAX]
        for slot, size in ((4, 1), (10, 4)):  # deprecated_builtin_code and builtin_code
            offset = code._tab.Offset(slot)
            if offset:
                at = code._tab.Pos + offset
                buffer[at : at + size] = tflite.BuiltinOperator.UNIQUE.to_bytes(size, "little")

    path = patched((models / "resnet12_cifar10.tflite").read_bytes(), tmp_path / "model.tflite", change)
    with pytest.raises(DtmmError, match=r"model\.tflite"):
        import_tflite(path, create_context())


def test_random_damage_never_crashes(models: Path, tmp_path: Path) -> None:
    data = (models / "single_conv.tflite").read_bytes()
    generator = random.Random(0)
    for _ in range(12):
        damaged = bytearray(data[: generator.choice([len(data), generator.randrange(8, len(data))])])
        for _ in range(4):
            damaged[generator.randrange(8, len(damaged))] = generator.randrange(256)
        path = tmp_path / "model.tflite"
        path.write_bytes(damaged)
        with contextlib.suppress(DtmmError):
            import_tflite(path, create_context())


def test_missing_extra(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tflite" else found(name, *rest)
    )
    with pytest.raises(DtmmError, match=r"pip install 'dtmm-mlir\[tflite\]'"):
        import_tflite(models / "single_conv.tflite", create_context())
