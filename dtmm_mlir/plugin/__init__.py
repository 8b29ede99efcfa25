"""The plug-in of stock ``iree-compile``: where its library is; ``child`` is what the library runs."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from dtmm_mlir.errors import DtmmError

_LIBRARY = "libdtmm_mlir_plugin.so"


def library() -> Path:
    """The shared library for ``--iree-load-plugin``.

    Raises:
        DtmmError: it was not built when dtmm-mlir was installed.
    """
    for file in importlib.metadata.files("dtmm-mlir") or ():
        if file.name == _LIBRARY and (path := Path(str(file.locate()))).is_file():
            return path.absolute()
    raise DtmmError(
        f"{_LIBRARY} is missing: it is built, on Linux, when dtmm-mlir is installed and a C++ compiler is found. "
        "Install one (on Debian: apt-get install g++), then dtmm-mlir again."
    )
