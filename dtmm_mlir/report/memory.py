"""Which tensor lives where in the arena, and from which step to which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Lifetime:
    """A range of the arena that holds one tensor, or the row buffer of a kernel.

    Attributes:
        name: of the step that writes it.
        offset, bytes: its place in the arena.
        first, last: numbers of the steps that write it first and use it last.
        is_scratch: no other step reads it.
    """

    name: str
    offset: int
    bytes: int
    first: int
    last: int
    is_scratch: bool = True


def lifetimes(schedule: Sequence[dict[str, Any]], persistent: int = 0) -> list[Lifetime]:
    """The lifetime of everything that the steps write to the arena.

    Args:
        schedule: the steps as ``dtmm_mlir.deploy.trace`` writes them.
        persistent: bytes at the arena's start that are computed once and live for ever.
    """
    tensors: list[_Tensor] = []
    if persistent:
        tensors.append(_Tensor(Lifetime("computed once", 0, persistent, 0, len(schedule) - 1)))
    for number, step in enumerate(schedule):
        reads, writes = _arena(step["reads"]), _arena(step["writes"])
        for tensor in tensors:
            if any(tensor.holds(*read) for read in reads):
                last = max(number, tensor.lifetime.last)
                tensor.lifetime = replace(tensor.lifetime, last=last, is_scratch=False)
        for offset, length in writes:
            if (offset, length) in reads:
                continue  # changed in place
            for tensor in tensors:
                tensor.lose(offset, length)
            tensors.append(_Tensor(Lifetime(step["name"], offset, length, number, number)))
    return [tensor.lifetime for tensor in tensors]


def alive_bytes(tensors: Iterable[Lifetime], step: int) -> int:
    """Bytes of the arena that hold something while ``step`` runs."""
    ranges = sorted((t.offset, t.offset + t.bytes) for t in tensors if t.first <= step <= t.last)
    total, end = 0, 0
    for start, stop in ranges:
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total


@dataclass
class _Tensor:
    """A lifetime, and the ranges ``(start, end)`` of it that no later step has overwritten."""

    lifetime: Lifetime
    parts: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parts = [(self.lifetime.offset, self.lifetime.offset + self.lifetime.bytes)]

    def holds(self, offset: int, length: int) -> bool:
        return any(start < offset + length and offset < end for start, end in self.parts)

    def lose(self, offset: int, length: int) -> None:
        stop = offset + length
        cut = [piece for start, end in self.parts for piece in ((start, min(end, offset)), (max(start, stop), end))]
        self.parts = [(start, end) for start, end in cut if start < end]


def _arena(ranges: Iterable[Sequence[Any]]) -> list[tuple[int, int]]:
    return [(offset, length) for resource, offset, length in ranges if resource == "arena"]
