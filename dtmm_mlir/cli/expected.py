"""``--verify-diagnostics``: expectations written as comments, as ``mlir-opt`` reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dtmm_mlir.diagnostics import Diagnostic, file_location

_DIRECTIVE = re.compile(
    r"expected-(?P<severity>error|warning|remark|note)(?P<regex>-re)?\s*"
    r"(?:@(?P<place>[+-]\d+|above|below|unknown))?\s*(?P<count>\d+)?\s*\{\{(?P<text>.*)\}\}"
)


@dataclass
class Expectation:
    """One expected diagnostic.

    Attributes:
        severity: as in ``Diagnostic``.
        line: line the diagnostic is about; ``None`` for one without a place in the file.
        text: what its message contains; with ``regex``, text with ``{{...}}`` groups.
        written: line of the comment.
    """

    severity: str
    line: int | None
    text: str
    regex: bool
    written: int

    def matches(self, severity: str, line: int | None, message: str) -> bool:
        """Whether a diagnostic of this severity, line and message is what was expected."""
        if (severity, line) != (self.severity, self.line):
            return False
        if not self.regex:
            return self.text in message
        pieces = re.split(r"\{\{(.*?)\}\}", self.text)
        pattern = "".join(piece if at % 2 else re.escape(piece) for at, piece in enumerate(pieces))
        return re.search(pattern, message) is not None


def check_expectations(lines: list[str], found: list[Diagnostic]) -> list[tuple[int, str]]:
    """Compares diagnostics with the comments in ``lines``.

    Returns:
        (line number, problem) for each expectation not met and each error or warning not expected; empty when all is
        well. Notes and remarks may go unmentioned.
    """
    open_expectations = read_expectations(lines)
    problems = []
    for diagnostic in found:
        for item in (diagnostic, *diagnostic.notes):
            place = file_location(item.location)
            line = place.start_line if place is not None and place.start_line else None
            hit = next((each for each in open_expectations if each.matches(item.severity, line, item.message)), None)
            if hit is not None:
                open_expectations.remove(hit)
            elif item.severity in ("error", "warning"):
                problems.append((line or 0, f"unexpected {item.severity}: {item.message}"))
    for left in open_expectations:
        problems.append((left.written, f'expected {left.severity} "{left.text}" was not produced'))
    return problems


def read_expectations(lines: list[str]) -> list[Expectation]:
    """All expectations in ``lines``; ``@above`` and ``@below`` mean the nearest line without an expectation."""
    directives = [list(_DIRECTIVE.finditer(line)) for line in lines]
    found: list[Expectation] = []
    for index, matches in enumerate(directives):
        for match in matches:
            line = _line(match["place"], index, directives)
            one = (match["severity"], line, match["text"], bool(match["regex"]), index + 1)
            found.extend(Expectation(*one) for _ in range(int(match["count"] or 1)))
    return found


def _line(place: str | None, index: int, directives: list[list[re.Match[str]]]) -> int | None:
    if place == "unknown":
        return None
    if place in ("above", "below"):
        step = -1 if place == "above" else 1
        at = index + step
        while 0 <= at < len(directives) and directives[at]:
            at += step
        return at + 1
    return index + 1 + int(place or 0)
