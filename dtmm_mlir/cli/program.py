"""How every program of this project starts and ends: exit codes, errors in one paragraph, clean interrupts."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from dtmm_mlir.errors import DtmmError

DEBUG_VARIABLE = "DTMM_MLIR_DEBUG"


def run_program(command: click.Command, arguments: Sequence[str] | None, name: str, obj: Any = None) -> NoReturn:
    """Runs ``command`` and exits.

    The exit code is 0 on success, 1 for an error of the input or the machine, 2 for a wrong command line, 130 after
    Ctrl-C, 143 after SIGTERM. An error is one paragraph on stderr; with ``DTMM_MLIR_DEBUG=1`` the traceback follows.

    Args:
        arguments: without the program's name; ``None`` takes the process's.
        name: of the program.
        obj: the context object of click.
    """
    _handle_signals()
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    if not _is_debugging():
        _quiet_libraries()
    try:
        code = command.main(arguments, prog_name=name, standalone_mode=False, obj=obj)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted.", 130)
    except DtmmError as error:
        _fail(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout once more at exit
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}." if error.filename else f"{error}.")
    except MemoryError:
        _fail("the machine has too little memory for this.")
    except Exception as error:
        reason = " ".join(str(error).split()) or "no reason given"
        _fail(f"unexpected {type(error).__name__}: {reason}. Set {DEBUG_VARIABLE}=1 to see where it came from.")
    sys.exit(code if isinstance(code, int) else 0)  # click returns what Context.exit was given


@contextlib.contextmanager
def progress() -> Iterator[Any]:
    """Yields a function that shows what is being done, on a terminal; elsewhere it does nothing."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda step: None
        return
    with console.status("") as status:
        yield lambda step: status.update(f"{step} ...")


def _is_debugging() -> bool:
    return os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0")


def _quiet_libraries() -> None:
    """Silences what torch and its relatives say about themselves, which no user of ours can do anything about."""
    warnings.simplefilter("ignore")
    os.environ.setdefault("TORCH_LOGS", "-all")  # errors only
    for name in ("torchao", "torchao.kernel", "optuna", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _fail(message: str, code: int = 1) -> NoReturn:
    print(f"{_red('error:')} {' '.join(message.split())}", file=sys.stderr)
    if _is_debugging():
        traceback.print_exc()
    sys.exit(code)


def _red(text: str) -> str:
    """``text`` in red on a terminal, unless the user wants none (https://no-color.org)."""
    is_coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\033[1;31m{text}\033[0m" if is_coloured else text


def _handle_signals() -> None:
    """Makes Ctrl-C an exception even for a background job of a script, which starts with it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, _exit_on_signal)


def _exit_on_signal(number: int, frame: FrameType | None) -> NoReturn:
    """Unwinds the stack, so that temporary folders go and child processes end."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)
