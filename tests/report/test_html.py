"""The page: whole in itself, small, and readable in a browser."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtmm_mlir.artifact import Artifact
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.report import Report, measure

pytest.importorskip("matplotlib", reason="needs the extra 'report'")
pytest.importorskip("jinja2", reason="needs the extra 'report'")

from dtmm_mlir.report import html
from dtmm_mlir.report.figures import label, pattern_png

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def page(report: Report) -> str:
    return html.page(report)


def test_page_has_everything_in_it(page: str, report: Report) -> None:
    assert not re.findall(r"https?://|//[\w.]+/|<script|@import|url\((?!#)", page)
    assert len(page) < 2_000_000
    assert f"{report.instructions:,}" in page
    for row, _ in report.convolutions:
        assert row.name in page
    assert page.count("<svg") == 3
    assert page.count("data:image/png") == len(report.convolutions)
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_same_report_same_page(page: str, report: Report) -> None:
    assert html.page(report) == page


def test_names_are_escaped(report: Report) -> None:
    nasty = "<b>a & b</b>"
    rows = [replace(report.rows[0], name=nasty), *report.rows[1:]]
    page = html.page(replace(report, rows=rows, model={**report.model, "name": nasty}))
    assert nasty not in page
    assert "&lt;b&gt;a &amp; b&lt;/b&gt;" in page


def test_page_of_the_host(single_conv: Artifact) -> None:
    page = html.page(measure(single_conv))
    assert "nothing is counted" in page
    assert "The arena over time" not in page


def test_missing_packages_are_named(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(DtmmError, match=r"needs the package jinja2.*dtmm-mlir\[report\]"):
        html.page(report)


def test_pattern_shows_each_filterlet() -> None:
    image = pytest.importorskip("PIL.Image")
    kept = np.random.default_rng(0).random((7, 3, 2)) < 0.5
    import base64
    import io

    pixels = np.asarray(image.open(io.BytesIO(base64.b64decode(pattern_png(kept).partition(",")[2]))).convert("L"))
    np.testing.assert_array_equal(pixels < 200, kept.reshape(7, 6).T)


def test_long_names_keep_their_end() -> None:
    assert label("short") == "short"
    assert label("x" * 50 + "end").endswith("end")
    assert len(label("x" * 50)) == 34


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium, Debian package chromium")
def test_page_in_a_browser(page: str, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    image = pytest.importorskip("PIL.Image")
    file = tmp_path / "report.html"
    file.write_text(page)
    with playwright.sync_playwright() as tools:
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = tools.chromium.launch(executable_path=BROWSER, args=flags)
        for width in (1280, 400):
            problems: list[str] = []
            view = browser.new_page(viewport={"width": width, "height": 900})
            view.on("console", lambda message: problems.append(message.text))  # noqa: B023
            view.on("pageerror", lambda error: problems.append(str(error)))  # noqa: B023
            view.on("request", lambda request: problems.append(request.url) if outside(request.url) else None)  # noqa: B023
            view.goto(file.as_uri())
            assert not problems
            assert view.evaluate("document.documentElement.scrollWidth") == width
            assert view.locator("#steps tbody tr").count() > 10
            assert view.locator("#timeline svg").bounding_box()["width"] >= 600
            assert view.evaluate("parseFloat(getComputedStyle(document.querySelector('li')).fontSize)") >= 14
            screenshot = tmp_path / f"{width}.png"
            view.screenshot(path=screenshot, full_page=True)
            picture = np.asarray(image.open(screenshot).convert("RGB"))
            assert picture.shape[1] == width
            blue = (picture == (42, 120, 214)).all(axis=2).mean()
            assert 0.02 < blue < 0.5
        browser.close()


def outside(address: str) -> bool:
    return not address.startswith(("file:", "data:"))
