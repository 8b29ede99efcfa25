"""Whatever happens around the compiler: full disks, killed and slow processes, no network, many models at once."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_broken_inputs import expect_error, expect_only
from tests.conftest import Program, program

CODE = """
import resource, dtmm_mlir
from dtmm_mlir.compiler import ir_after

def used():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

for turn in range(30):
    ir_after({model!r}, "lower", "cortex-m55")
    if turn == 9:
        before = used()
print(used() / before)
"""


def unmeasured() -> dict[str, str]:
    """The environment without coverage's wishes, whose own files would not fit on a full disk either."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def test_a_full_disk(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    """No file may grow beyond 8 KiB, as on a disk that is full."""

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 10, 8 << 10))

    child = dtmm_mlir("compile", models / "single_conv.tflite", "-o", "out", preexec_fn=fill, env=unmeasured())
    expect_error(child)
    expect_only(tmp_path)


def test_a_full_disk_spares_the_older_artifact(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 10, 8 << 10))

    assert dtmm_mlir("compile", models / "single_conv.tflite", "-o", "out").returncode == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    expect_error(
        dtmm_mlir("compile", models / "resnet12_cifar10.tflite", "-o", "out", preexec_fn=fill, env=unmeasured())
    )
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    expect_only(tmp_path, "out")


def test_a_killed_compiler_leaves_no_artifact(models: Path, tmp_path: Path) -> None:
    """SIGKILL cannot be answered: a hidden folder may stay behind, but nothing that looks like an artifact."""
    command = program("compile", models / "resnet12_cifar10.tflite", "-o", "out")
    child = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob(".out.*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()
    child.wait()
    assert not (tmp_path / "out").exists()
    assert all(path.name.startswith(".") for path in tmp_path.iterdir())


def test_slow_programs_are_stopped(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "DTMM_MLIR_TIME_LIMIT": "0.01"}
    child = dtmm_mlir("compile", models / "single_conv.tflite", "-o", "out", env=environment)
    expect_error(child, "did not finish in 0.01 s", "DTMM_MLIR_TIME_LIMIT")
    environment["DTMM_MLIR_TIME_LIMIT"] = "soon"
    child = dtmm_mlir("compile", models / "single_conv.tflite", "-o", "out", env=environment)
    expect_error(child, "'soon'", "number of seconds")
    expect_only(tmp_path)


def test_a_compiler_that_is_too_old(dtmm_mlir: Program, models: Path, tmp_path: Path) -> None:
    """Its own message says so."""
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "arm-none-eabi-gcc"
    tool.write_text("#!/bin/sh\necho \"error: unrecognized argument in option '-mcpu=cortex-m55'\" >&2\nexit 1\n")
    tool.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tool.parent}:{os.environ['PATH']}"}
    child = dtmm_mlir("compile", models / "single_conv.tflite", "--target", "cortex-m55", "-o", "out", env=environment)
    expect_error(child, "arm-none-eabi-gcc failed", "-mcpu=cortex-m55")
    expect_only(tmp_path, "bin")


def test_nothing_talks_to_the_network(models: Path, tmp_path: Path) -> None:
    """Compiling and running, with sockets that raise."""
    code = f"""
import socket, sys
def refuse(*arguments, **keywords):
    raise AssertionError("a socket was opened")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
import numpy as np, dtmm_mlir
artifact = dtmm_mlir.compile({str(models / "single_conv.tflite")!r})
artifact.run(np.load({str(models / "single_conv.npz")!r})["inputs"])
"""
    child = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_many_models_do_not_fill_the_memory(models: Path, tmp_path: Path) -> None:
    """Twenty compilations after ten add less than 5 %."""
    code = CODE.format(model=str(models / "single_conv.tflite"))
    child = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(child.stdout) < 1.05


def test_compilations_at_once_share_the_cache(models: Path, tmp_path: Path) -> None:
    """Several runs build the counting plug-in at the same time."""
    import shutil

    if shutil.which("qemu-system-arm") is None or shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("needs qemu-system-arm and arm-none-eabi-gcc")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = program("compile", models / "single_conv.tflite", "--target", "cortex-m4", "-o", "out")
    subprocess.run(command, cwd=tmp_path, check=True)
    code = f"import numpy as np; np.save('x.npy', np.load({str(models / 'single_conv.npz')!r})['inputs'][0])"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    command = program("run", "out", "--input", "x.npy", "--json")
    children = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    printed = {child.communicate()[0] for child in children}
    assert all(child.returncode == 0 for child in children)
    assert len(printed) == 1
