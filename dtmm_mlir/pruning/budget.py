"""What a network may take."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from dtmm_mlir.pruning.cost import Cost


@dataclass(frozen=True)
class Budget:
    """Upper limits; ``None`` is no limit.

    Attributes:
        instructions: of one inference, as QEMU counts them.
        flash: bytes of the linked image.
        ram: bytes of the arena.
        drop: points of the metric that may be lost.
    """

    instructions: int | None = None
    flash: int | None = None
    ram: int | None = None
    drop: float | None = None

    def limits(self) -> dict[str, int]:
        """The limits of a cost that there are."""
        names = ("instructions", "flash", "ram")
        return {name: value for name, value in asdict(self).items() if name in names and value is not None}

    def excess(self, cost: Cost) -> dict[str, float]:
        """By how much ``cost`` is beyond each limit, relative to it; not above zero where it is within."""
        return {name: getattr(cost, name) / limit - 1 for name, limit in self.limits().items()}

    def allows(self, cost: Cost) -> bool:
        """Whether ``cost`` is within all limits."""
        return all(excess <= 0 for excess in self.excess(cost).values())

    def without_limits(self) -> bool:
        """Whether nothing limits the cost."""
        return not self.limits()
