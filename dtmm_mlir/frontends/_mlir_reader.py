"""Reads MLIR bytecode as a program of its own: ``FILE COPY``.

MLIR's reader is native code that trusts much of what it reads. Here a crash is an exit code. A module that is valid is
written to COPY; an error in words is printed as a JSON object, with exit code 1.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.frontends.mlir import damaged, read

_LEAST = 1 << 30
_PER_BYTE = 64
"""Memory, in bytes, that reading a file may take: for any file, and per byte of a large one."""


def main() -> None:
    """Reads the file that the arguments name, and ends."""
    path, copy = map(Path, sys.argv[1:])
    _limit_memory(path.stat().st_size)
    try:
        module = read(path, create_context())
        with copy.open("wb") as file:
            module.operation.write_bytecode(file)
    except DtmmError as error:
        _refuse(error)
    except MemoryError:
        _refuse(damaged(path, "reading it takes too much memory"))


def _refuse(error: DtmmError) -> None:
    print(json.dumps({"message": error.message, "where": error.where}))
    sys.exit(1)


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
