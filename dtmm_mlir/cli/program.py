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
    signals = _Signals()
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
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout once more at exit
        sys.exit(1)
    except Exception as error:
        if signals.received:  # a library made another exception of the signal's
            _fail("interrupted.", 128 + signals.received)
        _fail(_explanation(error))
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


def _explanation(error: Exception) -> str:
    if isinstance(error, DtmmError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error}."
    if isinstance(error, MemoryError):
        return "the machine has too little memory for this."
    reason = " ".join(str(error).split()) or "no reason given"
    return f"unexpected {type(error).__name__}: {reason}. Set {DEBUG_VARIABLE}=1 to see where it came from."


def _fail(message: str, code: int = 1) -> NoReturn:
    print(f"{_red('error:')} {' '.join(message.split())}", file=sys.stderr)
    if _is_debugging():
        traceback.print_exc()
    sys.exit(code)


def _red(text: str) -> str:
    """``text`` in red on a terminal, unless the user wants none (https://no-color.org)."""
    is_coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\033[1;31m{text}\033[0m" if is_coloured else text


class _Signals:
    """Makes exceptions of SIGINT, SIGTERM and SIGHUP, so that temporary folders go and child processes end.

    Attributes:
        received: the number of the last one; 0 if there was none.
    """

    def __init__(self) -> None:
        self.received = 0
        signal.signal(signal.SIGINT, self._raise)  # a script's background job starts with it ignored
        signal.signal(signal.SIGTERM, self._raise)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
            signal.signal(signal.SIGHUP, self._raise)

    def _raise(self, number: int, frame: FrameType | None) -> NoReturn:
        self.received = number
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_IGN)
        sys.exit(128 + number)
