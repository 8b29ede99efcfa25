"""Images for a microcontroller."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from dtmm_mlir import iree_compile
from dtmm_mlir.deploy import mcu, qemu
from dtmm_mlir.deploy.library import read_library
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.targets import HOST, get_target
from tests.deploy import networks
from tests.deploy.conftest import FAMILIES, M55

Convs = tuple[Path, mcu.McuImage]


def _write(folder: Path, text: str) -> Path:
    path = folder / "model.mlir"
    path.write_text(text)
    return path


def _sections(path: Path, prefix: str) -> dict[str, bytes]:
    with path.open("rb") as file:
        return {s.name: s.data() for s in ELFFile(file).iter_sections() if s.name.startswith(prefix)}


def test_folder_is_complete(convs: Convs) -> None:
    folder, _ = convs
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "Makefile",
        "README.md",
        "board",
        "dtmm",
        "firmware.elf",
        "firmware.json",
        "model.c",
        "model.cmake",
        "model.h",
        "model.vmfb",
        "model_library.h",
        "model_library.o",
    }


def test_figures(convs: Convs) -> None:
    folder, image = convs
    header = dict(re.findall(r"#define (\w+) (\d+)u", (folder / "model.h").read_text()))
    assert int(header["MODEL_ARENA_BYTES"]) == image.arena
    assert int(header["MODEL_INPUT_0_BYTES"]) == 8 * 8 * 4
    assert int(header["MODEL_OUTPUT_0_BYTES"]) == 6 * 6 * 5
    assert image.buffers == 8 * 8 * 4 + 6 * 6 * 5
    assert image.constants > 2 * 3 * 3 * 4 * 8
    assert image.constants == int(header["MODEL_CONSTANT_BYTES"])
    assert 0 < image.runtime <= 2048
    assert image.flash < image.firmware_flash < image.flash + 4096
    assert image.arena + image.stack < image.firmware_ram


def test_library_is_the_one_that_a_single_compilation_makes(convs: Convs, tmp_path: Path) -> None:
    folder, _ = convs
    flag = f"--iree-llvmcpu-static-library-output-path={tmp_path}/model_library.o"
    iree_compile.run(folder.parent / "convs.mlir", tmp_path / "model.vmfb", [*M55.iree_flags(), flag])
    code = _sections(tmp_path / "model_library.o", ".text.main_dispatch")
    assert code
    assert code == _sections(folder / "model_library.o", ".text.main_dispatch")


def test_builds_are_reproducible(convs: Convs, tmp_path: Path) -> None:
    folder, image = convs
    again = mcu.build(_write(tmp_path, networks.CONVS), M55, tmp_path / "again")
    assert again == image
    folders = folder, tmp_path / "again"
    names = [sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file()) for root in folders]
    assert names[0] == names[1]
    for name in names[0]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


@pytest.mark.parametrize("convs", FAMILIES, indirect=True)
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_makefile_builds_the_same_image(convs: Convs, tmp_path: Path) -> None:
    folder, _ = convs
    shutil.copytree(folder, tmp_path / "out")
    (tmp_path / "out" / "firmware.elf").unlink()
    subprocess.run(["make", "-s", "-C", str(tmp_path / "out")], check=True)
    assert (tmp_path / "out" / "libmodel.a").exists()
    for name in (".kernels", ".runtime", ".constants", ".schedule", ".text"):
        assert _sections(tmp_path / "out" / "firmware.elf", name) == _sections(folder / "firmware.elf", name)


def test_header_compiles_as_cxx(convs: Convs, tmp_path: Path) -> None:
    folder, _ = convs
    (tmp_path / "main.cpp").write_text('#include "model.h"\nint main() { return model_init(nullptr, 0); }\n')
    include = [f"-I{folder}", f"-I{folder}/dtmm/include"]
    command = ["arm-none-eabi-gcc", "-xc++", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", *include, "main.cpp"]
    if shutil.which("arm-none-eabi-g++") is None:
        pytest.skip("needs arm-none-eabi-g++")
    subprocess.run(command, check=True, cwd=tmp_path)


def test_name(convs: Convs, tmp_path: Path) -> None:
    mcu.build(_write(tmp_path, networks.SEVERAL), M55, tmp_path / "out", name="sums")
    assert "dtmm_status_t sums_run(" in (tmp_path / "out" / "sums.h").read_text()
    assert read_library(tmp_path / "out" / "sums_library.o").query == "sums_linked_library_query"
    assert (tmp_path / "out" / "sums.vmfb").exists()


def test_a_name_must_be_an_identifier(tmp_path: Path) -> None:
    with pytest.raises(DtmmError, match="must be a C identifier"):
        mcu.build(_write(tmp_path, networks.CONVS), M55, tmp_path / "out", name="my-model")


def test_a_target_without_a_board_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DtmmError, match="'host' has no board"):
        mcu.build(_write(tmp_path, networks.CONVS), HOST, tmp_path / "out")


@pytest.mark.parametrize(
    ("target", "packages"),
    [
        ("cortex-m55", "gcc-arm-none-eabi libnewlib-arm-none-eabi"),
        ("riscv32", "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf"),
    ],
)
def test_missing_compiler_names_the_package(
    target: str, packages: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DtmmError, match=f"apt install {packages}"):
        mcu.build(_write(tmp_path, networks.CONVS), get_target(target), tmp_path / "out")


def test_an_error_of_iree_keeps_its_place(convs: Convs, tmp_path: Path) -> None:
    with pytest.raises(DtmmError, match=r"model\.mlir:2:3: iree-compile failed"):
        mcu.build(_write(tmp_path, "func.func @main() {\n  nonsense\n}\n"), M55, tmp_path / "out")


def test_a_model_without_dispatches_is_an_error(convs: Convs, tmp_path: Path) -> None:
    text = "func.func @main(%x: tensor<4xi8>) -> tensor<4xi8> {\n  return %x : tensor<4xi8>\n}\n"
    with pytest.raises(DtmmError, match="computes nothing"):
        mcu.build(_write(tmp_path, text), M55, tmp_path / "out")


def _table(size: int) -> str:
    """A model with a constant of ``size`` bytes and an input of as many."""
    data = np.random.default_rng(0).integers(0, 256, size, np.uint8).tobytes().hex()
    tensor = f"tensor<{size}xi8>"
    constant = f'dense<"0x{data}"> : {tensor}'
    return (
        f"func.func @main(%x: {tensor}) -> {tensor} {{\n  %k = arith.constant {constant}\n"
        f"  %y = arith.addi %x, %k : {tensor}\n  return %y : {tensor}\n}}\n"
    )


def test_a_model_that_does_not_fit_is_an_error(convs: Convs, tmp_path: Path) -> None:
    message = (
        r"does not fit mps3-an547: flash of 524,288 bytes is too small by [\d,]+ bytes \(constants alone take 600,\d+"
    )
    with pytest.raises(DtmmError, match=message):
        mcu.build(_write(tmp_path, _table(600_000)), M55, tmp_path / "out")


def test_dispatches_of_the_schedule_and_the_library_must_agree(convs: Convs) -> None:
    library = read_library(convs[0] / "model_library.o")
    with pytest.raises(DtmmError, match="0 functions called 'missing'"):
        library.ordinal("missing")


def test_other_files_are_no_libraries(convs: Convs, tmp_path: Path) -> None:
    (tmp_path / "text.o").write_text("no object file")
    for path in (convs[0] / "firmware.elf", tmp_path / "text.o"):
        with pytest.raises(DtmmError, match="not understood"):
            read_library(path)


def test_iree_header_and_readme_name_the_query_function(convs: Convs) -> None:
    folder, _ = convs
    query = read_library(folder / "model_library.o").query
    assert query in (folder / "model_library.h").read_text()
    assert query in (folder / "README.md").read_text()


def test_marks_are_in_the_image(convs: Convs) -> None:
    record = qemu._read_record(convs[0])
    assert {"dtmm_inference_begin", "dtmm_inference_end", "dtmm_call"} <= set(record["marks"])
