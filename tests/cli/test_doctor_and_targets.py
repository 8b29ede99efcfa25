"""``dtmm-mlir doctor`` and ``dtmm-mlir targets``, and what a terminal is shown."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from dtmm_mlir import doctor
from dtmm_mlir.targets import TARGETS
from tests.conftest import Program, program


def test_targets(dtmm_mlir: Program) -> None:
    child = dtmm_mlir("targets")
    assert (child.returncode, child.stderr) == (0, "")
    assert all(name in child.stdout for name in TARGETS)
    listed = json.loads(dtmm_mlir("targets", "--json").stdout)["targets"]
    assert [entry["name"] for entry in listed] == list(TARGETS)
    assert {entry["flash_bytes"] is None for entry in listed if entry["name"] == "host"} == {True}


def test_doctor(dtmm_mlir: Program) -> None:
    child = dtmm_mlir("doctor", "--json")
    assert (child.returncode, child.stderr) == (0, "")
    found = {finding["name"]: finding for finding in json.loads(child.stdout)["findings"]}
    assert found["iree-base-compiler"]["version"] == "3.13.0"
    assert {"qemu-system-arm", "arm-none-eabi-gcc", "riscv64-unknown-elf-gcc", "torch"} <= set(found)


def test_doctor_says_how_to_get_what_is_missing(dtmm_mlir: Program, tmp_path: Path) -> None:
    child = dtmm_mlir("doctor", env={**os.environ, "PATH": str(tmp_path)})
    assert child.returncode == 0  # nothing but compiling for microcontrollers needs these
    assert "missing qemu-system-arm" in child.stdout
    assert "sudo apt install qemu-system-arm" in child.stdout
    assert "linking cortex-m55, cortex-m33" in child.stdout


def test_missing_packages_name_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    present = doctor.metadata.version

    def missing(name: str) -> str:
        if name == "dtmm-mlir":
            return present(name)
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "version", missing)
    found = {finding.name: finding for finding in doctor.examine()}
    assert found["torch"].version is None
    assert found["torch"].advice.endswith("pip install 'dtmm-mlir[torch]'")
    assert found["iree-base-compiler"].is_needed
    assert not found["matplotlib"].is_needed


@pytest.mark.parametrize(("variables", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_errors_are_red_on_a_terminal(variables: dict[str, str], is_coloured: bool, tmp_path: Path) -> None:
    control, terminal = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm", **variables}
    subprocess.run(program("report", tmp_path), stderr=terminal, env=environment)
    os.close(terminal)
    assert (b"\033[1;31m" in os.read(control, 10_000)) == is_coloured


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, dtmm_mlir: Program) -> None:
    child = dtmm_mlir(env={**os.environ, "_DTMM_MLIR_COMPLETE": f"{shell}_source"})
    assert child.returncode == 0, child.stderr
    assert "dtmm-mlir" in child.stdout
