"""What to read first: whether the model fits, what dominates, what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dtmm_mlir.report.data import Gain, Report, Row

_MOST_ADVICE = 3
_LARGE_SHARE = 0.25
_WORTHWHILE = 0.01


@dataclass(frozen=True)
class Summary:
    """Sentences.

    Attributes:
        fits: whether the chip's memories hold it.
        dominates: where the instructions and the flash go.
        next: what to do.
    """

    fits: list[str]
    dominates: list[str]
    next: list[str]


def summarize(report: Report) -> Summary:
    """The summary of a report."""
    return Summary(list(_fits(report)), list(_dominates(report)), list(_next(report)))


def fits(report: Report) -> bool | None:
    """Whether flash and RAM suffice as far as known; ``None`` for a target without limits."""
    if report.chip is None or report.flash is None or report.ram is None:
        return None
    return sum(report.flash.values()) <= report.chip.flash and sum(report.ram.values()) <= report.chip.ram


def _fits(report: Report) -> Iterator[str]:
    if report.chip is None:
        yield f"The target '{report.target}' has no limits of flash and RAM."
        return
    assert report.flash is not None
    assert report.ram is not None
    sizes = ((report.flash, "flash", report.chip.flash), (report.ram, "RAM", report.chip.ram))
    for parts, memory, size in sizes:
        total = sum(parts.values())
        verdict = f"{total / size:.0%}" if total <= size else f"{total - size:,} bytes too many"
        details = ", ".join(f"{part} {count:,}" for part, count in parts.items())
        yield f"{memory}: {total:,} of {size:,} bytes of {report.chip.name} ({verdict}): {details}."


def _dominates(report: Report) -> Iterator[str]:
    rows = sorted((row for row in report.rows if row.cost), key=lambda row: -(row.cost or 0))
    if not rows or not report.cost:
        yield "Nothing is known about the instructions."
        return
    how = {"exact": "counted", "timer": "estimated"}.get(report.counter or "", "predicted for the convolutions")
    yield f"{report.cost:,} instructions of one inference, {how}; they are not cycles."
    yield f"Most are in {_few(rows, report)}."
    others = sum(row.cost or 0 for row in rows if row.convolution is None)
    if others >= _WORTHWHILE * report.cost:
        yield f"Steps that are no convolutions take {others / report.cost:.0%}."
    yield from _heaviest(report)


def _heaviest(report: Report) -> Iterator[str]:
    """The convolution that stores most."""
    constants = sum(conv.constant_bytes for _, conv in report.convolutions)
    if constants:
        row, conv = max(report.convolutions, key=lambda each: each[1].constant_bytes)
        yield f"{row.name} takes {conv.constant_bytes / constants:.0%} of the {constants:,} bytes of the convolutions."


def _few(rows: list[Row], report: Report) -> str:
    """The first rows, up to where they take half of the instructions together, three at most."""
    taken, total = [], 0
    for row in rows[:3]:
        taken.append(f"{row.name} ({(row.cost or 0) / report.cost:.0%})")
        total += row.cost or 0
        if total > report.cost / 2:
            break
    return ", ".join(taken)


def _next(report: Report) -> Iterator[str]:
    if fits(report) is False:
        yield "It does not fit: prune more, starting with the layers that store most, or choose a larger chip."
    best = _best_gains(report)
    for number in list(dict.fromkeys(gain.row for gain in best))[:_MOST_ADVICE]:
        yield _advice(report, number, [gain for gain in report.gains if gain.row == number])
    if report.gains and not best:
        yield "Pruning single layers further would save less than 1 % of the instructions each."
    others = sum(row.cost or 0 for row in report.rows if row.convolution is None)
    if report.is_counted and others >= _LARGE_SHARE * report.cost:
        largest = max((r for r in report.rows if r.convolution is None), key=lambda r: r.cost or 0)
        yield f"{largest.name} is no convolution, so pruning cannot make it cheaper; a model with less of it could."
    yield from _plans(report)


def _best_gains(report: Report) -> list[Gain]:
    gains = [gain for gain in report.gains if gain.instructions >= _WORTHWHILE * report.cost]
    return sorted(gains, key=lambda gain: -gain.instructions)


def _advice(report: Report, number: int, gains: list[Gain]) -> str:
    row = report.rows[number]
    conv = row.convolution
    assert conv is not None
    kept = "nothing is pruned" if conv.kept.all() else f"{conv.kept_filterlets} of {conv.kept.size} filterlets kept"
    shares = ", ".join(
        f"{gain.pruned:.0%} pruned would save about {gain.instructions / report.cost:.1%} of all instructions and "
        f"{gain.stored_bytes:,} bytes"
        for gain in gains
        if gain.instructions > 0
    )
    return f"{row.name} ({kept}): {shares}."


def _plans(report: Report) -> Iterator[str]:
    goals = {goal.optimize: goal for goal in report.goals}
    if not {"balanced", "size", "speed"} <= set(goals):
        return
    now, speed, size = (goals[name] for name in ("balanced", "speed", "size"))
    saved, more = now.instructions - speed.instructions, speed.stored_bytes - now.stored_bytes
    if saved >= _WORTHWHILE * now.instructions:
        yield (
            f"--optimize speed would save about {saved / now.instructions:.0%} of the convolutions' instructions, with "
            f"{abs(more):,} bytes of weights {'more' if more >= 0 else 'less'} and more code."
        )
    less = now.stored_bytes - size.stored_bytes
    if fits(report) is False and less > 0:
        yield f"--optimize size would store {less:,} bytes of weights less."
