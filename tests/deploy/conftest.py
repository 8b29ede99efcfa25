"""Images that several tests use, built once."""

import shutil
from pathlib import Path

import pytest

from dtmm_mlir.deploy import mcu
from dtmm_mlir.targets import Target, get_target
from tests.deploy import networks

M55 = get_target("cortex-m55")


FAMILIES = ["cortex-m55", "riscv32"]
"""A target of each family of processors: each has its own start-up code, compiler and QEMU."""


def need_tools(target: Target) -> None:
    """Skips the test where the target's compiler or QEMU is missing."""
    assert target.board is not None
    for program in (f"{target.cross_prefix}gcc", target.board.qemu):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


@pytest.fixture(scope="session")
def convs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, mcu.McuImage]:
    """Folder and figures of the image of ``networks.CONVS``, for the Cortex-M55 or the target given as parameter."""
    target = get_target(getattr(request, "param", M55.name))
    need_tools(target)
    folder = tmp_path_factory.mktemp("convs")
    source = folder / "convs.mlir"
    source.write_text(networks.CONVS)
    return folder / "out", mcu.build(source, target, folder / "out")
