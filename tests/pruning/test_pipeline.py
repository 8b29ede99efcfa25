"""The whole road, from a recipe to a measured network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("optuna")
torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning")

from optuna.trial import FrozenTrial  # noqa: E402

import dtmm_mlir  # noqa: E402
from dtmm_mlir.errors import DtmmError  # noqa: E402
from dtmm_mlir.pruning import Budget, ImageClassifier, Settings, masks_of, pipeline, prune  # noqa: E402
from dtmm_mlir.pruning.pipeline import _Run  # noqa: E402
from dtmm_mlir.pruning.scheduler import Method  # noqa: E402

needs_qemu = pytest.mark.skipif(
    not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm", "cc"))),
    reason="needs the cross compiler, QEMU and a C compiler",
)


@needs_qemu
def test_without_limits_the_network_gets_sparser_while_it_may(recipe: ImageClassifier, tmp_path: Path) -> None:
    """The cheapest candidate, then twelve more near it, as none can lose too much."""
    prune(recipe, Settings(trials=3, effort=0, budget=Budget(drop=100.0)), tmp_path / "run")
    measured = [json.loads(path.read_text())["instructions"] for path in (tmp_path / "run").glob("measured-*.json")]
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert len(measured) == 13
    assert result["pruned"]["instructions"] == min(measured)


@pytest.mark.parametrize(
    ("method", "tried", "best"),
    [
        ("filters", ["60", "40", "30"], 40),
        ("both", ["60", "60-0.2", "30", "48-0.3", "40", "40-0.15", "40-0.075", "40-0.0375"], 40),
    ],
)
def test_candidates_are_halved_in_turns_with_sparser_networks(
    method: Method, tried: list[str], best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of networks that keep the metric with 39 instructions and more; the first one found takes 100."""

    class Fake(_Run):
        def __init__(self) -> None:
            self.settings, self.seen = Settings(method=method), list[str]()

        def _tuned(self, trial: FrozenTrial) -> dict[str, Any]:
            return self._network(int(trial.values[1]), f"{trial.values[1]}")

        def _tuned_again(self, found: dict[str, Any], lost: float) -> dict[str, Any]:
            instructions = found["predicted"]["instructions"]
            return self._network(int(instructions * (1 - lost)), f"{instructions}-{lost:.3g}")

        def _measured(self, found: dict[str, Any]) -> dict[str, Any]:
            return found

        def _keeps_metric(self, found: dict[str, Any]) -> bool:
            return bool(found["measured"]["instructions"] >= 39)

        def _network(self, instructions: int, name: str) -> dict[str, Any]:
            self.seen.append(name)
            return {"predicted": {"instructions": instructions}, "measured": {"instructions": instructions}}

    monkeypatch.setattr(pipeline, "_MORE", 8)
    run = Fake()
    trials = [SimpleNamespace(values=(0.0, instructions)) for instructions in range(20, 100, 10)]
    found = run._cheaper({"predicted": {"instructions": 100}, "measured": {"instructions": 100}}, trials)
    assert (run.seen, found["measured"]["instructions"]) == (tried, best)


@needs_qemu
def test_networks_that_take_more_are_tried_where_the_best_lose_too_much(
    recipe: ImageClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search takes the smallest network for the best one; all of them lose too much."""
    monkeypatch.setattr(recipe, "validate", lambda model: float(sum(p.numel() for p in model.parameters())))
    with pytest.raises(DtmmError, match="the nearest takes"):
        prune(recipe, Settings(trials=3, effort=0, method="filters", budget=Budget(drop=-100.0)), tmp_path)
    assert len(list(tmp_path.glob("measured-*.json"))) == 3


@needs_qemu
def test_whole_road(recipe: ImageClassifier, tmp_path: Path) -> None:
    dense = Settings(trials=10, effort=0.1, budget=Budget(drop=100.0, instructions=10**9), method="filterlets")
    settings = replace(dense, budget=Budget(instructions=23_000, drop=100.0))
    result = prune(recipe, settings, tmp_path / "run")
    assert result["pruned"]["instructions"] <= 23_000 < result["dense"]["instructions"]
    assert result["pruned"]["host_metric"] == result["pruned"]["metric"]
    artifact = dtmm_mlir.load(tmp_path / "run" / "artifact")
    assert artifact.manifest["flash_bytes"] == result["pruned"]["flash"]
    kept = sum(layer["kept_filterlets"] for layer in artifact.manifest["layers"])
    assert kept < sum(layer["total_filterlets"] for layer in artifact.manifest["layers"])
    network = torch.load(tmp_path / "run" / "pruned.pt", weights_only=False)
    masked = sum(int(mask.sum()) for mask in masks_of(network).values())
    stored = sum(layer["kept_filterlets"] for layer in artifact.manifest["layers"] if layer["kind"] != "linear")
    assert 0.95 * masked <= stored <= masked  # a filterlet of small weights may become zeros in int8
    assert ElementTree.parse(tmp_path / "run" / "front.svg").getroot().tag.endswith("svg")
    assert prune(recipe, settings, tmp_path / "run") == result
    with pytest.raises(DtmmError, match="a run with other settings"):
        prune(recipe, dense, tmp_path / "run")


def test_folder_of_something_else(recipe: ImageClassifier, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DtmmError, match="holds no run"):
        prune(recipe, Settings(), tmp_path)
    assert (tmp_path / "thesis.txt").exists()


RECIPE = """
import torch  # noqa: E402
torch.set_num_threads(1)
from tests.pruning.conftest import Residual, corners  # noqa: E402
from dtmm_mlir.pruning import ImageClassifier  # noqa: E402

def make():
    torch.manual_seed(0)
    return ImageClassifier(Residual(), corners(128, 0), corners(64, 1), corners(32, 2), epochs=2)
"""


@needs_qemu
def test_killed_and_run_again(tmp_path: Path) -> None:
    """A run that is killed as soon as its search has begun ends, when it is run again, as one that was not."""
    (tmp_path / "mine.py").write_text(RECIPE)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    program = [sys.executable, "-m", "dtmm_mlir.cli.main", "prune", "mine:make", "--trials", "9"]
    program += ["--drop", "100", "--instructions", "30000", "--effort", "0.2", "-o"]
    results = []
    for name in ("killed", "whole"):
        command = [*program, name]
        if name == "killed":
            child = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
            while child.poll() is None and not (tmp_path / name / "study.db").exists():
                time.sleep(0.05)
            time.sleep(1)
            child.send_signal(signal.SIGKILL)
            child.wait()
        finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert finished.returncode == 0, finished.stderr
        results.append(json.loads((tmp_path / name / "result.json").read_text()))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere:make"], "cannot be imported"),
        (["mine"], "write module:function"),
        (["mine:nothing"], "cannot be imported"),
        (["mine:no_recipe"], "is no recipe: it lacks model"),
        (["mine:make", "--target", "host"], "name another target"),
        (["mine:make", "--method", "magic"], "none of both, filterlets, filters"),
    ],
)
def test_wrong_command_lines(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "mine.py").write_text(RECIPE + "\n\ndef no_recipe():\n    return 3\n")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "dtmm_mlir.cli.main", "prune", *arguments, "-o", "out"]
    child = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert child.returncode in (1, 2)
    assert message in " ".join(child.stderr.split())
    assert not (tmp_path / "out").exists()
