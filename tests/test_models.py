"""DTMM's real pruned models, whole: bit for bit against TFLite's reference kernels, and what they cost."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import dtmm_mlir
from dtmm_mlir.artifact import Artifact
from dtmm_mlir.targets import get_target
from tests.deploy.conftest import need_tools

MODELS = Path(__file__).parents[1] / "examples" / "models"
NAMES = sorted(path.stem for path in MODELS.glob("*.tflite"))
MOST_INSTRUCTIONS = {
    "resnet12_cifar10": 4_200_000,
    "resnet12_vww": 7_900_000,
    "single_conv": 85_000,
    "vgg11_cifar10": 2_720_000,
}
"""On the Cortex-M55, for one inference: a little above what is needed now, so that getting slower is noticed."""

needs_cross_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm"))), reason="needs the cross compiler and QEMU"
)


@pytest.fixture(scope="module")
def m55(request: pytest.FixtureRequest) -> Artifact:
    return dtmm_mlir.compile(MODELS / f"{request.param}.tflite", target="cortex-m55")


@pytest.mark.parametrize("name", NAMES)
def test_host_equals_reference(name: str) -> None:
    data = np.load(MODELS / f"{name}.npz")
    artifact = dtmm_mlir.compile(MODELS / f"{name}.tflite", target="host")
    np.testing.assert_array_equal(artifact.run(data["inputs"]), data["expected"])


@needs_cross_tools
@pytest.mark.parametrize("m55", NAMES, indirect=True)
class TestCortexM55:
    def test_equals_reference(self, m55: Artifact) -> None:
        name = m55.manifest["model"]["name"].removesuffix(".tflite")
        data = np.load(MODELS / f"{name}.npz")
        run = m55.execute(data["inputs"][:3])
        np.testing.assert_array_equal(run.outputs[0], data["expected"][:3])
        assert run.counter == "exact"
        assert run.instructions <= MOST_INSTRUCTIONS[name]

    def test_vectors_stay_in_registers_between_multiplications(self, m55: Artifact) -> None:
        kernels = multiplying_code(m55.dir / "model_library.o")
        layers = [layer["kind"] for layer in m55.manifest["layers"]]
        convs = {name: code for name, code in kernels.items() if layers[int(name.split("_")[1])] == "conv_2d"}
        wide = {name: code for name, code in convs.items() if channels(name) >= 8 and "_table_" in name}
        assert wide or all("_input_stationary_" in name for name in convs)
        for name, code in wide.items():
            assert sum("vmla" in line for line in code) > len(code) * 0.4, name
            assert not any(re.search(r"\tvst\w+\.?\w*\t.*\[sp", line) for line in code), name

    def test_inner_loop_of_input_stationary_kernels_multiplies(self, m55: Artifact) -> None:
        """Each pair of filters adds twice as many products as there are pixels, and spills nothing."""
        for name, code in multiplying_code(m55.dir / "model_library.o").items():
            if "_input_stationary_" not in name:
                continue
            pairs = [i for i, line in enumerate(code) if re.search(r"\tldrd\tr5, fp, \[r1\], #8", line)]
            rounds = [i for i, line in enumerate(code) if re.search(r"\tldr\.w\tr5, \[r1\], #4", line)]
            assert pairs
            for start in pairs:
                pair = code[start : min((i for i in (*pairs, *rounds) if i > start), default=len(code))]
                products = sum("vmla" in line for line in pair)
                assert products, name
                assert products % 2 == 0, name
                assert products >= len(pair) - 11, name
                assert not any("[sp" in line for line in pair), name

    def test_manifest_matches_the_linked_image(self, m55: Artifact, tmp_path: Path) -> None:
        symbols = sizes_of_symbols(m55.dir / "firmware.elf")
        assert symbols["arena"] == m55.manifest["arena_bytes"]
        binary = tmp_path / "firmware.bin"
        subprocess.run(["arm-none-eabi-objcopy", "-O", "binary", m55.dir / "firmware.elf", binary], check=True)
        assert m55.manifest["memory"]["firmware_flash"] == binary.stat().st_size
        assert m55.manifest["flash_bytes"] < binary.stat().st_size

    def test_small_kernels(self, m55: Artifact) -> None:
        """``size`` keeps each kernel's code within 1.5 KB, and the image within the balanced one."""
        small = dtmm_mlir.compile(MODELS / m55.manifest["model"]["name"], target="cortex-m55", optimize="size")
        symbols = sizes_of_symbols(small.dir / "firmware.elf")
        code = {name: size for name, size in symbols.items() if re.match(r"filterlet_\d+_[a-z_]+_\d", name)}
        assert len(code) >= 1
        assert max(code.values()) <= 1536, code
        assert small.manifest["flash_bytes"] <= m55.manifest["flash_bytes"]


