"""Reads MLIR bytecode as a program of its own: ``FILE``.

MLIR's reader is native code that trusts much of what it reads. Here a crash is an exit code; what it merely rejects is
no matter of this program, as the caller meets it again and words it better.
"""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

from iree.compiler import ir

from dtmm_mlir.dialect.context import create_context

_LEAST = 1 << 30
_PER_BYTE = 64
"""Memory, in bytes, that reading a file may take: for any file, and per byte of a large one."""


def main() -> None:
    """Reads the file that the arguments name, and ends."""
    _limit_memory(Path(sys.argv[1]).stat().st_size)
    with contextlib.suppress(ir.MLIRError, RuntimeError, UnicodeDecodeError):
        ir.Module.parseFile(sys.argv[1], create_context()).operation.verify()


def _limit_memory(size: int) -> None:
    """A damaged length can ask for more memory than there is; then this process ends."""
    if not Path("/proc/self/statm").exists():
        return
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = mapped + max(_LEAST, _PER_BYTE * size)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


if __name__ == "__main__":
    main()
