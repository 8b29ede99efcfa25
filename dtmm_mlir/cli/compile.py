"""``dtmm-mlir compile``."""

from __future__ import annotations

from pathlib import Path

import click

from dtmm_mlir.cli.options import model_options
from dtmm_mlir.cli.program import progress


@click.command("compile")
@click.argument("model")
@model_options
@click.option("-o", "--output", metavar="DIR", help="Folder for the artifact; an older artifact is replaced.")
@click.option("--compile-to", metavar="PHASE", help="Stop after this phase; without -o the IR goes to stdout.")
@click.option("--dump-compilation-phases-to", metavar="DIR", help="Write the IR after each phase to this folder.")
@click.argument("iree_flags", nargs=-1, type=click.UNPROCESSED, metavar="[-- IREE-COMPILE FLAGS]")
def compile_command(
    model: str,
    target: str,
    output: str | None,
    example_inputs: tuple[Path, ...],
    optimize: str,
    plans: str | None,
    compile_to: str | None,
    dump_compilation_phases_to: str | None,
    iree_flags: tuple[str, ...],
) -> None:
    """Compiles MODEL and writes an artifact with its manifest.json to a folder.

    MODEL is a .tflite, .pt2, .mlir or .mlirbc file, or module:function, a Python function that returns a
    torch.nn.Module or a pair of it and its example inputs.

    Phases are import, capture, plan, pack, lower, then those of iree-compile: input, abi, preprocessing,
    global-optimization, dispatch-creation, flow, stream, executable-sources, executable-configurations,
    executable-targets, hal, vm.

    Flags after -- go to iree-compile as they are.
    """
    from dtmm_mlir import compiler
    from dtmm_mlir.cli.arrays import read_array

    wrong = [flag for flag in iree_flags if not flag.startswith("-")]
    if wrong:
        raise click.UsageError(f"unexpected argument '{wrong[0]}'; only flags of iree-compile follow MODEL, after --")
    if output is None and compile_to is None:
        raise click.UsageError("-o DIR is needed to put the artifact somewhere")
    inputs = [read_array(path) for path in example_inputs] or None
    with progress() as report:
        if output is None and compile_to is not None:
            text = compiler.ir_after(
                model,
                compile_to,
                target,
                example_inputs=inputs,
                iree_flags=iree_flags,
                optimize=optimize,
                plans=plans,
                dump_phases_to=dump_compilation_phases_to,
                progress=report,
            )
        else:
            text = ""
            compiler.compile(
                model,
                target,
                example_inputs=inputs,
                out=output,
                iree_flags=iree_flags,
                optimize=optimize,
                plans=plans,
                compile_to=compile_to,
                dump_phases_to=dump_compilation_phases_to,
                progress=report,
            )
    if text:
        click.echo(text)
