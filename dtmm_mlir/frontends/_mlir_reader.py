"""Reads MLIR bytecode as a program of its own: ``FILE``.

MLIR's reader is native code that trusts much of what it reads. Here a crash is an exit code; what it merely rejects is
no matter of this program, as the caller meets it again and words it better.
"""

from __future__ import annotations

import contextlib
import sys

from iree.compiler import ir

from dtmm_mlir.dialect.context import create_context


def main() -> None:
    with contextlib.suppress(ir.MLIRError, RuntimeError, UnicodeDecodeError):
        ir.Module.parseFile(sys.argv[1], create_context()).operation.verify()


if __name__ == "__main__":
    main()
