"""The examples of the documentation run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin.models import ROOT

EXAMPLES = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/plugin.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_documented_example(plugin: Path, tmp_path: Path, number: int) -> None:
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"OUT": str(tmp_path), "PATH": programs}
    command = ["bash", "-euo", "pipefail", "-c", EXAMPLES[number]]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    if "vmfb" in EXAMPLES[number]:
        (output,) = tmp_path.glob("*.vmfb")
        assert output.stat().st_size > 0
    if "iree-run-module" in EXAMPLES[number]:
        assert "[19][19]" in result.stdout
    if "m55.o" in EXAMPLES[number]:
        assert b"filterlet_0_" in (tmp_path / "m55.o").read_bytes()
    if "iree-opt" in EXAMPLES[number]:
        assert "filterlet.conv_2d" in result.stdout
