"""The figures of a report: equal to the linked image and to QEMU's counts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

import dtmm_mlir
from dtmm_mlir.artifact import Artifact
from dtmm_mlir.deploy import qemu
from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.dialect.ops import CONV, PACKED_CONV, ConvView, PackedConvView
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.frontends import import_model
from dtmm_mlir.passes.pipeline import make_step, run_pipeline
from dtmm_mlir.report import Report, analyze, build, measure
from dtmm_mlir.report.data import SCHEMA_FILE, Chip, Gain, Goal
from dtmm_mlir.report.details import DETAILS, packed_pattern, pattern, read_pattern
from dtmm_mlir.report.outlook import pruned, with_outlook
from dtmm_mlir.report.summary import fits, summarize

SCHEMA = json.loads(SCHEMA_FILE.read_text())


def check_schema(report: Report) -> None:
    jsonschema.validate(json.loads(json.dumps(report.json())), SCHEMA)


def test_rows_sum_to_the_inference(report: Report, artifact: Artifact) -> None:
    run = qemu.run(artifact.dir, [[np.zeros(spec.shape, spec.dtype) for spec in artifact.inputs]])
    assert report.instructions == run.instructions
    assert sum(row.instructions or 0 for row in report.rows) == run.instructions
    counted = [(row.function or row.name, row.instructions) for row in report.rows if row.kind != "runtime"]
    assert counted == list(run.steps)
    (around,) = (row for row in report.rows if row.kind == "runtime")
    assert 0 < (around.instructions or 0) < 0.01 * (run.instructions or 0)


def test_flash_is_that_of_the_image(report: Report, artifact: Artifact) -> None:
    with (artifact.dir / "firmware.elf").open("rb") as file:
        sections = {s.name: s["sh_size"] for s in ELFFile(file).iter_sections()}
    assert report.flash == {part: sections[f".{part}"] for part in ("kernels", "runtime", "schedule", "constants")}
    code = sum(row.code_bytes or 0 for row in report.rows if row.function)
    assert 0.9 * sections[".kernels"] < code <= sections[".kernels"]
    constants = sum(conv.constant_bytes for _, conv in report.convolutions)
    assert 0.9 * sections[".constants"] < constants <= sections[".constants"]


def test_arena_is_filled_and_not_exceeded(report: Report) -> None:
    assert report.ram is not None
    alive = [row.ram_bytes or 0 for row in report.rows if row.kind != "runtime"]
    assert all(alive)
    assert 0.9 * report.ram["arena"] < max(alive) <= report.ram["arena"]
    assert max(t.offset + t.bytes for t in report.tensors) <= report.ram["arena"]
    assert any(t.is_scratch for t in report.tensors)


def test_layers_are_those_of_the_manifest(report: Report, artifact: Artifact) -> None:
    layers = artifact.manifest["layers"]
    assert [row.name for row, _ in report.convolutions] == [layer["name"] for layer in layers]
    for (row, conv), layer in zip(report.convolutions, layers, strict=True):
        assert (conv.kept_filterlets, conv.kept.size) == (layer["kept_filterlets"], layer["total_filterlets"])
        assert conv.json()["output_shape"] == layer["output_shape"]
        assert conv.kept_macs == layer["kept_macs"]
        assert conv.predicted == pytest.approx(row.instructions, rel=0.2)


def test_json_fulfils_its_schema(report: Report) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    check_schema(report)
    assert len(report.checksums) == 2


def test_outlook(report: Report) -> None:
    goals = {goal.optimize: goal for goal in report.goals}
    assert goals["speed"].instructions <= goals["balanced"].instructions < goals["size"].instructions
    assert goals["size"].stored_bytes < goals["balanced"].stored_bytes
    assert {gain.pruned for gain in report.gains} == {0.5, 0.75}
    for half, quarter in zip(report.gains[::2], report.gains[1::2], strict=True):
        assert half.row == quarter.row
        assert half.instructions <= quarter.instructions < (report.rows[half.row].instructions or 0)


def test_summary(report: Report) -> None:
    summary = summarize(report)
    assert fits(report)
    assert "kernels" in summary.fits[0]
    assert f"{report.instructions:,}" in summary.dominates[0]
    assert "model/block_1_conv" in summary.dominates[1]
    assert "75% pruned" in summary.next[0]
    small = replace(report, chip=Chip("a small chip", 1000, 1000))
    assert not fits(small)
    assert "bytes too many" in summarize(small).fits[0]
    assert "does not fit" in summarize(small).next[0]
    nothing = summarize(replace(report, gains=[Gain(0, 0.5, 1, 1)]))
    assert "less than 1 %" in nothing.next[0]


@pytest.mark.parametrize(
    ("stored", "told"), [(1126, "with 126 bytes of weights more"), (900, "with 100 bytes of weights less")]
)
def test_what_speed_takes_is_told(report: Report, stored: int, told: str) -> None:
    goals = (Goal("balanced", 1000, 1000), Goal("speed", 900, stored), Goal("size", 1500, 900))
    (found,) = (line for line in summarize(replace(report, goals=goals)).next if "--optimize speed" in line)
    assert "about 10% of the convolutions' instructions" in found
    assert told in found


def test_a_model_without_convolutions(report: Report) -> None:
    rest = [row for row in report.rows if row.convolution is None]
    bare = replace(report, rows=rest, instructions=sum(row.instructions or 0 for row in rest), goals=[], gains=[])
    assert "no convolutions take 100%" in summarize(bare).dominates[2]
    assert "pruning cannot make it cheaper" in summarize(bare).next[0]
    check_schema(bare)


def test_gains_are_in_proportion_to_what_was_counted(report: Report) -> None:
    """Also where the prediction is far off."""
    rows = report.rows[:2]
    cheap = [replace(row, instructions=(row.instructions or 0) // 10) for row in rows]
    before, after = (with_outlook(replace(report, rows=each, instructions=None)).gains for each in (rows, cheap))
    assert len(before) >= 2
    for now, then in zip(before, after, strict=True):
        assert then.instructions == pytest.approx(now.instructions / 10, abs=2)


def test_numbers_for_names_get_their_kind(artifact: Artifact) -> None:
    layer = {**artifact.manifest["layers"][0], "name": "2"}
    assert build._name(layer) == "conv_2d 2"


def test_host_says_that_nothing_is_counted(single_conv: Artifact) -> None:
    report = measure(single_conv)
    assert (report.instructions, report.counter, report.flash) == (None, None, None)
    assert "nothing is counted" in report.notes[0]
    assert "no limits" in summarize(report).fits[0]
    check_schema(report)


def test_analyze_predicts_what_compiling_finds(report: Report, models: Path) -> None:
    before = analyze(models / "resnet12_cifar10.tflite", "cortex-m55", outlook=False)
    assert before.instructions is None
    assert before.model == report.model
    for (_, predicted), (_, found) in zip(before.convolutions, report.convolutions, strict=True):
        assert (predicted.predicted, predicted.plan) == (found.predicted, found.plan)
        assert predicted.constant_bytes == found.constant_bytes
    check_schema(before)


def test_without_a_counter_the_whole_is_estimated(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "_count_plugin", lambda: None)
    report = measure(artifact, outlook=False)
    assert report.counter == "timer"
    assert all(row.instructions is None for row in report.rows)
    assert "plugins" in report.notes[0]
    assert summarize(report).dominates
    check_schema(report)


def test_inputs_are_those_of_a_run(artifact: Artifact, report: Report, models: Path) -> None:
    data = np.load(models / "resnet12_cifar10.npz")
    counted = measure(artifact, data["inputs"][:2], outlook=False)
    assert counted.checksums["output"] == hashlib.sha256(data["expected"][0].tobytes()).hexdigest()
    assert counted.checksums["input"] != report.checksums["input"]
    quantization = artifact.inputs[0].quantization
    assert quantization
    real = (data["inputs"][0].astype(np.float32) - quantization["zero_point"]) * np.float32(quantization["scale"])
    assert measure(artifact, real, outlook=False).checksums == counted.checksums
    with pytest.raises(DtmmError, match="has the shape"):
        measure(artifact, real[0], outlook=False)


def test_what_has_no_report(models: Path, tmp_path: Path) -> None:
    half = dtmm_mlir.compile(models / "single_conv.tflite", compile_to="pack")
    with pytest.raises(DtmmError, match="only to the phase 'pack'"):
        measure(half)
    whole = dtmm_mlir.compile(models / "single_conv.tflite").save(tmp_path / "old")
    (whole.dir / DETAILS).write_text("{}")
    with pytest.raises(DtmmError, match="of another version"):
        measure(whole)
    (whole.dir / DETAILS).write_text("")
    with pytest.raises(DtmmError, match="compile it again"):
        measure(whole)


def test_a_changed_image_has_no_report(artifact: Artifact, tmp_path: Path) -> None:
    old = artifact.save(tmp_path / "old")
    record = json.loads((old.dir / "firmware.json").read_text())
    del record["schedule"]
    (old.dir / "firmware.json").write_text(json.dumps(record))
    with pytest.raises(DtmmError, match=r"firmware\.json is not the file that was compiled; compile the model again"):
        measure(old)


def test_patterns_survive_json() -> None:
    kept = np.random.default_rng(0).random((5, 3, 3)) < 0.3
    np.testing.assert_array_equal(read_pattern(json.loads(json.dumps(pattern(kept)))), kept)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_pruning_is_added_to_what_is_pruned(share: float) -> None:
    kept = np.random.default_rng(0).random((8, 3, 3)) < 0.6
    result = pruned(kept, share)
    assert not (result & ~kept).any()
    assert result.sum() == min(kept.sum(), round((1 - share) * kept.size))


@pytest.mark.parametrize("name", ["resnet12_cifar10", "mobile"])
def test_patterns_of_packed_convolutions(name: str, models: Path) -> None:
    folder = models if (models / f"{name}.tflite").exists() else Path(__file__).parents[1] / "models"
    module = import_model(folder / f"{name}.tflite", create_context(), None)
    run_pipeline(module, [make_step("filterlet-capture"), make_step("filterlet-plan", "target=cortex-m55")])
    kept = [ConvView(op).kept for op in walk(module, CONV)]
    run_pipeline(module, [make_step("filterlet-pack")])
    for expected, op in zip(kept, walk(module, PACKED_CONV), strict=True):
        np.testing.assert_array_equal(packed_pattern(PackedConvView(op)), expected)
