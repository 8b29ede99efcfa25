"""What the README shows works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


def test_quick_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert "conv_0 164 of 279" in capsys.readouterr().out
    assert (tmp_path / "out" / "manifest.json").exists()


def test_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\((?!http)([^)]*)\)", text):
        assert (ROOT / target).exists(), target
    layout = text.split("## Layout")[1].split("```")[1]
    for folder in re.findall(r"^(\w+)/ ", layout, re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder


BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
COMMANDS = [
    line.partition("  #")[0].strip()
    for language, block in BLOCKS
    for line in block.replace("\\\n", "").splitlines()
    if not language and line.startswith(("dtmm-mlir ", "dtmm-opt ", "iree-"))
]


@pytest.mark.skipif(
    not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm"))), reason="needs the cross compiler and QEMU"
)
def test_commands_run(tmp_path: Path, models: Path) -> None:
    """The commands, in order, on the smallest example model under the names they use."""
    pytest.importorskip("matplotlib")
    assert len(COMMANDS) == 5
    shutil.copy(models / "single_conv.tflite", tmp_path / "model.tflite")
    np.save(tmp_path / "x.npy", np.load(models / "single_conv.npz")["inputs"][0])
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": programs}
    imported = "dtmm-mlir compile model.tflite --compile-to import -o import && mv import/model.import.mlir model.mlir"
    for command in [imported, *COMMANDS]:
        child = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100
        )
        assert child.returncode == 0, f"{command}\n{child.stderr}"
