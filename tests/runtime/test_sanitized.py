"""The C that is written for a model, on the host: runtime, schedule and kernels under AddressSanitizer and UBSan."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from iree.compiler import ir

from dtmm_mlir.targets import HOST, TARGETS, Target
from tests.fuzz.networks import sample
from tests.fuzz.realize import Realized, build_module, realize
from tests.kernels.cases import PIXEL_LANES
from tests.kernels.convolutions import Sample
from tests.kernels.convolutions import build_module as build_convolutions
from tests.runtime.programs import link, write_model
from tests.runtime.test_runtime import RUNTIME, WARNINGS, cross_compiler

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

MCUS = [target for target in TARGETS.values() if target.board is not None]
X86 = Target("x86", "x86_64-unknown-linux-gnu", "x86-64", "hard", "generic", 16, 64)
CPUS = {"generic": "x86-64", "avx2": "x86-64-v3", "avxvnni": "alderlake", "avx512vnni": "cascadelake"}
"""By instruction set."""
ISAS = [isa for isa in CPUS if isa in ("generic", HOST.isa) or (isa == "avx2" and HOST.isa.startswith("avx"))]
"""Those that this machine has."""
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


@pytest.fixture(scope="module", params=ISAS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Realized]]:
    """A folder with the C and the kernels of some networks, the kernels with AddressSanitizer's checks."""
    folder = tmp_path_factory.mktemp("sanitized")
    networks = [realize(network, f"n{i}") for i, network in enumerate(sample(21, 7))]
    _write_model(folder, build_module(networks), request.param)
    return folder, networks


def _write_model(folder: Path, module: ir.Module, isa: str) -> None:
    write_model(folder, module, replace(X86, isa=isa, cpu=CPUS[isa]), ["--iree-llvmcpu-sanitize=address"])


def _build(folder: Path, source: Path) -> Path:
    """The program that runs the model of ``folder`` with the schedule ``source``."""
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"]
    return link(folder, source, ["gcc", *(flag for flag in WARNINGS if flag != "-Wpedantic"), *sanitizers])


def _run(program: Path, inputs: list[np.ndarray]) -> tuple[bytes, dict[str, str]]:
    data = b"".join(np.ascontiguousarray(x).tobytes() for x in inputs)
    child = subprocess.run([program], input=data, capture_output=True)
    told = child.stderr.decode(errors="replace")
    assert child.returncode == 0, told[:3000]
    return child.stdout, dict(line.split(" ", 1) for line in told.splitlines())


def test_outputs_and_misuse(model: tuple[Path, list[Realized]]) -> None:
    folder, networks = model
    printed, statuses = _run(_build(folder, folder / "model.c"), [network.x[0] for network in networks])
    assert statuses == {"init": "ok", "run": "ok", "again": "ok", **MISUSE}
    assert printed == b"".join(network.expected[0].tobytes() for network in networks)


@pytest.mark.parametrize("isa", ISAS[1:])
@pytest.mark.parametrize("cases", [slice(None), slice(3, 4), slice(8, 9), slice(15, 16)], ids=str)
def test_pixel_lanes_stay_within_their_buffers(cases: slice, isa: str, tmp_path: Path) -> None:
    """All in one arena, and some in one of their own."""
    samples = [Sample.of(case) for case in PIXEL_LANES[cases]]
    _write_model(tmp_path, build_convolutions(samples), isa)
    printed, statuses = _run(_build(tmp_path, tmp_path / "model.c"), [sample.x for sample in samples])
    assert statuses["run"] == "ok"
    assert printed == b"".join(sample.expected.tobytes() for sample in samples)


def test_damaged_constants(model: tuple[Path, list[Realized]]) -> None:
    """One bit, and two words exchanged."""
    folder, networks = model
    text = (folder / "model.c").read_text()
    at = text.index("constants_0[")
    head, words = text[:at], text[at:]
    pairs = re.findall(r"(0x[0-9a-f]{8}), (?=(0x[0-9a-f]{8}))", words)
    first, second = next(pair for pair in pairs if pair[0] != pair[1])
    damages = {
        "flipped": words.replace(first, f"{int(first, 16) ^ 1:#010x}", 1),
        "exchanged": words.replace(f"{first}, {second}", f"{second}, {first}", 1),
    }
    for name, damaged in damages.items():
        assert damaged != words
        (folder / f"{name}.c").write_text(head + damaged)
        _, statuses = _run(_build(folder, folder / f"{name}.c"), [network.x[0] for network in networks])
        assert statuses["init"] == "the constants are damaged"


