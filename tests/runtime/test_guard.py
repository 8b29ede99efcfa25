"""An inference reads and writes its own memory and nothing else: every access is looked at, byte for byte, in QEMU."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

import dtmm_mlir
from dtmm_mlir.deploy.mcu import IMAGE, RECORD
from dtmm_mlir.targets import get_target
from tests.fuzz.networks import sample
from tests.fuzz.realize import build_module, realize
from tests.kernels import cases, convolutions, int8
from tests.kernels.convolutions import Case, Sample
from tests.kernels.test_int8 import BATCHES

_ALIGNMENT = 64

TARGETS = ("cortex-m55", "cortex-m4", "cortex-m0plus")


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin ``guard.c``."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    path = tmp_path_factory.mktemp("guard") / "guard.so"
    source = Path(__file__).with_name("guard.c")
    subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O2", source, "-o", path], check=True)
    return path


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    """A target whose tools there are."""
    board = get_target(request.param).board
    assert board is not None
    if shutil.which(board.qemu) is None or shutil.which(f"{get_target(request.param).cross_prefix}gcc") is None:
        pytest.skip(f"needs the tools of {request.param}")
    return request.param


def test_accesses(target: str, plugin: Path, tmp_path: Path) -> None:
    networks = [realize(network, f"n{i}") for i, network in enumerate(sample(11, 7))]
    artifact = dtmm_mlir.compile(build_module(networks), target, out=tmp_path / "out")
    inputs = [network.x[0] for network in networks]
    reads, writes = _ranges(artifact.dir)
    assert _violations(artifact.dir, plugin, tmp_path, inputs, reads, writes) == []
    # The guard sees what it has to: without their last bytes inputs are read too far, and outputs written.
    found = _violations(artifact.dir, plugin, tmp_path, inputs, _shorter(reads, len(networks)), writes)
    assert any(line.endswith(" r") for line in found)
    found = _violations(artifact.dir, plugin, tmp_path, inputs, reads, _shorter(writes, len(networks)))
    assert any(line.endswith(" w") for line in found)


@pytest.mark.parametrize("batch", BATCHES)
def test_accesses_of_additions_and_pools(batch: str, target: str, plugin: Path, tmp_path: Path) -> None:
    """Their inputs and outputs are the model's, with nothing around them that may be read or written."""
    artifact = dtmm_mlir.compile(int8.build_module(BATCHES[batch]), target, out=tmp_path / "out")
    inputs = [x for sample in BATCHES[batch] for x in sample.inputs]
    assert _violations(artifact.dir, plugin, tmp_path, inputs, *_ranges(artifact.dir)) == []


def _is_alone(case: Case) -> bool:
    """Whether blocks may have fewer rows in the end, or padding is skipped while the input itself is read."""
    g, plan = case.geometry, case.plan
    return plan is not None and (g.oh % plan.pixel_rows > 0 or (plan.skips_columns and g.c % 16 == 0))


ALONE = [case for case in (*cases.OF_TARGET["cortex-m55"], *cases.SLIDING) if _is_alone(case)]


@pytest.mark.parametrize(
    ("target", "special"),
    [
        *((target, [*cases.BATCHES["depthwise"], *cases.OF_TARGET[target]]) for target in TARGETS),
        ("cortex-m55", cases.SLIDING),
    ],
    indirect=["target"],
    ids=[*TARGETS, "sliding"],
)
def test_accesses_of_special_kernels(target: str, special: list[Case], plugin: Path, tmp_path: Path) -> None:
    """Of depthwise convolutions, and of what only single targets compute."""
    samples = [Sample.of(case) for case in special if case not in ALONE]
    artifact = dtmm_mlir.compile(convolutions.build_module(samples), target, out=tmp_path / "out")
    inputs = [sample.x for sample in samples]
    assert _violations(artifact.dir, plugin, tmp_path, inputs, *_ranges(artifact.dir)) == []


@pytest.mark.parametrize("target", ["cortex-m55"], indirect=True)
@pytest.mark.parametrize("case", ALONE, ids=[str(case.geometry) for case in ALONE])
def test_accesses_of_single_convolutions(case: Case, target: str, plugin: Path, tmp_path: Path) -> None:
    """A model's only input and output, with nothing around them."""
    sample = Sample.of(case)
    artifact = dtmm_mlir.compile(convolutions.build_module([sample]), target, out=tmp_path / "out")
    assert _violations(artifact.dir, plugin, tmp_path, [sample.x], *_ranges(artifact.dir)) == []


Ranges = list[tuple[int, int]]


def _ranges(out: Path) -> tuple[Ranges, Ranges]:
    """What an inference may read, the inputs last; and what it may write and read, the outputs last."""
    record = json.loads((out / RECORD).read_text())
    with (out / IMAGE).open("rb") as file:
        elf = ELFFile(file)
        symbols = {s.name: (s["st_value"], s["st_size"]) for s in elf.get_section_by_name(".symtab").iter_symbols()}
        sections = {s.name: (s["sh_addr"], s["sh_addr"] + s["sh_size"]) for s in elf.iter_sections()}
    code = [sections[name] for name in (".kernels", ".runtime", ".schedule", ".text")]
    constants = [(at, at + size) for name, (at, size) in symbols.items() if name.startswith("constants_")]
    arena, arena_size = symbols["arena"]
    stack = (symbols["__stack_limit"][0], symbols["__stack_top"][0])
    return (
        [*code, *constants, *_buffers(symbols["input_memory"][0], record["inputs"])],
        [stack, (arena, arena + arena_size), *_buffers(symbols["output_memory"][0], record["outputs"])],
    )


def _buffers(at: int, tensors: list[dict[str, int]]) -> Ranges:
    """As the harness lays them out."""
    ranges = []
    for tensor in tensors:
        ranges.append((at, at + tensor["bytes"]))
        at += -(-tensor["bytes"] // _ALIGNMENT) * _ALIGNMENT
    return ranges


def _shorter(ranges: Ranges, count: int) -> Ranges:
    """``ranges``, the last ``count`` of them without their last bytes."""
    return [*ranges[:-count], *((low, high - 1) for low, high in ranges[-count:])]


def _violations(
    out: Path, plugin: Path, work: Path, inputs: list[np.ndarray], reads: Ranges, writes: Ranges
) -> list[str]:
    """Accesses outside the ranges, as the plugin writes them."""
    record = json.loads((out / RECORD).read_text())
    (work / "inputs.bin").write_bytes(b"".join(np.ascontiguousarray(x).tobytes() for x in inputs))
    shutil.copy(plugin, work / "guard.so")
    arguments = [
        "./guard.so",
        "out=accesses.txt",
        f"begin={record['marks']['dtmm_inference_begin']:#x}",
        f"end={record['marks']['dtmm_inference_end']:#x}",
        *(f"read={low:#x}:{high:#x}" for low, high in reads),
        *(f"write={low:#x}:{high:#x}" for low, high in writes),
    ]
    board = get_target(record["target"]).board
    assert board is not None
    flags = ["-display", "none", "-monitor", "none", "-serial", "none", "-no-reboot"]
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    command = [*board.qemu_command, "-kernel", str(out / IMAGE), *flags, *semihosting, "-plugin", ",".join(arguments)]
    child = subprocess.run(command, cwd=work, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    if "plugin" in child.stdout + child.stderr:
        pytest.skip("this QEMU has no plugins")
    assert child.returncode == 0, child.stdout + child.stderr
    *lines, last = (work / "accesses.txt").read_text().splitlines()
    assert int(last.removeprefix("accesses ")) > 100
    return lines
