"""Corrupted files of every kind: read, or refused in one paragraph; never a traceback, a crash, a hang or a bomb."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dtmm_mlir.errors import DtmmError
from tests.fuzz.parse import GOOD

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("tflite", 12),
        ("pt2", 12),
        ("mlir", 60),
        ("mlirbc", 6),
        ("manifest", 120),
        ("firmware", 10),
        ("plan", 9),
        ("image", 9),
        ("module", 9),
    ],
)
def test_corrupted_files(kind: str, count: int) -> None:
    needed = {"tflite": "tflite", "pt2": "torch", "manifest": "tflite", "module": "tflite", "plan": "tflite"}
    if kind in needed:
        pytest.importorskip(needed[kind])
    if kind in ("firmware", "image") and shutil.which("qemu-system-arm") is None:
        pytest.skip("needs qemu-system-arm")
    command = [sys.executable, "-m", "tests.fuzz.parse", kind, str(count), "1"]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr[-2000:]
    result = json.loads(child.stdout.splitlines()[-1])
    assert sum(result["outcomes"].values()) >= count
    assert set(result["outcomes"]) <= set(GOOD), result["examples"]
    assert result["outcomes"]["error"] > count // 3


def test_a_crash_of_the_native_reader_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dtmm_mlir.dialect.context import create_context
    from dtmm_mlir.frontends.mlir import import_mlir

    (tmp_path / "model.mlirbc").write_bytes(b"ML\xefR....")
    (tmp_path / "crash").write_text("#!/bin/sh\nkill -SEGV $$\n")
    (tmp_path / "crash").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "crash"))
    with pytest.raises(DtmmError, match=r"damaged: MLIR's reader crashed \(signal 11\)"):
        import_mlir(tmp_path / "model.mlirbc", create_context())


class _Payload:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch executed",)


def _exported(path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Conv2d(1, 2, 1).eval()
    torch.export.save(torch.export.export(model, (torch.zeros(1, 1, 4, 4),)), path)


def _rewrite(path: Path, change: Callable[[str, bytes], bytes], extra: str | None = None) -> None:
    """Changes the members of an archive; ``extra`` names one to add."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, change(name, data))
        if extra:
            archive.writestr(f"{next(iter(members)).split('/')[0]}/{extra}", b"")


def _pickled_weights(name: str, data: bytes) -> bytes:
    import pickle

    if name.endswith("weights_config.json"):
        return data.replace(b'"use_pickle": false', b'"use_pickle": true').replace(
            b'"use_pickle":false', b'"use_pickle":true'
        )
    return pickle.dumps(_Payload()) if "/weights/weight_" in name else data


def _pickled_inputs(name: str, data: bytes) -> bytes:
    import pickle

    return pickle.dumps(_Payload()) if "sample_inputs" in name else data


def _expression(name: str, data: bytes) -> bytes:
    code = b'{"as_expr": {"expr_str": "__import__(\'os\').system(\'touch executed\')", "hint": {"as_int": 1}}}'
    return data.replace(b'{"as_int": 4}', code).replace(b'{"as_int":4}', code) if "models/" in name else data


@pytest.mark.parametrize(
    ("change", "extra"),
    [
        (_pickled_weights, None),
        (_pickled_inputs, None),
        (_expression, None),
        (lambda name, data: data, "data/aotinductor/model/model.so"),
        (lambda name, data: data, "data/constants/custom_obj_0"),
        (lambda name, data: data, "data/constants/opaque_obj_0"),
    ],
    ids=["pickled weights", "pickled inputs", "expression", "native code", "custom object", "opaque object"],
)
def test_a_pt2_cannot_run_code(
    change: Callable[[str, bytes], bytes], extra: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dtmm_mlir.dialect.context import create_context
    from dtmm_mlir.frontends import import_model

    monkeypatch.chdir(tmp_path)
    _exported(tmp_path / "model.pt2")
    import_model(tmp_path / "model.pt2", create_context())
    _rewrite(tmp_path / "model.pt2", change, extra)
    with pytest.raises(DtmmError, match=r"model\.pt2"):
        import_model(tmp_path / "model.pt2", create_context())
    assert not (tmp_path / "executed").exists()
