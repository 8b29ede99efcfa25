"""Images that several tests use, built once."""

import shutil
from pathlib import Path

import pytest

from dtmm_mlir.deploy import mcu
from dtmm_mlir.targets import get_target
from tests.deploy import networks

M55 = get_target("cortex-m55")


@pytest.fixture(scope="session")
def convs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, mcu.McuImage]:
    """Folder and figures of the image of ``networks.CONVS``."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("needs arm-none-eabi-gcc")
    folder = tmp_path_factory.mktemp("convs")
    source = folder / "convs.mlir"
    source.write_text(networks.CONVS)
    return folder / "out", mcu.build(source, M55, folder / "out")
