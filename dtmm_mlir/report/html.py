"""A report as one page that needs nothing but itself. Needs matplotlib and jinja2 (extra ``report``)."""

from __future__ import annotations

from dtmm_mlir.errors import DtmmError
from dtmm_mlir.report.data import Report
from dtmm_mlir.report.summary import fits, summarize
from dtmm_mlir.report.terminal import cells, number

_HEADINGS = (
    "layer", "shape", "kept filterlets", "plan", "MACs kept", "predicted", "counted", "MAC/instr.", "weights, B",
    "code, B", "RAM alive, B",
)  # fmt: skip


def page(report: Report) -> str:
    """The page's HTML.

    Raises:
        DtmmError: a package that draws is missing.
    """
    try:
        import jinja2

        from dtmm_mlir.report import figures
    except ModuleNotFoundError as error:
        raise DtmmError(
            f"a page needs the package {error.name}, which is not installed; install the pictures' packages with: "
            "pip install 'dtmm-mlir[report]'."
        ) from None
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dtmm_mlir.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    convolutions = report.convolutions
    return environment.get_template("page.html").render(
        report=report,
        summary=summarize(report),
        fits=fits(report),
        number=number,
        headings=_HEADINGS,
        rows=[(row, cells(row)) for row in report.rows],
        bars=figures.bars(report) if any(row.cost for row in report.rows) else None,
        timeline=figures.timeline(report) if report.tensors else None,
        trade=figures.trade(report) if report.goals else None,
        patterns=[(row.name, conv, figures.pattern_png(conv.kept)) for row, conv in convolutions],
    )
