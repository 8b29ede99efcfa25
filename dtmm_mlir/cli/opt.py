"""``dtmm-opt``: runs passes on MLIR, with the conventions of ``mlir-opt``."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
from iree.compiler import ir

from dtmm_mlir import diagnostics
from dtmm_mlir.cli.expected import check_expectations
from dtmm_mlir.cli.program import run_program
from dtmm_mlir.diagnostics import Diagnostic
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.passes.base import PassError
from dtmm_mlir.passes.pipeline import Step, make_step, parse_pipeline, run_pipeline, verify
from dtmm_mlir.passes.registry import PASSES

_BYTECODE_MAGIC = b"ML\xefR"
_SEPARATOR = re.compile(r"^// -----.*$", re.MULTILINE)


@dataclass
class Options:
    """What the command line asked for; named as ``mlir-opt`` names it."""

    steps: list[Step] = field(default_factory=list)
    verify_diagnostics: bool = False
    allow_unregistered_dialect: bool = False
    print_before_all: bool = False
    print_after_all: bool = False
    elide_elements: int | None = None
    print_generic: bool = False
    print_debuginfo: bool = False
    emit_bytecode: bool = False


@dataclass(frozen=True)
class Chunk:
    """One module to work on.

    Attributes:
        source: MLIR text, or bytecode.
        name: name of the file in diagnostics.
        path: the file itself when the chunk is all of it, so that locations carry its name.
    """

    source: str | bytes
    name: str
    path: Path | None


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, add_help_option=True)
@click.argument("source", metavar="[INPUT]", default="-")
@click.option("-o", "--output", default="-", metavar="FILE", help="Where the IR goes; stdout by default.")
@click.option("--pass-pipeline", metavar="TEXT", help="builtin.module(pass,pass{option=value},...).")
@click.option("--split-input-file", is_flag=True, help="Treat every part between '// -----' as a module.")
@click.option("--verify-diagnostics", is_flag=True, help="Check 'expected-error@+1 {{...}}' comments.")
@click.option("--allow-unregistered-dialect", is_flag=True, help="Accept ops nobody registered.")
@click.option("--mlir-print-ir-before-all", is_flag=True, help="Print the IR before each pass on stderr.")
@click.option("--mlir-print-ir-after-all", is_flag=True, help="Print the IR after each pass on stderr.")
@click.option("--mlir-elide-elementsattrs-if-larger", type=int, metavar="N", help="Elide larger constants.")
@click.option("--mlir-print-op-generic", is_flag=True, help="Print the generic form of all ops.")
@click.option("--mlir-print-debuginfo", is_flag=True, help="Print locations.")
@click.option("--emit-bytecode", is_flag=True, help="Write bytecode instead of text.")
@click.version_option(package_name="dtmm-mlir", prog_name="dtmm-opt")
@click.pass_context
def command(
    context: click.Context,
    source: str,
    output: str,
    pass_pipeline: str | None,
    split_input_file: bool,
    verify_diagnostics: bool,
    allow_unregistered_dialect: bool,
    mlir_print_ir_before_all: bool,
    mlir_print_ir_after_all: bool,
    mlir_elide_elementsattrs_if_larger: int | None,
    mlir_print_op_generic: bool,
    mlir_print_debuginfo: bool,
    emit_bytecode: bool,
) -> None:
    """Runs passes on the MLIR text or bytecode in INPUT (stdin by default).

    Passes are named in --pass-pipeline or given as flags of their own, in order:
    --filterlet-capture --filterlet-plan=target=cortex-m55 --canonicalize. The IR goes to stdout, all else to stderr.

    This project's passes are filterlet-torch-to-tosa, filterlet-merge-tables, filterlet-capture,
    filterlet-remove-channels, filterlet-plan, filterlet-pack, filterlet-lower and filterlet-verify; all others are
    IREE's.
    """
    steps: list[Step] = [make_step(name, text) for name, text in context.obj]
    if pass_pipeline is not None:
        if steps:
            raise click.UsageError("give passes either as flags or in --pass-pipeline, not both")
        steps = parse_pipeline(pass_pipeline)
    options = Options(
        steps=steps,
        verify_diagnostics=verify_diagnostics,
        allow_unregistered_dialect=allow_unregistered_dialect,
        print_before_all=mlir_print_ir_before_all,
        print_after_all=mlir_print_ir_after_all,
        elide_elements=mlir_elide_elementsattrs_if_larger,
        print_generic=mlir_print_op_generic,
        print_debuginfo=mlir_print_debuginfo,
        emit_bytecode=emit_bytecode,
    )
    results = [run_chunk(chunk, options) for chunk in read_chunks(source, split_input_file)]
    if not all(ok for ok, _ in results):
        context.exit(1)
    _write(output, [text for _, text in results], emit_bytecode)


def main(arguments: list[str] | None = None) -> None:
    """The program: exit code 0 on success, 1 when a module is rejected, 2 for a wrong command line."""
    argv, passes = split_pass_flags(sys.argv[1:] if arguments is None else arguments)
    logging.getLogger("dtmm_mlir").propagate = False  # run_chunk shows warnings as diagnostics
    run_program(command, argv, "dtmm-opt", passes)


def split_pass_flags(argv: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Takes the pass flags out of a command line.

    Returns:
        The other arguments, with ``-long-option`` written ``--long-option``; and (pass, options) in order.
    """
    known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    rest, passes = [], []
    for argument in argv:
        if re.match(r"-[a-np-z][a-z]", argument):  # -oFILE stays
            argument = "-" + argument
        flag, _, value = argument.partition("=")
        if flag.startswith("--") and flag != "--" and flag not in known:
            passes.append((flag[2:], value.strip("\"'")))
        else:
            rest.append(argument)
    return rest, passes


