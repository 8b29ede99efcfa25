"""``python -m tests.fuzz.parse KIND COUNT SEED``: reads corrupted files, each in a process of its own with limits.

Prints one JSON object: how often each outcome occurred, and an example of each that must not occur. KIND is ``tflite``,
``pt2``, ``mlir``, ``mlirbc``, ``manifest``, ``firmware``, ``image``, ``module`` or ``plan``. What is accepted must also
compute what it says: an artifact and a plan the same as before the damage, a TFLite model what LiteRT's reference
kernels compute, an exported program what PyTorch does.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import dtmm_mlir
from dtmm_mlir.errors import DtmmError
from tests.conftest import MODELS
from tests.fuzz import litert
from tests.fuzz.corrupt import corrupted, damaged_json, flipped
from tests.fuzz.examples import examples_of
from tests.fuzz.networks import sample

SECONDS = 30
"""Processor time for one file."""
BYTES = 2 << 30
"""Memory for one file, besides what the interpreter has."""

GOOD = ("ok", "error")


def main() -> None:
    kind, count, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder:
        original, read = _subjects()[kind](Path(folder))
        text = kind in ("manifest", "firmware", "plan")
        strategy = st.one_of(damaged_json(original) if text else flipped(original), corrupted(original))
        outcomes: Counter[str] = Counter()
        examples: dict[str, str] = {}
        for data in examples_of(strategy, number, count):
            outcome, told = _in_child(lambda data=data: read(data))  # type: ignore[misc]
            outcomes[outcome] += 1
            if outcome not in GOOD:
                examples.setdefault(outcome, told)
    print(json.dumps({"outcomes": outcomes, "examples": examples}))


def _in_child(action: Callable[[], Any]) -> tuple[str, str]:
    """``ok``, ``error`` (a DtmmError), the name of another exception, or how the process died; and details."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            _limit()
            os.write(writer, "\0".join(_outcome(action)).encode()[:4000])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, errors="replace") as file:
        told = file.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name, ""
    outcome, _, details = told.partition("\0")
    return outcome or "silence", details


def _limit() -> None:
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + BYTES, mapped + BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _outcome(action: Callable[[], Any]) -> tuple[str, str]:
    try:
        action()
    except DtmmError as error:
        return "error", str(error)
    except BaseException as error:
        return type(error).__name__, traceback.format_exc()[-2000:]
    return "ok", ""


class Wrong(Exception):
    """A corrupted file was accepted, and something else computed than it says."""


def _compare(result: Any, expected: Any, tolerance: float = 0.0) -> None:
    for ours, theirs in zip(result, expected, strict=True):
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, tolerance, tolerance, equal_nan=True):
            raise Wrong(f"{ours.dtype}{list(ours.shape)} differs from {theirs.dtype}{list(theirs.shape)}")


def _host_outputs(path: Path, inputs: Any, **options: Any) -> list[np.ndarray]:
    return dtmm_mlir.compile(path, **options).execute(inputs).outputs


# For each kind: an intact file, and what is done with a corrupted one.

_Subject = tuple[bytes, Callable[[bytes], Any]]


def _importer(folder: Path, suffix: str, data: bytes, check: Callable[[Path], None] = lambda path: None) -> _Subject:
    path = folder / f"model.{suffix}"

    def read(corrupt: bytes) -> None:
        from dtmm_mlir.dialect.context import create_context
        from dtmm_mlir.frontends import import_model

        path.write_bytes(corrupt)
        import_model(path, create_context())
        check(path)

    return data, read


def _tflite(folder: Path) -> _Subject:
    def check(path: Path) -> None:
        reference = litert.try_run(path, seed=1)
        if reference is not None:
            _compare(_host_outputs(path, reference[0]), reference[1])

    litert.load()
    return _importer(folder, "tflite", (MODELS.parent.parent / "tests/models/pads.tflite").read_bytes(), check)


def _pt2(folder: Path) -> _Subject:
    import torch
    import torch_mlir.extras.fx_importer  # noqa: F401
    import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401

    def check(path: Path) -> None:
        x = torch.linspace(-1, 1, 192).reshape(1, 3, 8, 8)
        expected = torch.export.load(path).module()(x).detach().numpy()
        # Sums of float32 depend on their order.
        _compare(_host_outputs(path, x.numpy()), [expected], tolerance=1e-4)

    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    torch.export.save(torch.export.export(model, (torch.zeros(1, 3, 8, 8),)), folder / "intact.pt2")
    return _importer(folder, "pt2", (folder / "intact.pt2").read_bytes(), check)


