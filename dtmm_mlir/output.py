"""Output folders that are either complete or not there."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dtmm_mlir.errors import DtmmError

MANIFEST = "manifest.json"


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``path`` when the block ends well and vanishes when it does not.

    Args:
        path: an artifact's folder to replace, an empty one, or one that does not exist (nor its parents, maybe).

    Yields:
        An empty folder beside ``path``.

    Raises:
        DtmmError: before the block runs, where ``path`` cannot be written or holds something else than an artifact.
    """
    path = Path(path).resolve()
    _check_replaceable(path)
    missing = [parent for parent in path.parents if not parent.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    except OSError as error:
        _remove_empty(missing)
        raise _unwritable(path, error.strerror) from None
    done = False
    try:
        temporary.chmod(0o755)
        yield temporary
        _replace(path, temporary)
        done = True
    finally:
        if not done:
            shutil.rmtree(temporary, ignore_errors=True)
            _remove_empty(missing)


def _check_replaceable(path: Path) -> None:
    """A folder without any write permission is respected even where the user may ignore it (root)."""
    existing = path if path.exists() else next(parent for parent in path.parents if parent.exists())
    if not existing.is_dir():
        what = "it is a file" if existing == path else f"'{existing}' is a file"
        raise DtmmError(f"the output folder cannot be created: {what}.", where=str(path))
    places = [path, path.parent] if path.exists() else [existing]
    for place in places:
        if not os.access(place, os.W_OK | os.X_OK) or not place.stat().st_mode & 0o222:
            raise _unwritable(path, f"'{place}' is read-only")
    if path.exists() and (os.path.ismount(path) or Path.cwd().is_relative_to(path)):
        what = "a mount point" if os.path.ismount(path) else "the working directory"
        raise _unwritable(path, f"it is {what}, which cannot be replaced; choose a folder below it")
    if path.exists() and any(path.iterdir()) and not (path / MANIFEST).is_file():
        raise DtmmError(
            "the output folder holds other files and no artifact; choose a new or an empty folder, because it is "
            "replaced as a whole.",
            where=str(path),
        )


def _replace(path: Path, new: Path) -> None:
    if not path.exists():
        new.rename(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
    path.rename(old)  # a folder may be renamed onto an empty one
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _unwritable(path: Path, reason: str | None) -> DtmmError:
    return DtmmError(f"the output folder cannot be written: {reason}.", where=str(path))