def read_chunks(source: str, split: bool) -> Iterator[Chunk]:
    """The modules in the file ``source`` (``-`` for stdin), with line numbers as in the file.

    Raises:
        DtmmError: the file cannot be read, or is neither bytecode nor UTF-8 text.
    """
    path = None if source == "-" else Path(source)
    name = "<stdin>" if path is None else source
    try:
        data = sys.stdin.buffer.read() if path is None else path.read_bytes()
    except OSError as error:
        raise DtmmError(f"the input cannot be read: {error.strerror}.", where=name) from None
    if data.startswith(_BYTECODE_MAGIC):
        yield Chunk(data, name, path)
        return
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise DtmmError("the input is neither MLIR bytecode nor UTF-8 text.", where=name) from None
    if not split:
        yield Chunk(text, name, path)
        return
    start = 0
    for end in [*(match.start() for match in _SEPARATOR.finditer(text)), len(text)]:
        yield Chunk("\n" * text.count("\n", 0, start) + text[start:end], name, None)
        start = end + len(text[end:].partition("\n")[0])


def run_chunk(chunk: Chunk, options: Options) -> tuple[bool, str | bytes]:
    """Parses, runs the passes and prints; diagnostics are checked or go to stderr.

    Returns:
        Whether all is well, and the resulting IR (empty where a pass failed).
    """
    context = create_context()
    context.allow_unregistered_dialects = options.allow_unregistered_dialect
    context.emit_error_diagnostics = True
    found: list[Diagnostic] = []

    def collect(diagnostic: ir.Diagnostic) -> bool:
        found.append(diagnostics.from_mlir(diagnostic))
        return True

    handler = context.attach_diagnostic_handler(collect)
    warnings = _Warnings(found, context)
    logging.getLogger("dtmm_mlir").addHandler(warnings)
    output: str | bytes = b"" if options.emit_bytecode else ""
    failed = True
    try:
        module = _parse(chunk, context)
        verify(module)
        run_pipeline(module, options.steps, *_observers(options))
        output = _print(module, options)
        failed = False
    except PassError as error:
        found.append(diagnostics.from_pass_error(error))
    except ir.MLIRError as error:
        found.extend(map(diagnostics.from_mlir, error.error_diagnostics))
        if not any(diagnostic.severity == "error" for diagnostic in found):
            found.append(Diagnostic("error", ir.Location.unknown(context), error.message))
    except DtmmError as error:
        found.append(Diagnostic("error", ir.Location.unknown(context), str(error)))
    finally:
        handler.detach()
        logging.getLogger("dtmm_mlir").removeHandler(warnings)
    lines = chunk.source.splitlines() if isinstance(chunk.source, str) else []
    if options.verify_diagnostics:
        problems = check_expectations(lines, found)
        for line, problem in problems:
            print(f"{chunk.name}:{line}: error: {problem}", file=sys.stderr)
        return not problems, output
    for diagnostic in found:
        print_diagnostic(diagnostic, chunk.name, lines)
    return not failed, output


