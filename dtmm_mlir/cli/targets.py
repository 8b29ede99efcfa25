"""``dtmm-mlir targets``."""

from __future__ import annotations

import json
from typing import Any

import click

from dtmm_mlir.targets import TARGETS, Target


@click.command("targets")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def targets_command(as_json: bool) -> None:
    """Lists what can be compiled for, and the board on which QEMU runs it."""
    if as_json:
        click.echo(json.dumps({"schema_version": 1, "targets": [describe(target) for target in TARGETS.values()]}))
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE)
    for column in ("target", "instruction set", "kernels", "board in QEMU"):
        table.add_column(column, no_wrap=True)
    for column in ("flash", "RAM"):
        table.add_column(column, justify="right")
    for target in TARGETS.values():
        board = target.board
        memories = [f"{memory.length >> 10:,} KiB" for memory in (board.flash, board.ram)] if board else ["", ""]
        where = board.machine if board else "this machine"
        table.add_row(target.name, target.triple or "the machine's own", target.isa, where, *memories)
    Console(width=120).print(table)


def describe(target: Target) -> dict[str, Any]:
    """A target as ``--json`` prints it; sizes in bytes."""
    board = target.board
    return {
        "name": target.name,
        "triple": target.triple,
        "cpu": target.cpu,
        "kernels": target.isa,
        "board": board.machine if board else None,
        "qemu": board.qemu if board else None,
        "flash_bytes": board.flash.length if board else None,
        "ram_bytes": board.ram.length if board else None,
    }