@pytest.mark.parametrize("target", ["cortex-m33", "cortex-m7", "cortex-m4", "cortex-m3", "cortex-m0plus", "riscv32"])
def test_other_microcontrollers_equal_reference(target: str) -> None:
    need_tools(get_target(target))
    data = np.load(MODELS / "single_conv.npz")
    artifact = dtmm_mlir.compile(MODELS / "single_conv.tflite", target=target)
    run = artifact.execute(data["inputs"][0])
    np.testing.assert_array_equal(run.outputs[0], data["expected"][0])
    assert run.instructions


def test_manifest_lists_kept_filterlets() -> None:
    artifact = dtmm_mlir.compile(MODELS / "resnet12_cifar10.tflite", target="host")
    counts = [(layer["kept_filterlets"], layer["total_filterlets"]) for layer in artifact.manifest["layers"]]
    sparse = [pair for pair in counts if pair[0] != pair[1]]
    assert sparse[:5] == [(164, 279), (227, 270), (258, 279), (380, 477), (476, 477)]
    assert (383, 1134) in sparse
    assert len(counts) == 13


def test_manifest_lists_removed_channels() -> None:
    """The second layer of VGG-11 has no weights for five channels; the manifest describes the model's layers."""
    first, second, *others = dtmm_mlir.compile(MODELS / "vgg11_cifar10.tflite", target="host").manifest["layers"]
    assert first["removed_filters"] == second["removed_channels"] == [4, 6, 22, 26, 27]
    assert first["removed_channels"] == second["removed_filters"] == []
    assert (first["kept_filterlets"], first["total_filterlets"]) == (252, 252)
    assert first["output_shape"] == second["input_shape"] == [1, 32, 32, 28]
    assert not any(layer["removed_filters"] or layer["removed_channels"] for layer in others)


def multiplying_code(library: Path) -> dict[str, list[str]]:
    """The listing of each of our kernels from its first ``vmladava`` or ``vmladav`` to its last one."""
    command = ["arm-none-eabi-objdump", "-d", "-m", "armv8.1-m.main", library]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    kernels = {}
    for function in re.split(r"\n(?=[0-9a-f]+ <)", listing):
        name = re.match(r"[0-9a-f]+ <(filterlet_\d+_\w+_\d+x\d+_\d+x\d+)>", function)
        if name is None:
            continue
        lines = function.splitlines()
        places = [i for i, line in enumerate(lines) if re.search(r"\tvmla(da)?va?\.s8", line)]
        kernels[name[1]] = lines[places[0] : places[-1] + 1] if places else []
    return kernels


def channels(kernel: str) -> int:
    """Input channels, from a kernel's name: ``filterlet_3_table_3x3_31x53`` has 31."""
    return int(kernel.rpartition("_")[2].split("x")[0])


def sizes_of_symbols(image: Path) -> dict[str, int]:
    command = ["arm-none-eabi-nm", "--print-size", "--radix=d", image]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in printed.splitlines())
    return {row[3]: int(row[1]) for row in rows if len(row) == 4}