def print_diagnostic(diagnostic: Diagnostic, name: str, lines: list[str]) -> None:
    """``file:line:col: error: message`` on stderr, the line it is about below."""
    place = diagnostics.file_location(diagnostic.location)
    where = "" if place is None else f"{_name(place, name)}:{place.start_line}:{place.start_col}: "
    if isinstance(diagnostic.location, ir.NameLoc):
        where += f'"{diagnostic.location.name_str}": '
    print(f"{where}{diagnostic.severity}: {diagnostic.message}", file=sys.stderr)
    if place is not None and _name(place, name) == name and 0 < place.start_line <= len(lines):
        print(f"{lines[place.start_line - 1]}\n{' ' * (place.start_col - 1)}^", file=sys.stderr)
    for note in diagnostic.notes:
        print_diagnostic(note, name, lines)


class _Warnings(logging.Handler):
    """Collects what passes warn of (``passes.base.warn``) as diagnostics."""

    def __init__(self, found: list[Diagnostic], context: ir.Context) -> None:
        super().__init__(logging.WARNING)
        self._found = found
        self._unknown = ir.Location.unknown(context)

    def emit(self, record: logging.LogRecord) -> None:
        location = getattr(record, "location", None)
        message = record.getMessage() if location is None else record.diagnostic  # type: ignore[attr-defined]
        self._found.append(Diagnostic("warning", location or self._unknown, message))


def _name(place: ir.FileLineColLoc, name: str) -> str:
    return name if place.filename == "-" else place.filename


def _parse(chunk: Chunk, context: ir.Context) -> ir.Module:
    if chunk.path is not None and chunk.path.is_file():
        return ir.Module.parseFile(str(chunk.path), context)
    return ir.Module.parse(chunk.source, context)


def _observers(options: Options) -> tuple:
    def report(when: str, step: Step, module: ir.Module) -> None:
        label = f"{type(step).__name__} ({step.name})" if step.name in PASSES else step.name
        print(f"// -----// IR Dump {when} {label} //----- //\n{_text(module, options)}", file=sys.stderr)

    return (
        (lambda step, module: report("Before", step, module)) if options.print_before_all else None,
        (lambda step, module: report("After", step, module)) if options.print_after_all else None,
    )


def _print(module: ir.Module, options: Options) -> str | bytes:
    if not options.emit_bytecode:
        return _text(module, options)
    buffer = io.BytesIO()
    module.operation.write_bytecode(buffer)
    return buffer.getvalue()


def _text(module: ir.Module, options: Options) -> str:
    return module.operation.get_asm(
        large_elements_limit=options.elide_elements,
        print_generic_op_form=options.print_generic,
        enable_debug_info=options.print_debuginfo,
    )


def _write(output: str, results: list[str | bytes], bytecode: bool) -> None:
    if bytecode:
        data = b"".join(result for result in results if isinstance(result, bytes))
    else:
        texts = [result.rstrip("\n") + "\n\n" for result in results if isinstance(result, str)]
        data = "// -----\n".join(texts).encode()
    if output != "-":
        Path(output).write_bytes(data)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
