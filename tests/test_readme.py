"""What the README shows works."""

from __future__ import annotations

import re
from pathlib import Path

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
