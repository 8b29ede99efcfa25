"""Small TFLite models of many kinds (``tests/models``) against TFLite's reference kernels, bit for bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import dtmm_mlir

pytest.importorskip("tosa_converter_for_tflite")

MODELS = Path(__file__).with_name("models")
CONVOLUTIONS = {"concat": 4, "dwm2": 2, "groups": 5, "mobile": 6, "pads": 3, "twoio": 2}
CROSS_TOOLS = all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm")))


@pytest.mark.parametrize(
    "target", ["host", pytest.param("cortex-m55", marks=pytest.mark.skipif(not CROSS_TOOLS, reason="needs QEMU"))]
)
@pytest.mark.parametrize("name", sorted(CONVOLUTIONS))
def test_equals_reference(name: str, target: str) -> None:
    data = np.load(MODELS / f"{name}.npz")
    artifact = dtmm_mlir.compile(MODELS / f"{name}.tflite", target=target)
    outputs = artifact.execute([data[key] for key in data if key.startswith("input_")]).outputs
    expected = [data[key] for key in data if key.startswith("output_")]
    assert len(outputs) == len(expected)
    for output, reference in zip(outputs, expected, strict=True):
        np.testing.assert_array_equal(output, reference)
    assert len(artifact.manifest["layers"]) == CONVOLUTIONS[name]