def _mlir(folder: Path) -> _Subject:
    return _importer(folder, "mlir", _in_process(folder, "mlir"))


def _mlirbc(folder: Path) -> _Subject:
    return _importer(folder, "mlirbc", _in_process(folder, "mlirbc"))


def _in_process(folder: Path, suffix: str) -> bytes:
    """A module with several kinds of ops, written by a child: a process that used MLIR's threads cannot fork well."""
    path = folder / f"intact.{suffix}"
    child = os.fork()
    if child == 0:
        from tests.fuzz.realize import build_module, realize

        several = [network for network in sample(3, 40) if len(network.nodes) >= 3]
        small = sorted(several, key=lambda network: max(shape[2] for shape in network.shapes()))
        module = build_module([realize(network, f"n{i}") for i, network in enumerate(small[:2])])
        buffer = io.BytesIO()
        module.operation.write_bytecode(buffer)
        path.write_bytes(buffer.getvalue() if suffix == "mlirbc" else module.operation.get_asm().encode())
        os._exit(0)
    os.waitpid(child, 0)
    return path.read_bytes()


def _compiled(folder: Path, target: str) -> Path:
    """An artifact, made by a child for the same reason."""
    child = os.fork()
    if child == 0:
        dtmm_mlir.compile(MODELS / "single_conv.tflite", target, out=folder / "out")
        os._exit(0)
    os.waitpid(child, 0)
    return folder / "out"


def _copier(folder: Path, target: str, name: str, run: Callable[[Path, np.ndarray], list[np.ndarray]]) -> _Subject:
    """``name`` of an artifact; ``run`` gives the outputs of a copy with that file corrupted."""
    out = _compiled(folder, target)
    data = np.load(MODELS / "single_conv.npz")

    def read(corrupt: bytes) -> None:
        copy = folder / "copy"
        shutil.copytree(out, copy, dirs_exist_ok=True)
        (copy / name).write_bytes(corrupt)
        _compare(run(copy, data["inputs"][0]), [data["expected"][0]])

    return (out / name).read_bytes(), read


def _run_artifact(folder: Path, x: np.ndarray) -> list[np.ndarray]:
    return dtmm_mlir.load(folder).execute(x).outputs


def _run_record(folder: Path, x: np.ndarray) -> list[np.ndarray]:
    """First without the checksums, which not all tools look at: then it may fail, but only with an error in words."""
    from dtmm_mlir.deploy import qemu

    with contextlib.suppress(DtmmError):
        qemu.run(folder, [[x]])
    return _run_artifact(folder, x)


def _manifest(folder: Path) -> _Subject:
    return _copier(folder, "host", "manifest.json", _run_artifact)


def _firmware(folder: Path) -> _Subject:
    return _copier(folder, "cortex-m4", "firmware.json", _run_record)


def _image(folder: Path) -> _Subject:
    return _copier(folder, "cortex-m4", "firmware.elf", _run_artifact)


def _module(folder: Path) -> _Subject:
    return _copier(folder, "host", "model.vmfb", _run_artifact)


def _plan(folder: Path) -> _Subject:
    manifest = json.loads((_compiled(folder, "host") / "manifest.json").read_text())
    data = np.load(MODELS / "single_conv.npz")
    plan = {"layers": [{"plan": layer["plan"]} for layer in manifest["layers"]]}

    def read(corrupt: bytes) -> None:
        (folder / "plan.json").write_bytes(corrupt)
        outputs = _host_outputs(MODELS / "single_conv.tflite", data["inputs"][0], plans=folder / "plan.json")
        _compare(outputs, [data["expected"][0]])

    return json.dumps(plan).encode(), read


def _subjects() -> dict[str, Callable[[Path], _Subject]]:
    return {
        "tflite": _tflite, "pt2": _pt2, "mlir": _mlir, "mlirbc": _mlirbc, "manifest": _manifest, "firmware": _firmware,
        "image": _image, "module": _module, "plan": _plan,
    }  # fmt: skip


if __name__ == "__main__":
    main()
