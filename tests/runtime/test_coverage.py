"""Every line of the runtime is executed by some test: on the host as gcov tells, the boards' code in QEMU."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from dtmm_mlir.deploy import mcu, project
from dtmm_mlir.targets import Target, get_target
from tests.deploy import networks
from tests.deploy.conftest import need_tools
from tests.runtime.test_runtime import RUNTIME, SOURCES, WARNINGS, needs_host_compiler

Lines = set[tuple[str, int]]
"""Names of files below ``runtime``, and line numbers in them."""

UNREACHABLE = {"for (;;) {", "}"}
"""What follows the request to exit, which does not return; the ends of functions that are left by a jump."""


@needs_host_compiler
def test_runtime_lines(tmp_path: Path) -> None:
    test = Path(__file__).with_name("status.c")
    command = ["gcc", *WARNINGS, "--coverage", f"-I{RUNTIME}/include", test, *SOURCES, "-o", "status"]
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "status"], cwd=tmp_path, check=True, capture_output=True)
    notes = sorted(tmp_path.glob("status-dtmm_*.gcno"))
    assert len(notes) == len(SOURCES)
    gcov = subprocess.run(["gcov", "--json-format", "--stdout", *notes], cwd=tmp_path, check=True, capture_output=True)
    missed = []
    for text in gcov.stdout.splitlines():
        for file in json.loads(text)["files"]:
            missed += [(Path(file["file"]).name, line["line_number"]) for line in file["lines"] if line["count"] == 0]
    assert missed == []


@pytest.mark.parametrize("name", ["cortex-m55", "cortex-m0plus", "riscv32"])
def test_board_lines(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In runs that end well and in all that do not: no file, a short one, a full disk, damage, a fault."""
    target = get_target(name)
    need_tools(target)
    (tmp_path / "variable.c").write_text("int variable = 1;\n")
    variable = (str(tmp_path / "variable.c"), "-Wl,--undefined=variable")  # something for start-up code to copy
    monkeypatch.setattr(project, "CFLAGS", (*project.CFLAGS, "-g", "-O0"))
    monkeypatch.setattr(project, "LINK_FLAGS", (*project.LINK_FLAGS, *variable))
    intact = _image(tmp_path / "intact", target)
    image = networks.image_inputs(1)[0][0]
    runs = [
        (intact, image, "dtmm inferences 1"),
        (intact, None, "dtmm error: inputs.bin"),
        (intact, Path("/sys/devices/system/cpu/online"), "dtmm error: inputs.bin ends early"),
        (intact, (image, "/dev/full"), "dtmm error: outputs.bin cannot be written"),
        (_damaged(intact), image, "dtmm error: the constants are damaged"),
    ]
    monkeypatch.setattr(project, "LINK_FLAGS", (*project.LINK_FLAGS, "-Wl,--defsym=__stack_bytes=256"))
    runs.append((_image(tmp_path / "fault", target), image, "dtmm fault"))
    code: Lines = set()
    executed: Lines = set()
    for number, (path, given, printed) in enumerate(runs):
        addresses, text = _run(path, given, target, tmp_path / f"run{number}")
        assert printed in text
        for line, covered in _lines(path):
            code.add(line)
            if not addresses.isdisjoint(covered):
                executed.add(line)
    missed = sorted(code - executed)
    assert {_source(target, file, line) for file, line in missed} <= UNREACHABLE, missed
    assert len(executed) > 80


def _image(folder: Path, target: Target) -> Path:
    folder.mkdir()
    (folder / "model.mlir").write_text(networks.CONVS)
    mcu.build(folder / "model.mlir", target, folder / "out")
    return folder / "out" / mcu.IMAGE


def _damaged(image: Path) -> Path:
    """A copy with one bit of its constants changed."""
    with image.open("rb") as file:
        elf = ELFFile(file)
        at = elf.get_section_by_name(".symtab").get_symbol_by_name("constants_0")[0]["st_value"]
        offset = next(elf.address_offsets(at))
    data = bytearray(image.read_bytes())
    data[offset] ^= 1
    copy = image.with_name("damaged.elf")
    copy.write_bytes(data)
    return copy


def _run(image: Path, given: object, target: Target, work: Path) -> tuple[set[int], str]:
    """Addresses of all instructions that QEMU translated, which it does ahead of running them; what was printed."""
    work.mkdir()
    if isinstance(given, tuple):
        given, output = given
        (work / "outputs.bin").symlink_to(output)
    if isinstance(given, np.ndarray):
        (work / "inputs.bin").write_bytes(given.tobytes())
    elif isinstance(given, Path):
        (work / "inputs.bin").symlink_to(given)
    assert target.board is not None
    flags = ["-display", "none", "-monitor", "none", "-serial", "none", "-no-reboot", "-d", "in_asm", "-D", "log"]
    command = [*target.board.qemu_command, "-kernel", image, *flags]
    command += ["-semihosting-config", "enable=on,target=native"]
    child = subprocess.run(command, cwd=work, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    addresses = re.findall(r"^0x([0-9a-f]+): ", (work / "log").read_text(), re.MULTILINE)
    return {int(address, 16) for address in addresses}, child.stdout + child.stderr


def _lines(image: Path) -> Iterator[tuple[tuple[str, int], range]]:
    """Lines of the board's code, each with addresses of its instructions; a line may come several times."""
    with image.open("rb") as file:
        dwarf = ELFFile(file).get_dwarf_info()
        for unit in dwarf.iter_CUs():
            name = unit.get_top_DIE().attributes["DW_AT_name"].value.decode()
            if not name.startswith("board/"):
                continue
            before = None
            dropped = False  # a sequence of a function that the linker left out begins at address 0
            for entry in dwarf.line_program_for_CU(unit).get_entries():
                state = entry.state
                if state is None:
                    continue
                if before is None:
                    dropped = state.address == 0
                elif not dropped and state.address > before.address and before.line:
                    yield (name, before.line), range(before.address, state.address)
                before = None if state.end_sequence else state


def _source(target: Target, file: str, line: int) -> str:
    assert target.board is not None
    name = Path(file).name
    folders = [RUNTIME / "boards" / folder for folder in ("common", target.board.family, target.board.machine)]
    path = next(folder / name for folder in folders if (folder / name).exists())
    return path.read_text().splitlines()[line - 1].strip()
