"""Every block of code in the documentation runs: page by page, in order, in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import tutorial

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)

RUN = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
ELSEWHERE = {"mlir"}
"""Languages that another test checks."""
PROSE = {"text"}
"""Pictures made of letters."""

OWN_TEST = {"plugin.md"}
"""Pages whose blocks another test runs."""

NEEDED = ("cmake", "make", "arm-none-eabi-gcc", "qemu-system-arm", "cc")
PAGES = {page: BLOCK.findall(page.read_text()) for page in sorted(DOCS.glob("*.md")) if page.name not in OWN_TEST}


@pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}")
@pytest.mark.parametrize(
    "page", [page for page, blocks in PAGES.items() if any(kind in RUN for kind, _ in blocks)], ids=lambda p: p.name
)
def test_blocks_run(page: Path, tmp_path: Path) -> None:
    for name in ("torch", "tosa_converter_for_tflite", "matplotlib"):
        pytest.importorskip(name)
    for name in ("examples", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    blocks = [("python", tutorial.script())] if page == tutorial.PAGE else PAGES[page]
    for kind, text in blocks:
        if kind in RUN:
            command = [*RUN[kind], text]
            child = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert child.returncode == 0, f"{text}\n{child.stdout}\n{child.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_of_a_kind_that_is_tested(page: Path) -> None:
    assert {kind for kind, _ in PAGES[page]} <= set(RUN) | ELSEWHERE | PROSE
