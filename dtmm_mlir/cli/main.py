"""``dtmm-mlir``: the command line of the compiler."""

from __future__ import annotations

import click

from dtmm_mlir.cli.compile import compile_command
from dtmm_mlir.cli.doctor import doctor_command
from dtmm_mlir.cli.plugin_path import plugin_path_command
from dtmm_mlir.cli.program import run_program
from dtmm_mlir.cli.prune import prune_command
from dtmm_mlir.cli.report import analyze_command, report_command
from dtmm_mlir.cli.run import run_command
from dtmm_mlir.cli.targets import targets_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dtmm-mlir", prog_name="dtmm-mlir")
def command() -> None:
    """Compiles filterlet-pruned networks for microcontrollers.

    \b
    dtmm-mlir compile model.tflite --target cortex-m55 -o out
    dtmm-mlir run out --input x.npy --output y.npy
    dtmm-mlir report out --html report.html
    """


command.add_command(compile_command)
command.add_command(run_command)
command.add_command(prune_command)
command.add_command(analyze_command)
command.add_command(report_command)
command.add_command(targets_command)
command.add_command(doctor_command)
command.add_command(plugin_path_command)


def main(arguments: list[str] | None = None) -> None:
    """The program; see ``dtmm_mlir.cli.program.run_program`` for its exit codes."""
    run_program(command, arguments, "dtmm-mlir")


if __name__ == "__main__":
    main()
