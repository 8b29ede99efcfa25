"""Compiled models: running, saving and loading them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dtmm_mlir.errors import DtmmError
from dtmm_mlir.manifest import SCHEMA_VERSION, TensorSpec, check, file_checksum
from dtmm_mlir.output import MANIFEST, atomic_folder
from dtmm_mlir.targets import get_target

HOST_MODULE = "model.vmfb"


@dataclass(frozen=True)
class Run:
    """What running an artifact gave.

    Attributes:
        outputs: one array per output of the model, stacked along a new first axis if the inputs were.
        runs: number of inferences.
        instructions: of one inference; ``None`` on the host, where they are not counted.
        counter: how they were counted: ``exact`` or ``timer``; ``None`` on the host.
    """

    outputs: list[np.ndarray]
    runs: int
    instructions: int | None = None
    counter: str | None = None


class Artifact:
    """A compiled model in a folder.

    Args:
        folder: holds ``manifest.json`` and what it describes.
        owner: kept alive as long as the artifact, for a temporary folder.
    """

    def __init__(self, folder: Path, owner: tempfile.TemporaryDirectory[str] | None = None) -> None:
        self.dir = folder
        self.manifest: dict[str, Any] = _read_manifest(folder)
        self._owner = owner

    @property
    def inputs(self) -> list[TensorSpec]:
        return [TensorSpec.read(entry) for entry in self.manifest["inputs"]]

    @property
    def outputs(self) -> list[TensorSpec]:
        return [TensorSpec.read(entry) for entry in self.manifest["outputs"]]

    def run(self, x: Any) -> np.ndarray | list[np.ndarray]:
        """Runs the model: in this process on the host, in QEMU otherwise.

        Args:
            x: the input, of exactly its shape and dtype, or several stacked along a new first axis; a list of such
                for a model with several inputs. float32 given for a quantized int8 input is quantized:
                ``clip(round(x / scale) + zero_point)``, halves rounded to even.

        Returns:
            The output in the model's own dtype, stacked if the input was; a list for a model with several outputs.

        Raises:
            DtmmError: an input has a wrong dtype or shape, the target's tools are missing, or what would run is not the
                file that was compiled.
        """
        outputs = self.execute(x).outputs
        return outputs[0] if len(outputs) == 1 else outputs

    def execute(self, x: Any) -> Run:
        """As ``run``, with all there is to tell about it."""
        if self.manifest["compiled_to"] is not None:
            phase = self.manifest["compiled_to"]
            raise DtmmError(f"this artifact was compiled only to the phase '{phase}'; it cannot run.", str(self.dir))
        cases, stacked = self.cases(x)
        self.check_intact()
        if get_target(self.manifest["target"]).is_host:
            results, instructions, counter = [self._host(*case) for case in cases], None, None
        else:
            from dtmm_mlir.deploy import qemu

            result = qemu.run(self.dir, cases)
            results, instructions, counter = result.outputs, result.instructions, result.counter
        columns = [list(column) for column in zip(*results, strict=True)]
        outputs = [np.stack(column) if stacked else column[0] for column in columns]
        return Run(outputs, len(cases), instructions, counter)

    def save(self, folder: str | Path) -> Artifact:
        """Copies the artifact to ``folder``, which must be new, empty or another artifact; returns the copy."""
        with atomic_folder(Path(folder)) as temporary:
            shutil.copytree(self.dir, temporary, dirs_exist_ok=True)
        return Artifact(Path(folder))

    def check_intact(self) -> None:
        """Whether the machine code is what was compiled: damaged, it could do anything, so it is never started.

        Raises:
            DtmmError: a file that running needs is missing or has another checksum than the manifest says.
        """
        from dtmm_mlir.deploy.mcu import IMAGE, RECORD

        for name in (HOST_MODULE,) if get_target(self.manifest["target"]).is_host else (IMAGE, RECORD):
            if not (self.dir / name).is_file() or file_checksum(self.dir / name) != self.manifest["files"].get(name):
                raise DtmmError(f"{name} is not the file that was compiled; compile the model again.", str(self.dir))

    def cases(self, x: Any) -> tuple[list[list[np.ndarray]], bool]:
        """The inputs of each inference, checked and quantized as ``run`` does it; and whether they were stacked."""
        specs = self.inputs
        given = list(x) if isinstance(x, list | tuple) else [x]
        if len(given) != len(specs):
            names = ", ".join(spec.name for spec in specs)
            raise DtmmError(f"the model has {len(specs)} input(s) ({names}), but {len(given)} were given.")
        arrays = [_checked(value, spec) for value, spec in zip(given, specs, strict=True)]
        lengths = {len(a) if a.shape != s.shape else None for a, s in zip(arrays, specs, strict=True)}
        if len(lengths) > 1:
            raise DtmmError("the inputs are stacks of different lengths; give the same number of each.")
        if lengths == {0}:
            raise DtmmError("the stack of inputs is empty; give at least one input.")
        if lengths in (set(), {None}):
            return [arrays], False
        return [list(case) for case in zip(*arrays, strict=True)], True

    def _host(self, *inputs: np.ndarray) -> list[np.ndarray]:
        try:
            results = self._function(*(np.ascontiguousarray(value) for value in inputs))
        except (ValueError, RuntimeError, KeyError) as error:  # what the bindings raise
            reason = " ".join(str(error).split())[:300]
            raise DtmmError(
                f"{HOST_MODULE} is not what its manifest says ({reason}); compile the model again."
            ) from None
        results = results if isinstance(results, list | tuple) else [results]
        return [np.array(result.to_host()) for result in results]

    @cached_property
    def _function(self) -> Any:
        import iree.runtime as rt

        config = rt.Config("local-sync")
        module = rt.VmModule.copy_buffer(config.vm_instance, (self.dir / HOST_MODULE).read_bytes())
        return rt.load_vm_module(module, config)[self.manifest["entry"]]


def load(folder: str | Path) -> Artifact:
    """The artifact that ``compile`` or ``Artifact.save`` wrote to ``folder``.

    Raises:
        DtmmError: there is none, it is incomplete, or it is of another version.
    """
    return Artifact(Path(folder))


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        raise DtmmError("there is no artifact here: manifest.json is missing.", where=str(folder)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DtmmError(f"the manifest cannot be read: {error}.", where=str(path)) from None
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if version != SCHEMA_VERSION:
        raise DtmmError(
            f"the manifest has schema version {version}, this program reads {SCHEMA_VERSION}; compile the model again.",
            where=str(path),
        )
    try:
        check(manifest)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise DtmmError(f"the manifest is damaged ({error}); compile the model again.", where=str(path)) from None
    missing = [name for name in manifest["files"] if not (folder / name).exists()]
    if missing:
        raise DtmmError(f"the artifact is incomplete, it lacks {', '.join(missing)}.", where=str(folder))
    return manifest


def _checked(value: Any, spec: TensorSpec) -> np.ndarray:
    """``value`` as an array of the input's dtype, and of its shape or a stack of such."""
    array = np.asarray(value)
    stacked = array.ndim == len(spec.shape) + 1 and array.shape[1:] == spec.shape
    if array.shape != spec.shape and not stacked:
        raise DtmmError(
            f"input '{spec.name}' has the shape {_sizes(array.shape)}, but the model takes {_sizes(spec.shape)}, or a "
            f"stack of them, Nx{_sizes(spec.shape)}.",
        )
    if array.dtype == np.float32 and spec.quantization is not None and spec.dtype != "float32":
        return _quantize(array, spec)
    if array.dtype != np.dtype(spec.dtype):
        also = ", or float32, which is then quantized" if spec.quantization is not None else ""
        raise DtmmError(f"input '{spec.name}' is {array.dtype}, but the model takes {spec.dtype}{also}.")
    return array


def _quantize(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    assert spec.quantization is not None
    if not np.isfinite(array).all():
        raise DtmmError(f"input '{spec.name}' holds NaN or infinity.")
    limits = np.iinfo(spec.dtype)
    values = np.rint(array.astype(np.float64) / spec.quantization["scale"]) + spec.quantization["zero_point"]
    return np.clip(values, limits.min, limits.max).astype(spec.dtype)


def _sizes(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
