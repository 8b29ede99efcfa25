"""Pages of the documentation that are made from the sources, so that they cannot fall behind them."""

from __future__ import annotations

import dataclasses
import inspect
import io
import re
import textwrap
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from dtmm_mlir.passes.registry import PASSES, get_pass

ROOT = Path(__file__).parents[1]
IRDL = ROOT / "dialect" / "filterlet.irdl.mlir"
CASES = ROOT / "tests" / "filecheck" / "passes"

_API: Mapping[str, tuple[str, ...]] = {
    "dtmm_mlir": ("compile", "load"),
    "dtmm_mlir.artifact": ("Artifact", "Run"),
    "dtmm_mlir.compiler": ("ir_after", "describe_layers"),
    "dtmm_mlir.quantization": ("quantize_int8",),
    "dtmm_mlir.report": ("analyze", "measure", "Report"),
    "dtmm_mlir.report.data": ("Row", "Convolution"),
    "dtmm_mlir.report.html": ("page",),
    "dtmm_mlir.errors": ("DtmmError",),
}
"""What users import, by module."""


def passes() -> str:
    """``reference/passes.md``: each pass with its options, and an example from its test."""
    sections = [
        "# Passes",
        "In the order in which the compiler runs them. The examples are those of the passes' tests.",
    ]
    for name in PASSES:
        kind = get_pass(name)
        sections += [f"## `{name}`", _prose(kind), *_options(kind), *_example(name)]
    return "\n\n".join(sections) + "\n"


def operations() -> str:
    """``reference/operations.md``: operands and attributes as the dialect's definition in IRDL has them."""
    sections = ["# Operations", "What IRDL checks; see [the dialect](../dialect.md) for what the ops mean."]
    text = IRDL.read_text()
    for match in re.finditer(r"irdl\.operation @(\w+) \{(.*?)\n  \}", text, re.DOTALL):
        sections += [f"## `filterlet.{match[1]}`", _operation(match[2])]
    return "\n\n".join(sections) + "\n"


def command_line() -> str:
    """``reference/command-line.md``: the help of every command."""
    from dtmm_mlir.cli import opt
    from dtmm_mlir.cli.main import command

    sections = ["# Command line"]
    for name, each in command.commands.items():
        sections += [f"## `dtmm-mlir {name}`", _help(each, f"dtmm-mlir {name}")]
    sections += ["## `dtmm-opt`", _help(opt.command, "dtmm-opt")]
    return "\n\n".join(sections) + "\n"


def python_api() -> str:
    """``reference/python.md``: signatures and docstrings of what users import."""
    import importlib

    sections = ["# Python"]
    for module, names in _API.items():
        for name in names:
            thing = getattr(importlib.import_module(module), name)
            sections += [f"## `{module}.{name}`", _signature(thing), _prose(thing)]
            sections += [
                part for method in _methods(thing) for part in (f"### `{name}.{method.__name__}`", _prose(method))
            ]
    return "\n\n".join(sections) + "\n"


def targets() -> str:
    """``reference/targets.md``: every target and the board QEMU runs it on."""
    from dtmm_mlir.targets import TARGETS

    lines = [
        "# Targets",
        "",
        "| target | LLVM triple | kernels | board in QEMU | flash, KiB | RAM, KiB |",
        "|---" * 6 + "|",
    ]
    for target in TARGETS.values():
        board = target.board
        cells = [target.name, target.triple or "the machine's", target.isa, board.machine if board else ""]
        cells += [f"{board.flash.length >> 10:,}", f"{board.ram.length >> 10:,}"] if board else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def changelog() -> str:
    """``changelog.md``: the file in the repository's root."""
    return (ROOT / "CHANGELOG.md").read_text()


PAGES: Mapping[str, Callable[[], str]] = {
    "reference/passes.md": passes,
    "reference/operations.md": operations,
    "reference/command-line.md": command_line,
    "reference/python.md": python_api,
    "reference/targets.md": targets,
    "changelog.md": changelog,
}


