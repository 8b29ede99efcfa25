"""``dtmm-mlir doctor``."""

from __future__ import annotations

import json

import click


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.pass_context
def doctor_command(context: click.Context, as_json: bool) -> None:
    """Shows what is installed, what is missing, and how to get it.

    The exit code is 1 if something is missing without which nothing works; anything else is optional.
    """
    from dtmm_mlir.doctor import examine

    findings = examine()
    if as_json:
        click.echo(json.dumps({"schema_version": 1, "findings": [vars(finding) for finding in findings]}))
    else:
        from rich.console import Console
        from rich.markup import escape

        console = Console(highlight=False, soft_wrap=True)
        for finding in findings:
            mark = "[green]found  [/]" if finding.version else "[red]missing[/]"
            console.print(f"{mark} {escape(finding.name)} {escape(finding.version or '')} [dim]({finding.purpose})[/]")
            if finding.version is None:
                console.print(f"        get it with: {escape(finding.advice)}")
    context.exit(int(any(finding.is_needed and not finding.version for finding in findings)))
