"""Lifetimes in the arena."""

from __future__ import annotations

from typing import Any

import pytest

from dtmm_mlir.deploy.schedule import Copy, Dispatch, Fill, Kind, Range, Resource, Schedule
from dtmm_mlir.deploy.spans import Span
from dtmm_mlir.deploy.trace import trace
from dtmm_mlir.report.memory import Lifetime, alive_bytes, lifetimes


def step(name: str, reads: list[tuple[int, int]] = (), writes: list[tuple[int, int]] = ()) -> dict[str, Any]:  # type: ignore[assignment]
    """A step that works on ranges of the arena."""
    return {"name": name, "reads": [["arena", *r] for r in reads], "writes": [["arena", *w] for w in writes]}


def test_a_tensor_lives_until_its_last_use() -> None:
    steps = [step("a", writes=[(0, 100)]), step("b", [(0, 100)], [(128, 50)]), step("c", [(0, 100), (128, 50)])]
    assert lifetimes(steps) == [Lifetime("a", 0, 100, 0, 2, False), Lifetime("b", 128, 50, 1, 2, False)]


def test_scratch_is_what_nobody_reads() -> None:
    (buffer,) = lifetimes([step("a", writes=[(0, 64)]), step("b", [(64, 64)])])
    assert (buffer.first, buffer.last, buffer.is_scratch) == (0, 0, True)


def test_what_is_overwritten_is_dead() -> None:
    steps = [step("a", writes=[(0, 100)]), step("b", writes=[(0, 60)]), step("c", [(0, 60)]), step("d", [(80, 20)])]
    a, b = lifetimes(steps)
    assert (a.last, a.is_scratch) == (3, False)  # its end is still there
    assert b.last == 2


def test_a_change_in_place_goes_on_with_the_tensor() -> None:
    (tensor,) = lifetimes([step("a", writes=[(0, 8)]), step("b", [(0, 8)], [(0, 8)]), step("c", [(0, 8)])])
    assert (tensor.name, tensor.last) == ("a", 2)


def test_what_is_computed_once_lives_for_ever() -> None:
    once, _ = lifetimes([step("a", [(0, 64)], [(64, 8)]), step("b"), step("c")], persistent=64)
    assert (once.bytes, once.first, once.last, once.is_scratch) == (64, 0, 2, False)


@pytest.mark.parametrize(("number", "alive"), [(0, 100), (1, 164), (2, 64)])
def test_alive_bytes_count_overlaps_once(number: int, alive: int) -> None:
    tensors = [Lifetime("a", 0, 100, 0, 1), Lifetime("a2", 50, 50, 0, 0), Lifetime("b", 128, 64, 1, 2)]
    assert alive_bytes(tensors, number) == alive


def test_trace_says_what_steps_touch() -> None:
    arena, constant = Resource(Kind.ARENA), Resource(Kind.CONSTANT, 0)
    bindings = (Range(constant, 0, 512), Range(arena, 256, 512))
    steps = [
        Fill(Range(arena, 0, 16), b"\0"),
        Copy(Range(Resource(Kind.INPUT, 1), 0, 8), Range(arena, 32, 8)),
        Dispatch("known", (1, 1, 1), (0, 96), bindings, (1, 2)),
        Dispatch("other", (1, 1, 1), (), bindings, (1, 3)),
    ]
    spans = {"known": [Span(0, 64, None, 32), Span(1, None, 1, 128)]}
    assert trace(Schedule(steps=steps), spans) == [
        {"name": "fill", "reads": [], "writes": [["arena", 0, 16]]},
        {"name": "copy", "reads": [["input1", 0, 8]], "writes": [["arena", 32, 8]]},
        {"name": "known", "reads": [["constant0", 64, 32]], "writes": [["arena", 352, 128]]},
        {"name": "other", "reads": [["constant0", 0, 512], ["arena", 256, 512]], "writes": [["arena", 256, 512]]},
    ]