def _prose(thing: Any) -> str:
    """A docstring as Markdown: literals, blocks after ``::``, and its sections as lists."""
    text = inspect.getdoc(thing) or ""
    text = re.sub(r":class:`(\w+)`", r"`\1`", text.replace("``", "`"))
    text = re.sub(r"::\n\n((?:    .*\n?|\n)+)", lambda m: f":\n\n```text\n{textwrap.dedent(m[1]).strip()}\n```\n", text)
    for heading in ("Args", "Attributes", "Returns", "Yields", "Raises"):
        text = re.sub(
            rf"^{heading}:\n((?:    .*\n?|\n)+)", lambda m, h=heading: _section(h, m[1]), text, flags=re.MULTILINE
        )
    return text


def _section(heading: str, body: str) -> str:
    body = textwrap.dedent(body).strip()
    items = re.split(r"\n(?=\S)", body)
    if heading in ("Returns", "Yields"):
        return f"**{heading}** {' '.join(body.split())}\n\n"
    lines = []
    for item in items:
        name, colon, rest = item.partition(":")
        lines.append(f"- `{name.strip()}`: {' '.join(rest.split())}" if colon else f"- {' '.join(item.split())}")
    return f"**{heading}**\n\n" + "\n".join(lines) + "\n\n"


def _options(kind: type) -> list[str]:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    if not fields:
        return []
    rows = ["| option | kind | default |", "|---|---|---|"]
    for field in fields:
        hint = hints[field.name]
        choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
        text = ", ".join(map(str, choices)) or getattr(hint, "__name__", str(hint))
        rows.append(f"| `{field.name.replace('_', '-')}` | {text} | `{field.default!r}` |")
    return ["\n".join(rows)]


def _example(name: str) -> list[str]:
    """The first case of the pass's test, which runs it."""
    path = CASES / f"{name.removeprefix('filterlet-').replace('-', '_')}.mlir"
    if not path.exists():
        return []
    first = path.read_text().split("// -----")[0]
    run = re.search(r"// RUN: (.*?) \| filecheck", first)
    body = "\n".join(line[:160] for line in first.splitlines() if not line.startswith("// RUN"))
    command = f"`{run[1]}`:" if run else ""
    return [command, f"```text\n{body.strip()}\n```"]


def _operation(body: str) -> str:
    constraints = dict(re.findall(r"%(\w+) = (irdl\.\w+(?:\(.*?\)| \".*?\"))", body))
    rows = ["| name | role | constraint |", "|---|---|---|"]
    for role, block in re.findall(r"irdl\.(operands|attributes|results)\s*[({](.*?)[)}]", body, re.DOTALL):
        for name, value in re.findall(r"\"?(\w+)\"?(?: =|:) %(\w+)", block):
            rows.append(f"| `{name}` | {role.removesuffix('s')} | {_constraint(value, constraints)} |")
    return "\n".join(rows)


def _constraint(name: str, constraints: Mapping[str, str]) -> str:
    text = constraints[name]
    if text.startswith("irdl.any_of"):
        return " or ".join(_constraint(part, constraints) for part in re.findall(r"%(\w+)", text))
    return f"`{text.split(chr(34))[1]}`"


def _help(command: click.Command, name: str) -> str:
    context = click.Context(command, info_name=name, max_content_width=100)
    return f"```text\n{command.get_help(context)}\n```"


def _signature(thing: Any) -> str:
    output = io.StringIO()
    parameters = inspect.signature(thing).parameters.values()
    for parameter in parameters:
        prefix = "*, " if parameter.kind is parameter.KEYWORD_ONLY and "*" not in output.getvalue() else ""
        output.write(f"{prefix}{parameter.name}, ")
    name = thing.__name__ if hasattr(thing, "__name__") else str(thing)
    return f"`{name}({output.getvalue().removesuffix(', ')})`"


def _methods(thing: Any) -> list[Any]:
    if not inspect.isclass(thing):
        return []
    members = (value for name, value in vars(thing).items() if not name.startswith("_"))
    return [member for member in members if inspect.isfunction(member) and member.__doc__]
