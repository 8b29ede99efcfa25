"""The library serves each program and function of IREE that loads plug-ins."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dtmm_mlir.iree_compile import tool
from dtmm_mlir.passes.registry import PASSES
from tests.plugin import models

IN_PROCESS = """
import sys
from iree.compiler import api
session = api.Session()
session.set_flags(*sys.argv[3:])
for number in range(2):
    invocation, source = session.invocation(), api.Source.open_file(session, sys.argv[1])
    assert invocation.parse_source(source) and invocation.execute()
    with open(sys.argv[2], "wb") as file:
        output = api.Output.open_membuffer()
        invocation.output_vm_bytecode(output)
        file.write(bytes(output.map_memory()))
"""
COMPILE_STR = """
import sys
from iree.compiler import tools
text = open(sys.argv[1]).read()
with open(sys.argv[2], "wb") as file:
    file.write(tools.compile_str(text, target_backends=["llvm-cpu"], extra_args=sys.argv[3:]))
"""


@pytest.mark.parametrize("script", [IN_PROCESS, COMPILE_STR], ids=["in-process", "compile_str"])
def test_python(plugin: Path, host_flags: list[str], tmp_path: Path, script: str) -> None:
    source, output = tmp_path / "model.mlir", tmp_path / "model.vmfb"
    source.write_text(models.CONV)
    flags = host_flags if script == IN_PROCESS else [flag for flag in host_flags if "cpu=" in flag]
    environment = os.environ | {"IREE_LOAD_PLUGINS": str(plugin), "DTMM_MLIR_PYTHON": sys.executable}
    command = [sys.executable, "-c", script, str(source), str(output), *flags]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert b"filterlet_0_" in output.read_bytes()


@pytest.fixture
def iree_opt(plugin: Path, tmp_path: Path):
    """Runs ``iree-opt`` with the plug-in on MLIR text."""

    def run(source: str, *flags: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "model.mlir"
        path.write_text(source)
        dialect = plugin.with_name("filterlet.irdl.mlir")
        command = [str(tool("iree-opt")), str(path), f"--iree-load-plugin={plugin}", f"--irdl-file={dialect}", *flags]
        environment = os.environ | {"DTMM_MLIR_PYTHON": sys.executable}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)

    return run


def test_iree_opt_has_all_passes(iree_opt) -> None:
    listed = set(re.findall(r"--(filterlet-[a-z-]+) ", iree_opt("", "--help").stdout))
    assert listed == {*PASSES, "filterlet-compile"}


def test_iree_opt_runs_passes(iree_opt) -> None:
    pipeline = "builtin.module(filterlet-capture,filterlet-plan{target=cortex-m4 optimize=size},canonicalize)"
    result = iree_opt(models.linalg(), f"--pass-pipeline={pipeline}")
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r'"filterlet.conv_2d".*kernel = "table"', result.stdout)
    result = iree_opt(models.linalg(), "--filterlet-compile=target=cortex-m4 capture=all", "--cse")
    assert (result.returncode, result.stderr) == (0, "")
    assert "filterlet_0_" in result.stdout


def test_iree_opt_reports_errors(iree_opt) -> None:
    result = iree_opt(models.linalg(), "--filterlet-plan=colour=red")
    assert result.returncode == 1
    assert "'filterlet-plan' has no option 'colour'" in result.stderr
