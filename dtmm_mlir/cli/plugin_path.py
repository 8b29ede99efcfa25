"""``dtmm-mlir plugin-path``."""

from __future__ import annotations

import click

from dtmm_mlir.plugin import library


@click.command("plugin-path")
def plugin_path_command() -> None:
    """Print the plug-in for iree-compile.

    \b
    iree-compile --iree-load-plugin=$(dtmm-mlir plugin-path) model.mlir -o model.vmfb
    """
    click.echo(library())
