"""Hooks of MkDocs: adds the pages and figures that are made from the sources."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tools import concepts, reference, tutorial  # noqa: E402

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./(?!\.\.)[^)]+\)")


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Adds what is generated."""
    for path, make in {**reference.PAGES, **concepts.FIGURES, **tutorial.FILES}.items():
        files.append(File.generated(config, path, content=make()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links out of ``docs/`` lead nowhere on the site: what they say stays."""
    return markdown if "/" in page.file.src_uri else _OUTSIDE.sub(r"\1", markdown)
