"""The C runtime: its checks and steps on the host, its size and its board files for the target."""

import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from dtmm_mlir.targets import TARGETS, Target

RUNTIME = Path(str(files("dtmm_mlir").joinpath("runtime")))
SOURCES = sorted(map(str, RUNTIME.glob("src/*.c")))
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wundef", "-Wpedantic"]
BOARDS = [target.board for target in TARGETS.values() if target.board is not None]

needs_host_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
FAMILIES = [TARGETS["cortex-m55"], TARGETS["riscv32"]]
BOARD_SOURCES = [
    (target, path)
    for target in FAMILIES
    for folder in ("common", target.board.family)
    for path in sorted((RUNTIME / "boards" / folder).glob("*.c"))
]


@pytest.fixture(scope="module")
def statuses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    program = tmp_path_factory.mktemp("status") / "status"
    test = Path(__file__).with_name("status.c")
    include = f"-I{RUNTIME}/include"
    command = ["gcc", *WARNINGS, "-fsanitize=undefined", "-g", include, str(test), *SOURCES, "-o", str(program)]
    subprocess.run(command, check=True)
    printed = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    return dict(line.split(" ", 1) for line in printed.splitlines())


@needs_host_compiler
@pytest.mark.parametrize(
    ("case", "status"),
    [
        ("intact", "ok"),
        ("null_arena", "the arena, an input or an output is null"),
        ("null_output", "the arena, an input or an output is null"),
        ("misaligned_arena", "the arena, an input or an output is not aligned to 64 bytes"),
        ("misaligned_input", "the arena, an input or an output is not aligned to 64 bytes"),
        ("small_arena", "the arena is too small"),
        ("no_library", "the library has another ABI version than 6"),
        ("wrong_version", "the library has another ABI version than 6"),
        ("imports", "the library needs imports or constants"),
        ("library_constants", "the library needs imports or constants"),
        ("export_count", "the library has another number of dispatches than the schedule"),
        ("ordinal", "the library has another number of dispatches than the schedule"),
        ("binding_count", "a dispatch takes another number of bindings than the schedule gives"),
        ("constant_count", "a dispatch takes another number of constants than the schedule gives"),
        ("local_memory", "a dispatch wants more local memory than the arena reserves"),
        ("failing_dispatch", "a dispatch failed"),
        ("sums", "ok"),
        ("wrong_sum", "the constants are damaged"),
        ("wrong_sum_of_sums", "the constants are damaged"),
        ("unknown", "unknown status"),
    ],
)
def test_status(statuses: dict[str, str], case: str, status: str) -> None:
    assert statuses[case] == status


@needs_host_compiler
def test_all_workgroups_run_once_with_their_arguments(statuses: dict[str, str]) -> None:
    assert statuses["outputs"] == "5 6 7 8 9 10 in 6 calls"


@needs_host_compiler
def test_a_failing_workgroup_is_the_last(statuses: dict[str, str]) -> None:
    assert statuses["stopped"] == "after 4 calls"


@needs_host_compiler
def test_fill_and_copy(statuses: dict[str, str]) -> None:
    assert statuses["0"] == "255 255 255 255 255 255 0 1 2 3 4 1 2 3 4 0 | 1 2 3"


def cross_compiler(target: Target) -> list[str]:
    """The target's compiler and core flags; skips the test where it is missing."""
    compiler = f"{target.cross_prefix}gcc"
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    assert target.board is not None
    return [compiler, *target.board.gcc_flags]


@pytest.mark.parametrize("target", FAMILIES, ids=lambda target: target.name)
def test_runtime_is_clean_and_small(target: Target, tmp_path: Path) -> None:
    command = [*cross_compiler(target), *WARNINGS, "-Os", f"-I{RUNTIME}/include", "-c", *SOURCES]
    subprocess.run(command, check=True, cwd=tmp_path)
    objects = [str(path) for path in tmp_path.glob("*.o")]
    printed = subprocess.run([f"{target.cross_prefix}size", "-t", *objects], check=True, capture_output=True, text=True)
    text, data, bss, *_ = printed.stdout.splitlines()[-1].split()
    assert int(text) <= 2048
    assert (data, bss) == ("0", "0"), "the runtime has variables"


@pytest.mark.parametrize(("target", "path"), BOARD_SOURCES, ids=[f"{t.name}-{p.stem}" for t, p in BOARD_SOURCES])
def test_board_code_has_no_warnings(target: Target, path: Path, tmp_path: Path) -> None:
    (tmp_path / "model.h").write_text(
        '#include "dtmm/runtime.h"\n'
        "#define M_ARENA_BYTES 64u\n"
        "#define M_INPUT_COUNT 1\n#define M_INPUT_BYTES {4}\n#define M_INPUT_TOTAL_BYTES 64u\n"
        "#define M_OUTPUT_COUNT 1\n#define M_OUTPUT_BYTES {4}\n#define M_OUTPUT_TOTAL_BYTES 64u\n"
        "dtmm_status_t m_init(void *, size_t);\n"
        "dtmm_status_t m_run(void *, size_t, const void *const *, void *const *);\n"
    )
    includes = [RUNTIME / "include", RUNTIME / "boards/common", tmp_path]
    defines = ['-DDTMM_HEADER="model.h"', "-DDTMM_NAME=m", "-DDTMM_PREFIX=M", *(f"-I{folder}" for folder in includes)]
    warnings = [flag for flag in WARNINGS if flag != "-Wpedantic"]  # start-up code needs extensions
    command = [*cross_compiler(target), *warnings, "-Os", *defines, "-c", str(path), "-o", "board.o"]
    subprocess.run(command, check=True, cwd=tmp_path)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.machine)
def test_linker_script_and_target_agree(board) -> None:
    script = (RUNTIME / "boards" / board.machine / "link.ld").read_text()
    units = {"K": 1 << 10, "M": 1 << 20}
    regions = {
        name: (int(origin, 16), int(length) * units[unit])
        for name, origin, length, unit in re.findall(
            r"(\w+) \(\w+\)\s*: ORIGIN = (0x[0-9a-f]+), LENGTH = (\d+)([KM])", script
        )
    }
    assert regions == {
        "FLASH": (board.flash.origin, board.flash.length),
        "RAM": (board.ram.origin, board.ram.length),
    }
