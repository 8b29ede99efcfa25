"""What each step of a schedule reads and writes, for people and reports."""

from __future__ import annotations

from typing import Any

from dtmm_mlir.deploy.schedule import Copy, Dispatch, Fill, Kind, Range, Schedule, Step
from dtmm_mlir.deploy.spans import Spans

_READ, _WRITE = 1, 2


def step_name(step: Step) -> str:
    """The export a step calls, or ``fill`` or ``copy``."""
    names: dict[type, str] = {Fill: "fill", Copy: "copy"}
    return step.name if isinstance(step, Dispatch) else names[type(step)]


def trace(schedule: Schedule, spans: Spans) -> list[dict[str, Any]]:
    """One entry per step of an inference: its name, and the ranges it ``reads`` and ``writes``.

    A range is ``[resource, offset, length]`` in bytes; resources are ``arena``, ``constant0``, ``input0``,
    ``output0`` and so on.

    Args:
        spans: what each dispatch touches; of one that is not among them, all of its bindings.
    """
    return [
        {"name": step_name(step), "reads": _ranges(step, spans, _READ), "writes": _ranges(step, spans, _WRITE)}
        for step in schedule.steps
    ]


def _ranges(step: Step, spans: Spans, access: int) -> list[list[Any]]:
    return [_entry(each) for each, kinds in _accesses(step, spans) if kinds & access]


def _accesses(step: Step, spans: Spans) -> list[tuple[Range, int]]:
    match step:
        case Fill(target):
            return [(target, _WRITE)]
        case Copy(source, target):
            return [(source, _READ), (target, _WRITE)]
        case Dispatch(name, constants=constants, bindings=bindings, accesses=accesses) if name in spans:
            return [(bindings[s.binding].part(s.start(constants), s.length), accesses[s.binding]) for s in spans[name]]
        case Dispatch(bindings=bindings, accesses=accesses):
            return list(zip(bindings, accesses, strict=True))


def _entry(each: Range) -> list[Any]:
    kind, index = each.resource.kind, each.resource.index
    return [kind.value if kind is Kind.ARENA else f"{kind.value}{index}", each.offset, each.length]
