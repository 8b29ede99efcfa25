"""Runs lit, so that plain ``pytest`` runs every test there is: one test per folder."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FOLDERS = sorted({path.parent.relative_to(HERE) for path in HERE.rglob("*.mlir") if "Inputs" not in path.parts})


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_filecheck(folder: Path, tmp_path: Path) -> None:
    files = [str(path) for path in sorted((HERE / folder).glob("*.mlir"))]
    main = "import sys; from lit.main import main; main()"
    command = [sys.executable, "-c", main, "-v", "-j2", f"--param=out={tmp_path}", *files]
    child = subprocess.run(command, capture_output=True, text=True)
    assert child.returncode == 0, child.stdout + child.stderr
