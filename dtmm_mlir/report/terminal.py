"""A report on the terminal."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dtmm_mlir.report.data import Report, Row
from dtmm_mlir.report.summary import fits, summarize

_COLUMNS = (
    "kept filterlets",
    "plan",
    "MACs kept",
    "predicted",
    "counted",
    "MAC/instr.",
    "weights",
    "code",
    "RAM alive",
)


def show(report: Report, console: Console) -> None:
    """The summary first, then the table."""
    summary = summarize(report)
    console.print(f"[bold]{escape(report.model['name'])} on {report.target}[/]")
    verdict = {True: "[green]It fits.[/]", False: "[red]It does not fit.[/]", None: ""}[fits(report)]
    sections = (("Fit", [verdict, *summary.fits]), ("What dominates", summary.dominates), ("What next", summary.next))
    for title, sentences in sections:
        console.print(f"\n[bold]{title}[/]")
        for sentence in filter(None, sentences):
            console.print(f"  {sentence if sentence is verdict else escape(sentence)}", highlight=False)
    console.print(table(report))
    for note in report.notes:
        console.print(escape(note), style="dim")


def table(report: Report) -> Table:
    """A line per row of the report, and the sum."""
    result = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    result.add_column("layer", overflow="fold", min_width=16)
    result.add_column("shape", overflow="fold", min_width=14)
    for column in _COLUMNS:
        result.add_column(column, justify="left" if column == "plan" else "right")
    for row in report.rows:
        result.add_row(*cells(row), style="" if row.convolution else "dim")
    result.add_section()
    predicted = sum(row.predicted or 0 for row in report.rows)
    counted = number(report.instructions)
    weights = sum(conv.constant_bytes for _, conv in report.convolutions)
    macs = sum(conv.kept_macs for _, conv in report.convolutions)
    code = number(sum(row.code_bytes or 0 for row in report.rows) or None)
    result.add_row("all", "", "", "", f"{macs:,}", f"{predicted:,}", counted, "", f"{weights:,}", code, "")
    return result


def cells(row: Row) -> list[str]:
    """What the table says of a row, as text."""
    conv = row.convolution
    rate = "" if row.macs_per_instruction is None else f"{row.macs_per_instruction:.2f}"
    figures = [number(row.predicted), number(row.instructions), rate]
    sizes = [number(conv.constant_bytes if conv else None), number(row.code_bytes), number(row.ram_bytes)]
    if conv is None:
        return [row.name, row.kind, "", "", "", *figures, *sizes]
    return [row.name, conv.shape_text, conv.kept_text, conv.plan_text, f"{conv.kept_macs:,}", *figures, *sizes]


def number(value: int | None) -> str:
    """A number with separators; nothing for one that is not known."""
    return "" if value is None else f"{value:,}"
