"""The C that is written for a model, on the host: runtime, schedule and kernels under AddressSanitizer and UBSan."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtmm_mlir.compiler import ir_after
from dtmm_mlir.deploy import mcu
from dtmm_mlir.deploy.csource import CSource
from dtmm_mlir.deploy.library import read_library
from dtmm_mlir.targets import HOST, TARGETS, Target
from tests.fuzz.networks import sample
from tests.fuzz.realize import Realized, build_module, realize
from tests.runtime.test_runtime import RUNTIME, WARNINGS, cross_compiler

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

MCUS = [target for target in TARGETS.values() if target.board is not None]
X86 = Target("x86", "x86_64-unknown-linux-gnu", "x86-64", "hard", "generic", 16, 64)
MISUSE = {
    "small": "the arena is too small",
    "empty": "the arena is too small",
    "misaligned": "the arena, an input or an output is not aligned to 64 bytes",
    "no_arena": "the arena, an input or an output is null",
    "no_inputs": "the arena, an input or an output is null",
    "no_outputs": "the arena, an input or an output is null",
    "null_output": "the arena, an input or an output is null",
    "misaligned_output": "the arena, an input or an output is not aligned to 64 bytes",
}


@pytest.fixture(scope="module", params=["generic", HOST.isa] if HOST.isa != "generic" else ["generic"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Realized]]:
    """A folder with the C and the kernels of some networks, the kernels with AddressSanitizer's checks."""
    folder = tmp_path_factory.mktemp("sanitized")
    target = replace(X86, isa=request.param, cpu="x86-64-v3" if request.param == "avx2" else X86.cpu)
    networks = [realize(network, f"n{i}") for i, network in enumerate(sample(21, 7))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TARGETS, "x86", target)
        (folder / "model.mlir").write_text(ir_after(build_module(networks), "lower", "x86"))
    flags = ["--iree-llvmcpu-sanitize=address"]
    schedule = mcu._compile(folder / "model.mlir", target, folder, "model", flags).schedule
    source = CSource("model", schedule, read_library(folder / "model_library.o"))
    (folder / "model.h").write_text(source.header())
    (folder / "model.c").write_text(source.source())
    return folder, networks


def _build(folder: Path, source: Path) -> Path:
    """The program that runs the model of ``folder`` with the schedule ``source``."""
    test = Path(__file__).with_name("sanitized.c")
    runtime = sorted(RUNTIME.glob("src/*.c"))
    program = folder / f"{source.stem}.out"
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"]
    includes = [f"-I{folder}", f"-I{RUNTIME}/include"]
    objects = [folder / "model_library.o", "-lm", "-o", program]
    warnings = [flag for flag in WARNINGS if flag != "-Wpedantic"]
    subprocess.run(["gcc", *warnings, *sanitizers, *includes, test, source, *runtime, *objects], check=True)
    return program


def _run(program: Path, networks: list[Realized]) -> tuple[bytes, dict[str, str]]:
    data = b"".join(np.ascontiguousarray(network.x[0]).tobytes() for network in networks)
    child = subprocess.run([program], input=data, capture_output=True)
    told = child.stderr.decode(errors="replace")
    assert child.returncode == 0, told[:3000]
    return child.stdout, dict(line.split(" ", 1) for line in told.splitlines())


def test_outputs_and_misuse(model: tuple[Path, list[Realized]]) -> None:
    folder, networks = model
    printed, statuses = _run(_build(folder, folder / "model.c"), networks)
    assert statuses == {"init": "ok", "run": "ok", "again": "ok", **MISUSE}
    assert printed == b"".join(network.expected[0].tobytes() for network in networks)


def test_damaged_constants(model: tuple[Path, list[Realized]]) -> None:
    """One bit, and two words exchanged."""
    folder, networks = model
    text = (folder / "model.c").read_text()
    head, words = text.rsplit("= {\n", 1)
    first, second = re.findall(r"0x[0-9a-f]{8}", words)[:2]
    assert first != second
    damages = {
        "flipped": words.replace(first, f"{int(first, 16) ^ 1:#010x}", 1),
        "exchanged": words.replace(f"{first}, {second}", f"{second}, {first}", 1),
    }
    for name, damaged in damages.items():
        assert damaged != words
        (folder / f"{name}.c").write_text(f"{head}= {{\n{damaged}")
        _, statuses = _run(_build(folder, folder / f"{name}.c"), networks)
        assert statuses["init"] == "the constants are damaged"


@pytest.mark.parametrize("target", MCUS, ids=lambda target: target.name)
def test_no_warnings(target: Target, model: tuple[Path, list[Realized]]) -> None:
    """Of the schedule and the runtime, by the compiler of every target."""
    folder, _ = model
    sources = [folder / "model.c", *sorted(RUNTIME.glob("src/*.c"))]
    warnings = [*WARNINGS, "-Wshadow", "-Wstrict-prototypes", "-Wcast-qual", "-fsyntax-only"]
    command = [*cross_compiler(target), *warnings, f"-I{RUNTIME}/include", f"-I{folder}", *map(str, sources)]
    subprocess.run(command, check=True)


@pytest.mark.skipif(shutil.which("cppcheck") is None, reason="needs cppcheck")
def test_cppcheck(model: tuple[Path, list[Realized]]) -> None:
    folder, _ = model
    text = (folder / "model.c").read_text().rsplit("\nstatic const uint32_t constants_0", 1)[0]
    (folder / "schedule.c").write_text(text)  # without the weights, which take long to read
    command = ["cppcheck", "--quiet", "--std=c11", "--error-exitcode=1", "--enable=warning,portability,performance"]
    suppressed = ["--suppress=missingIncludeSystem", "--inline-suppr"]
    sources = [folder / "schedule.c", *sorted(RUNTIME.glob("src/*.c")), *sorted(RUNTIME.glob("boards/*/*.c"))]
    board = f"-I{RUNTIME}/boards/common"
    defines = ['-DDTMM_HEADER="model.h"', "-DDTMM_NAME=model", "-DDTMM_PREFIX=MODEL"]
    command += [*suppressed, f"-I{RUNTIME}/include", f"-I{folder}", board, *defines, *map(str, sources)]
    child = subprocess.run(command, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
