"""Pages made from the sources are complete, the site builds without warnings, and nothing public lacks its words."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtmm_mlir.cli.main import command
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.dialect.ops import ADD, AVG_POOL, CONV, MAX_POOL, PACKED_CONV
from dtmm_mlir.passes.registry import PASSES, get_pass
from dtmm_mlir.targets import TARGETS
from tests.docs.test_code_blocks import PAGES
from tools import reference, tutorial

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("dtmm_mlir", "dialect", "passes", "tools") for path in (ROOT / folder).rglob("*.py")]


def test_passes_are_all_there() -> None:
    page = reference.passes()
    for name in PASSES:
        assert f"## `{name}`" in page
        assert get_pass(name).__doc__
    assert "| `optimize` | balanced, speed, size |" in page
    assert "dtmm-opt %s" in page


def test_operations_are_those_of_the_dialect() -> None:
    page = reference.operations()
    with create_context() as context:
        for name in (CONV, PACKED_CONV, ADD, MAX_POOL, AVG_POOL):
            assert context.is_registered_operation(name)
            assert f"## `{name}`" in page
    assert page.count("| `clamp` | attribute | `#builtin.array` or `#builtin.unit` |") == 3
    assert page.count("| `input` | operand | `!builtin.tensor` |") == 4


def test_commands_and_targets_are_all_there() -> None:
    page = reference.command_line()
    assert all(f"## `dtmm-mlir {name}`" in page for name in command.commands)
    assert all(each.help for each in command.commands.values())
    assert all(f"| {name} |" in reference.targets() for name in TARGETS)


def test_what_users_import_is_described() -> None:
    page = reference.python_api()
    assert "- `target`: `host` or a microcontroller" in page
    assert "### `Artifact.run`" in page
    assert "a list of such for a model with several inputs" in page  # continued lines belong to their item
    assert page.count("\n\n**Raises**") == page.count("**Raises**") > 5


def test_nothing_public_is_undocumented() -> None:
    missing = [f"{path.relative_to(ROOT)}: {name}" for path in SOURCES for name in undocumented(path)]
    assert not missing, "\n".join(missing)


def undocumented(path: Path) -> Iterator[str]:
    """Public modules, classes, functions and methods without a docstring.

    Methods that say it in one expression, or that override what a base class documents, need none.
    """
    tree = ast.parse(path.read_text())
    if tree.body and not ast.get_docstring(tree):
        yield "the module"
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield node.name
        if isinstance(node, ast.ClassDef) and not node.bases:
            methods = (each for each in node.body if isinstance(each, ast.FunctionDef))
            for method in methods:
                is_short = len(method.body) == 1 and isinstance(method.body[0], ast.Return)
                if not method.name.startswith("_") and not is_short and not ast.get_docstring(method):
                    yield f"{node.name}.{method.name}"


def test_site_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="needs mkdocs-material")
    pytest.importorskip("matplotlib", reason="needs the extra 'report'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert child.returncode == 0, child.stderr
    assert "WARNING" not in child.stderr
    for page in ("index.html", "quickstart.html", "reference/passes.html", "figures/storage.svg"):
        assert (tmp_path / "site" / page).exists(), page


def test_figures_show_what_the_pass_stores() -> None:
    pytest.importorskip("matplotlib")
    from tools import concepts

    positions, counts = concepts.pack()
    assert counts == concepts.KEPT.sum(axis=1).tolist()
    assert positions == [p for kept in concepts.KEPT for p in kept.nonzero()[0]]


@pytest.mark.parametrize("name", ["CITATION.cff", ".pre-commit-config.yaml"])
def test_files_for_tools_are_yaml(name: str) -> None:
    yaml = pytest.importorskip("yaml")
    content = yaml.safe_load((ROOT / name).read_text())
    if name == "CITATION.cff":
        paper = content["preferred-citation"]
        assert [author["family-names"] for author in paper["authors"]] == ["Han", "Xiao", "Li"]
        assert paper["year"] == 2024
    else:
        assert {hook["id"] for repo in content["repos"] for hook in repo["hooks"]} == {
            "ruff-check",
            "ruff-format",
            "mypy",
        }


def test_tutorial_is_the_quick_start() -> None:
    blocks = PAGES[tutorial.PAGE]
    assert [(kind, text) for kind, text in tutorial.cells() if kind != "markdown"] == [
        (kind, text.rstrip()) for kind, text in blocks
    ]
    script, notebook = tutorial.script(), json.loads(tutorial.notebook())
    assert all(text.rstrip() in script for _, text in blocks)
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code == [f"%%bash\n{text.rstrip()}" if kind == "sh" else text.rstrip() for kind, text in blocks]


def test_notebook_is_valid() -> None:
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.reads(tutorial.notebook(), as_version=4))
