"""Textual pipelines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from iree.compiler import ir

from dtmm_mlir import DtmmError
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.passes import pipeline
from dtmm_mlir.passes.base import Pass
from dtmm_mlir.passes.pipeline import NativePass, make_step, parse_pipeline, run_pipeline
from dtmm_mlir.passes.registry import PASSES, get_pass


@dataclass
class Sample(Pass):
    """One option of every type."""

    name: ClassVar[str] = "filterlet-plan"
    number: int = 0
    ratio: float = 0.0
    is_on: bool = False
    mode: Literal["fast", "small"] = "fast"
    names: tuple[str, ...] = ()
    limit: int | None = None
    file: Path = Path()

    def run(self, module: ir.Module) -> None:
        pass


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "get_pass", lambda name: Sample)


def test_every_registered_pass_is_what_it_says() -> None:
    for name in PASSES:
        assert get_pass(name).name == name
        assert get_pass(name).__doc__


@pytest.mark.usefixtures("sample")
def test_options() -> None:
    options = "number=3 ratio=0.5 is-on mode=small names=a,b limit=7 file='x y.txt'"
    (step,) = parse_pipeline(f"builtin.module(filterlet-plan{{{options}}})")
    assert step == Sample(3, 0.5, True, "small", ("a", "b"), 7, Path("x y.txt"))
    assert make_step("filterlet-plan", "is-on=false") == Sample()


@pytest.mark.usefixtures("sample")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("colour=red", "no option 'colour'; its options are: number, ratio, is-on"),
        ("number=many", "'many' is not a number"),
        ("is-on=perhaps", "neither true nor false"),
        ("mode=odd", "'odd' is none of fast, small"),
    ],
)
def test_wrong_options(options: str, message: str) -> None:
    with pytest.raises(DtmmError, match=message):
        make_step("filterlet-plan", options)


def test_nested_native_pipeline() -> None:
    steps = parse_pipeline(
        "builtin.module( canonicalize{max-iterations=3 top-down=false} , func.func(cse,canonicalize))"
    )
    assert steps == [
        NativePass("canonicalize{max-iterations=3 top-down=false}"),
        NativePass("func.func(cse,canonicalize)"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("canonicalize", "a pipeline is written"),
        ("builtin.module(canonicalize", "a pipeline is written"),
        ("builtin.module(nothing)", "'nothing' does not refer to a registered pass"),
        ("builtin.module(func.func(cse)", "do not match"),
        ("builtin.module(cse})", "do not match"),
        ("builtin.module(func.func(filterlet-pack))", "outer level"),
    ],
)
def test_malformed(text: str, message: str) -> None:
    with pytest.raises(DtmmError, match=message):
        parse_pipeline(text)


def test_observers_and_verification() -> None:
    module = ir.Module.parse("func.func @f() { return }", create_context())
    seen: list[str] = []
    run_pipeline(
        module,
        parse_pipeline("builtin.module(canonicalize,cse)"),
        before=lambda step, _: seen.append(f"before {step.name}"),
        after=lambda step, _: seen.append(f"after {step.name}"),
    )
    assert seen == ["before canonicalize", "after canonicalize", "before cse", "after cse"]


def test_a_pass_that_breaks_the_module_is_noticed() -> None:
    class Breaks(Sample):
        def run(self, module: ir.Module) -> None:
            function = module.body.operations[0]
            function.regions[0].blocks[0].operations[0].erase()

    module = ir.Module.parse("func.func @f() { return }", create_context())
    with pytest.raises(ir.MLIRError):
        run_pipeline(module, [Breaks()])
