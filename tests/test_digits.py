"""The PyTorch road on real data: trained, pruned, quantized, compiled, and compared with torch image by image."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from iree.compiler import ir

torch = pytest.importorskip("torch")

import dtmm_mlir  # noqa: E402
from dtmm_mlir.artifact import Artifact  # noqa: E402
from dtmm_mlir.compiler import ir_after  # noqa: E402
from dtmm_mlir.dialect.constants import constant_array, walk  # noqa: E402
from dtmm_mlir.dialect.context import create_context  # noqa: E402
from dtmm_mlir.quantization import quantize_int8  # noqa: E402
from examples import digits  # noqa: E402
from tests.conftest import Program  # noqa: E402

needs_cross_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm"))), reason="needs the cross compiler and QEMU"
)

FUNCTION = """
import dtmm_mlir.quantization  # registers the quantized ops that torch.export.load looks up
import torch

def digits():
    return torch.export.load("net.pt2")
"""


class Trained:
    """The pruned network, its quantized program, and torch's results on the whole test split."""

    def __init__(self) -> None:
        self.data = digits.load_data()
        self.model, self.masks = digits.pruned_network(self.data)
        self.program = quantize_int8(self.model, self.data.train_x[:256].split(1))
        self.images = self.data.test_x[:, None].numpy()
        self.converted = digits.converted_outputs(self.program, self.data.test_x)
        with torch.no_grad():
            self.floats = self.model(self.data.test_x).numpy()
        self.host: Artifact = dtmm_mlir.compile(self.program)
        self.results = self.host.run(self.images)[:, 0]


@pytest.fixture(scope="module")
def trained() -> Trained:
    return Trained()


def test_pruned_filterlets_are_zeros(trained: Trained) -> None:
    module = ir.Module.parse(ir_after(trained.program, "capture"), create_context())
    weights = [constant_array(op.operands[1]) for op in walk(module, "filterlet.conv_2d")]  # OHWI
    for mask, weight in zip(trained.masks.values(), weights[1:4], strict=True):
        assert weight is not None
        assert weight.dtype == np.int8
        np.testing.assert_array_equal(weight.any(axis=3), mask[:, 0].numpy() > 0)


def test_manifest_counts_the_masks(trained: Trained) -> None:
    layers = trained.host.manifest["layers"]
    assert [layer["total_filterlets"] for layer in layers] == [16 * 9, 16 * 9, 16 * 9, 32 * 9, 10]
    kept = [int(mask.sum()) for mask in trained.masks.values()]
    assert [layer["kept_filterlets"] for layer in layers[1:4]] == kept
    assert all(
        count <= digits.KEPT * mask.numel() + 1 for count, mask in zip(kept, trained.masks.values(), strict=True)
    )


def test_host_equals_torch(trained: Trained) -> None:
    (spec,) = trained.host.manifest["outputs"]
    assert trained.results.dtype == np.int8
    scale, zero_point = spec["quantization"]["scale"], spec["quantization"]["zero_point"]
    expected = np.round(trained.converted / scale) + zero_point
    assert np.abs(trained.results - expected).max() <= 2
    equal = (trained.results.argmax(1) == trained.converted.argmax(1)).mean()
    assert equal >= 0.995
    labels = trained.data.test_y
    accuracy = digits.accuracy(trained.results, labels)
    assert abs(accuracy - digits.accuracy(trained.converted, labels)) <= 0.2
    assert accuracy > 97


@needs_cross_tools
def test_cortex_m55_equals_host(trained: Trained) -> None:
    artifact = dtmm_mlir.compile(trained.program, target="cortex-m55")
    np.testing.assert_array_equal(artifact.run(trained.images)[:, 0], trained.results)


@pytest.mark.parametrize(
    ("phase", "convolution"), [("capture", '"filterlet.conv_2d"'), ("lower", "flow.dispatch @filterlet_")]
)
def test_nothing_is_left_in_float(trained: Trained, phase: str, convolution: str) -> None:
    """On a chip, whose kernels do not requantize in floats either."""
    text = ir_after(trained.program, phase, target="cortex-m55")
    assert text.count(convolution) == 5
    assert "f32" not in text
    assert not re.search(r"tosa\.(conv2d|matmul|depthwise_conv2d)|linalg\.", text)


@pytest.mark.parametrize("target", ["host", pytest.param("cortex-m55", marks=needs_cross_tools)])
def test_float_network_equals_torch(trained: Trained, target: str) -> None:
    artifact = dtmm_mlir.compile(trained.model, target=target, example_inputs=(trained.data.test_x[:1],))
    count = len(trained.images) if target == "host" else 8
    results = artifact.run(trained.images[:count])[:, 0]
    expected = trained.floats[:count]
    assert np.abs(results - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("source", ["net.pt2", "my_models:digits"])
def test_command_line(trained: Trained, dtmm_mlir: Program, tmp_path: Path, source: str) -> None:
    torch.export.save(trained.program, tmp_path / "net.pt2")
    (tmp_path / "my_models.py").write_text(FUNCTION)
    np.save(tmp_path / "x.npy", trained.images[:20])
    compiled = dtmm_mlir("compile", source, "--target", "host", "-o", "out")
    assert compiled.returncode == 0, compiled.stderr
    ran = dtmm_mlir("run", "out", "--input", "x.npy", "--output", "y.npy")
    assert ran.returncode == 0, ran.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy")[:, 0], trained.results[:20])
