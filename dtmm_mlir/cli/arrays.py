"""Arrays in ``.npy`` files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from dtmm_mlir.errors import DtmmError


def read_array(path: Path) -> np.ndarray:
    """The array in a ``.npy`` file.

    Raises:
        DtmmError: there is no such file, or it is no ``.npy`` file.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DtmmError("there is no such file.", where=str(path)) from None
    except (OSError, ValueError, EOFError) as error:
        raise DtmmError(f"this is not a .npy file that can be read: {error}.", where=str(path)) from None
    if not isinstance(array, np.ndarray):
        names = ", ".join(array.files)
        raise DtmmError(f"this is an archive of several arrays ({names}); save the one to use as .npy.", str(path))
    return array


def check_writable(path: Path) -> None:
    """Raises DtmmError where a file at ``path`` could not be written."""
    folder = path.absolute().parent
    if path.is_dir():
        raise DtmmError("this is a folder; name a file.", where=str(path))
    if not folder.is_dir():
        raise DtmmError(f"the folder '{folder}' does not exist.", where=str(path))
    if not os.access(folder, os.W_OK | os.X_OK) or not folder.stat().st_mode & 0o222:
        raise DtmmError(f"the folder '{folder}' is read-only.", where=str(path))


def write_array(path: Path, array: np.ndarray) -> None:
    """Writes ``array`` to ``path`` as ``.npy``, whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.absolute().parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            np.save(file, array)
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
