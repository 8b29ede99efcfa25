"""What each convolution takes of the flash: code, weights, indices, parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from pathlib import Path

from elftools.elf.elffile import ELFFile

from dtmm_mlir.compiler import ir_after

_DISPATCH = re.compile(r"flow\.dispatch @\w+::@(filterlet_\w+)\(.*?\) : \((?P<operands>.*?)\) ->")
_TENSOR = re.compile(r"tensor<(?P<shape>(?:\d+x)*)[a-z]+(?P<bits>\d+)>")
_CODE = ".text."


@dataclass(frozen=True)
class Footprint:
    """Bytes of one convolution in flash.

    Attributes:
        code: of its kernel.
        weights: as stored, padding included.
        indices: offsets and counts of the surviving filterlets.
        parameters: bias and scales.
    """

    code: int
    weights: int
    indices: int
    parameters: int


def footprints(model: Path, target: str, folder: Path) -> dict[str, Footprint]:
    """The footprint of each of our kernels, by its name.

    Args:
        folder: of the compiled artifact.
    """
    code = _code_sizes(folder / "model_library.o")
    found = {}
    for match in _DISPATCH.finditer(ir_after(model, "lower", target)):
        _, weights, indices, parameters = (_tensor_bytes(m) for m in _TENSOR.finditer(match["operands"]))
        found[match[1]] = Footprint(code[match[1]], weights, indices, parameters)
    return found


def _tensor_bytes(match: re.Match[str]) -> int:
    return prod(int(size) for size in match["shape"].split("x") if size) * int(match["bits"]) // 8


def _code_sizes(library: Path) -> dict[str, int]:
    """Bytes of each function: the compiler gives it a section of its own."""
    with library.open("rb") as file:
        sections = list(ELFFile(file).iter_sections())
    return {s.name.removeprefix(_CODE): s["sh_size"] for s in sections if s.name.startswith(_CODE)}
