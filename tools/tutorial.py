"""The quick start as a script and as a notebook, both made from its page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "quickstart.md"

_BLOCK = re.compile(r"^```(?P<kind>python|sh)\n(?P<code>.*?)^```\n", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]*\)")


def cells() -> Iterator[tuple[str, str]]:
    """The page's pieces in order: ``markdown``, ``python`` or ``sh``, and the text."""
    text, start = PAGE.read_text(), 0
    for match in _BLOCK.finditer(text):
        yield "markdown", _LINK.sub(r"\1", text[start : match.start()]).strip()
        yield match["kind"], match["code"].rstrip()
        start = match.end()
    if rest := text[start:].strip():
        yield "markdown", _LINK.sub(r"\1", rest)


def script() -> str:
    """Python with cells marked by ``# %%``, as many editors know them; the shell's lines run in bash."""
    parts = ["# %%\nimport subprocess"]
    for kind, text in cells():
        if kind == "markdown":
            parts.append("# %% [markdown]\n" + "\n".join(f"# {line}".rstrip() for line in text.splitlines()))
        elif kind == "python":
            parts.append(f"# %%\n{text}")
        else:
            parts.append(f'# %%\nsubprocess.run(["bash", "-euo", "pipefail", "-c", r"""\n{text}\n"""], check=True)')
    return "\n\n".join(parts) + "\n"


def notebook() -> str:
    """A Jupyter notebook, nbformat 4.5."""
    entries = [_cell(number, kind, text) for number, (kind, text) in enumerate(cells())]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": entries, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1) + "\n"


FILES = {"tutorial.py": script, "tutorial.ipynb": notebook}


def _cell(number: int, kind: str, text: str) -> dict[str, Any]:
    source = (f"%%bash\n{text}" if kind == "sh" else text).splitlines(keepends=True)
    cell: dict[str, Any] = {"id": f"cell-{number}", "metadata": {}, "source": source}
    if kind == "markdown":
        return {"cell_type": "markdown", **cell}
    return {"cell_type": "code", "execution_count": None, "outputs": [], **cell}