@pytest.mark.parametrize("target", MCUS, ids=lambda target: target.name)
def test_no_warnings(target: Target, model: tuple[Path, list[Realized]]) -> None:
    """Of the schedule and the runtime, by the compiler of every target."""
    folder, _ = model
    sources = [folder / "model.c", *sorted(RUNTIME.glob("src/*.c"))]
    warnings = [*WARNINGS, "-Wshadow", "-Wstrict-prototypes", "-Wcast-qual", "-fsyntax-only"]
    command = [*cross_compiler(target), *warnings, f"-I{RUNTIME}/include", f"-I{folder}", *map(str, sources)]
    subprocess.run(command, check=True)


def _analyser(name: str) -> str:
    """The program of that name, from a Python package or the system."""
    beside = Path(sys.executable).with_name(name)
    path = str(beside) if beside.exists() else shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}")
    return path


def _schedule(folder: Path) -> Path:
    """The generated C without the weights, which take analysers long to read."""
    text = (folder / "model.c").read_text().rsplit("\nstatic const uint32_t constants_0", 1)[0]
    (folder / "schedule.c").write_text(text)
    return folder / "schedule.c"


def _definitions(folder: Path) -> list[str]:
    includes = [f"-I{path}" for path in (RUNTIME / "include", RUNTIME / "boards/common", folder)]
    return [*includes, '-DDTMM_HEADER="model.h"', "-DDTMM_NAME=model", "-DDTMM_PREFIX=MODEL"]


def test_cppcheck(model: tuple[Path, list[Realized]]) -> None:
    folder, _ = model
    boards = [path for path in RUNTIME.glob("boards/*/*.c") if path.name != "request.c"]  # which is all assembly
    sources = [_schedule(folder), *sorted(RUNTIME.glob("src/*.c")), *sorted(boards)]
    command = [_analyser("cppcheck"), "--quiet", "--std=c11", "--error-exitcode=1", "--inline-suppr"]
    command += ["--enable=warning,portability,performance", "--suppress=missingIncludeSystem"]
    child = subprocess.run([*command, *_definitions(folder), *map(str, sources)], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr


def _clang_tidy(sources: list[Path], flags: list[str], but: str = "") -> subprocess.CompletedProcess[str]:
    """``but``: checks to leave out besides those that the configuration does."""
    configuration = f"--config-file={Path(__file__).parent.parent.parent / '.clang-tidy'}"
    command = [_analyser("clang-tidy"), "--quiet", configuration, f"--checks={but}", *map(str, sources), "--"]
    return subprocess.run([*command, "-std=c11", *flags], capture_output=True, text=True)


BOARD_NEEDS = (
    "-portability-no-assembler,"  # start-up code sets up the processor
    "-bugprone-reserved-identifier,-cert-dcl37-c,-cert-dcl51-cpp,"  # symbols of linker scripts
    "-misc-use-internal-linkage,"  # and for them, and marks that a counter looks for
    "-clang-analyzer-core.FixedAddressDereference"  # registers
)


@pytest.mark.parametrize(
    ("sources", "flags", "but"),
    [
        ("src/*.c", [], ""),
        ("boards/common/*.c", [], BOARD_NEEDS),
        ("boards/cortex-m/*.c", ["--target=thumbv8.1m.main-none-eabi", "-ffreestanding"], BOARD_NEEDS),
        ("boards/riscv/*.c", ["--target=riscv32-none-elf", "-ffreestanding"], BOARD_NEEDS),
    ],
)
def test_clang_tidy(sources: str, flags: list[str], but: str, model: tuple[Path, list[Realized]]) -> None:
    folder, _ = model
    generated = [] if but else [_schedule(folder)]
    paths = [*generated, *sorted(RUNTIME.glob(sources))]
    child = _clang_tidy(paths, [*flags, *_definitions(folder)], but)
    assert child.returncode == 0, child.stdout


def test_clang_tidy_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "bad.c").write_text("int bad(int *p) { int *q = 0; return p ? *q : 0; }\n")
    assert "clang-analyzer-core.NullDereference" in _clang_tidy([tmp_path / "bad.c"], []).stdout
