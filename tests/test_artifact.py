"""Artifacts: running, saving, loading, and what the manifest says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import dtmm_mlir
from dtmm_mlir import Artifact, DtmmError
from dtmm_mlir.manifest import SCHEMA_FILE
from dtmm_mlir.output import atomic_folder

TWO_INPUTS = """
func.func @main(%a: tensor<1x4xi32>, %b: tensor<1x4xi32>) -> (tensor<1x4xi32>, tensor<1x4xi32>) {
  %0 = tosa.add %a, %b : (tensor<1x4xi32>, tensor<1x4xi32>) -> tensor<1x4xi32>
  %1 = tosa.sub %a, %b : (tensor<1x4xi32>, tensor<1x4xi32>) -> tensor<1x4xi32>
  return %0, %1 : tensor<1x4xi32>, tensor<1x4xi32>
}
"""


@pytest.fixture(scope="module")
def two_inputs(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    path = tmp_path_factory.mktemp("two") / "two.mlir"
    path.write_text(TWO_INPUTS)
    return dtmm_mlir.compile(path)


def test_one_input_and_a_stack(single_conv: Artifact, single_conv_data: dict) -> None:
    inputs, expected = single_conv_data["inputs"], single_conv_data["expected"]
    np.testing.assert_array_equal(single_conv.run(inputs[0]), expected[0])
    np.testing.assert_array_equal(single_conv.run(inputs[:3]), expected[:3])
    np.testing.assert_array_equal(single_conv.run([inputs[0]]), expected[0])
    np.testing.assert_array_equal(single_conv.run(inputs[0][:, ::-1][:, ::-1]), expected[0])


def test_float_input_is_quantized(single_conv: Artifact, single_conv_data: dict) -> None:
    inputs, expected = single_conv_data["inputs"], single_conv_data["expected"]
    quantization = single_conv.manifest["inputs"][0]["quantization"]
    real = (inputs.astype(np.float32) - quantization["zero_point"]) * np.float32(quantization["scale"])
    np.testing.assert_array_equal(single_conv.run(real), expected)
    far_out = np.full((1, 16, 16, 64), 1e9, np.float32)
    np.testing.assert_array_equal(single_conv.run(far_out), single_conv.run(np.full_like(inputs[0], 127)))
    with pytest.raises(DtmmError, match="NaN"):
        single_conv.run(far_out * np.nan)


def test_several_inputs_and_outputs(two_inputs: Artifact) -> None:
    a, b = np.int32([[1, 2, 3, 4]]), np.int32([[10, 20, 30, 40]])
    total, difference = two_inputs.run([a, b])
    np.testing.assert_array_equal(total, a + b)
    np.testing.assert_array_equal(difference, a - b)
    totals, _ = two_inputs.run([np.stack([a, b]), np.stack([b, b])])
    np.testing.assert_array_equal(totals, np.stack([a + b, b + b]))


def test_wrong_number_of_inputs(two_inputs: Artifact) -> None:
    a = np.zeros((1, 4), np.int32)
    with pytest.raises(DtmmError, match=r"2 input\(s\) \(input0, input1\), but 1 were given"):
        two_inputs.run(a)
    with pytest.raises(DtmmError, match="different lengths"):
        two_inputs.run([np.zeros((2, 1, 4), np.int32), np.zeros((3, 1, 4), np.int32)])
    with pytest.raises(DtmmError, match="different lengths"):
        two_inputs.run([a, np.zeros((2, 1, 4), np.int32)])


def test_save_and_load(single_conv: Artifact, single_conv_data: dict, tmp_path: Path) -> None:
    single_conv.save(tmp_path / "a" / "b")
    again = dtmm_mlir.load(tmp_path / "a" / "b")
    assert again.manifest == single_conv.manifest
    np.testing.assert_array_equal(again.run(single_conv_data["inputs"][0]), single_conv_data["expected"][0])


def test_temporary_artifact_lives_as_long_as_it_is_held(models: Path) -> None:
    artifact = dtmm_mlir.compile(models / "single_conv.tflite")
    folder = artifact.dir
    assert folder.exists()
    del artifact
    assert not folder.exists()


def test_load_rejects(single_conv: Artifact, tmp_path: Path) -> None:
    with pytest.raises(DtmmError, match=r"manifest.json is missing"):
        dtmm_mlir.load(tmp_path)
    copy = single_conv.save(tmp_path / "copy").dir
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "model.vmfb").unlink()
    with pytest.raises(DtmmError, match=r"lacks model.vmfb"):
        dtmm_mlir.load(copy)
    (copy / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(DtmmError, match="schema version 99"):
        dtmm_mlir.load(copy)
    (copy / "manifest.json").write_text("{")
    with pytest.raises(DtmmError, match="cannot be read"):
        dtmm_mlir.load(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("files"),
        lambda m: m.update(files={"../elsewhere": "0" * 64}),
        lambda m: m.update(target=3),
        lambda m: m["inputs"][0].update(shape=[1, -16]),
        lambda m: m["inputs"][0].update(dtype="object"),
        lambda m: m["inputs"][0]["quantization"].update(scale=0),
        lambda m: m["outputs"][0].pop("name"),
    ],
)
def test_load_rejects_a_damaged_manifest(
    change: Callable[[dict], object], single_conv: Artifact, tmp_path: Path
) -> None:
    copy = single_conv.save(tmp_path / "copy").dir
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DtmmError, match=r"manifest is damaged .*compile the model again"):
        dtmm_mlir.load(copy)


def test_a_manifest_of_another_module_is_an_error(single_conv: Artifact, tmp_path: Path) -> None:
    copy = single_conv.save(tmp_path / "copy").dir
    manifest = json.loads((copy / "manifest.json").read_text())
    for changed in (
        manifest | {"entry": "other"},
        manifest | {"inputs": [manifest["inputs"][0] | {"shape": [16, 64]}]},
    ):
        (copy / "manifest.json").write_text(json.dumps(changed))
        artifact = dtmm_mlir.load(copy)
        with pytest.raises(DtmmError, match=r"model\.vmfb is not what its manifest says"):
            artifact.run(np.zeros(artifact.inputs[0].shape, np.int8))


def test_manifest_fulfils_its_schema(single_conv: Artifact, two_inputs: Artifact) -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    for artifact in (single_conv, two_inputs):
        jsonschema.validate(json.loads((artifact.dir / "manifest.json").read_text()), schema)


def test_manifest_of_a_sparse_layer(single_conv: Artifact) -> None:
    (layer,) = single_conv.manifest["layers"]
    assert (layer["kept_filterlets"], layer["total_filterlets"]) == (29, 288)
    assert (layer["kind"], layer["kernel"], layer["strides"]) == ("conv_2d", [3, 3], [1, 1])
    assert (layer["input_shape"], layer["output_shape"]) == ([1, 16, 16, 64], [1, 16, 16, 32])
    assert layer["dense_macs"] == 16 * 16 * 32 * 9 * 64
    assert layer["kept_macs"] == 16 * 16 * 29 * 64


def test_whole_models_bit_for_bit(models: Path) -> None:
    for name in ("resnet12_cifar10", "resnet12_vww", "vgg11_cifar10"):
        data = np.load(models / f"{name}.npz")
        artifact = dtmm_mlir.compile(models / f"{name}.tflite")
        np.testing.assert_array_equal(artifact.run(data["inputs"]), data["expected"], err_msg=name)
        if name == "resnet12_cifar10":
            kept = {(layer["kept_filterlets"], layer["total_filterlets"]) for layer in artifact.manifest["layers"]}
            assert {(164, 279), (227, 270), (380, 477), (383, 1134)} <= kept


def test_atomic_folder_undoes(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_folder(tmp_path / "a" / "b") as folder:
            (folder / "half").write_text("")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not list(tmp_path.iterdir())


def test_atomic_folder_follows_links_and_spares_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with atomic_folder(tmp_path / "link") as folder:
        (folder / "file").write_text("")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "file").exists()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(DtmmError, match="the working directory"), atomic_folder(Path()):
        pass


def test_import_is_light() -> None:
    code = "import sys, dtmm_mlir; print(sorted({'numpy', 'torch', 'iree.compiler', 'click'} & set(sys.modules)))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


def test_public_names() -> None:
    assert dtmm_mlir.__version__
    for name in dtmm_mlir.__all__:
        assert getattr(dtmm_mlir, name)
    with pytest.raises(AttributeError):
        dtmm_mlir.no_such_thing  # noqa: B018


@pytest.mark.parametrize(("target", "name"), [("host", "model.vmfb"), ("cortex-m4", "firmware.elf")])
def test_damaged_machine_code_is_not_started(target: str, name: str, models: Path, tmp_path: Path) -> None:
    if target != "host" and shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("needs arm-none-eabi-gcc")
    artifact = dtmm_mlir.compile(models / "single_conv.tflite", target, out=tmp_path / "out")
    data = bytearray((artifact.dir / name).read_bytes())
    data[len(data) // 2] ^= 1
    (artifact.dir / name).write_bytes(data)
    with pytest.raises(DtmmError, match=f"{name} is not the file that was compiled; compile the model again"):
        dtmm_mlir.load(tmp_path / "out").run(np.zeros(artifact.inputs[0].shape, np.int8))
