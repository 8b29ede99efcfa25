"""Results of a run's stages in a folder, so that an interrupted run goes on where it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dtmm_mlir.errors import DtmmError

_IDENTITY = "run.json"


class Stages:
    """A folder of results; each appears whole or not at all.

    Args:
        folder: is created; one of another run is refused.
        identity: what the results depend on, as JSON.

    Raises:
        DtmmError: the folder holds another run, or something else.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder = folder
        path = folder / _IDENTITY
        if path.exists():
            if json.loads(path.read_text()) != identity:
                raise DtmmError(
                    "the folder holds a run with other settings or another network; name another one, or delete it.",
                    where=str(folder),
                )
            return
        if folder.exists() and any(folder.iterdir()):
            raise DtmmError("the folder is not empty and holds no run of this command.", where=str(folder))
        folder.mkdir(parents=True, exist_ok=True)
        self._write(path, lambda target: target.write_text(json.dumps(identity, indent=2) + "\n"))

    def json(self, name: str, make: Callable[[], Any]) -> Any:
        """What ``name.json`` holds; made first where it is missing."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            value = make()
            self._write(path, lambda target: target.write_text(json.dumps(value, indent=2) + "\n"))
        return json.loads(path.read_text())

    def tensors(self, name: str, make: Callable[[], Any]) -> Any:
        """What ``name.pt``, tensors and modules, holds; made first where it is missing."""
        path = self.folder / f"{name}.pt"
        if not path.exists():
            value = make()
            self._write(path, lambda target: torch.save(value, target))
        return self.read_tensors(name)

    def read_tensors(self, name: str) -> Any:
        """What ``tensors`` has made."""
        return torch.load(self.folder / f"{name}.pt", weights_only=False)  # written by this very run

    def fresh_folder(self, name: str) -> Path:
        """A folder that does not exist yet; what an interrupted stage left there is gone."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return self.folder / name

    def _write(self, path: Path, write: Callable[[Path], Any]) -> None:
        new = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            write(new)
            os.replace(new, path)
        finally:
            new.unlink(missing_ok=True)
