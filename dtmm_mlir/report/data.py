"""The report's figures. Its JSON form is in ``report.schema.json``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dtmm_mlir.dialect.ops import Geometry, Removed
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.manifest import shape_entry
from dtmm_mlir.report.details import pattern
from dtmm_mlir.report.memory import Lifetime

SCHEMA_VERSION = 1
SCHEMA_FILE = Path(__file__).with_name("report.schema.json")

Kind = Literal["convolution", "dispatch", "fill", "copy", "runtime"]


@dataclass(frozen=True)
class Convolution:
    """A convolution or linear layer that runs in one of our kernels.

    Attributes:
        kind: ``conv_2d``, ``depthwise_conv_2d`` or ``linear``.
        dtype: of input and weights, numpy's name.
        geometry: its shape in the model.
        kept: [F, KH, KW] bool, which filterlets survived pruning in the model.
        kept_macs, dense_macs: multiply-accumulates of one inference, of the kept filterlets and of all.
        removed: filters and channels that nothing depends on, and that are not computed.
        plan: its kernel.
        predicted: instructions by the cost model; ``None`` where it does not know the kernel.
        weight_bytes, index_bytes, parameter_bytes: flash of its constants; layers may share equal ones.
    """

    kind: str
    dtype: str
    geometry: Geometry
    kept: np.ndarray
    kept_macs: int
    dense_macs: int
    removed: Removed
    plan: Plan
    predicted: int | None
    weight_bytes: int
    index_bytes: int
    parameter_bytes: int

    @property
    def kept_filterlets(self) -> int:
        return int(self.kept.sum())

    @property
    def computed(self) -> tuple[Geometry, np.ndarray]:
        """Shape and pattern without what is removed."""
        geometry, (filters, channels) = self.geometry, map(list, (self.removed.filters, self.removed.channels))
        kept = np.delete(self.kept, filters, axis=0)
        c = geometry.c - len(channels)
        groups = c if geometry.is_depthwise else geometry.groups
        return replace(geometry, c=c, f=len(kept), groups=groups), kept

    @property
    def constant_bytes(self) -> int:
        """Weights, indices and parameters."""
        return self.weight_bytes + self.index_bytes + self.parameter_bytes

    @property
    def kept_text(self) -> str:
        """``29 of 288``: filterlets, and how many filters are not computed as nothing depends on them."""
        removed = f" (-{len(self.removed.filters)} filters)" if self.removed.filters else ""
        return f"{self.kept_filterlets} of {self.kept.size}{removed}"

    @property
    def shape_text(self) -> str:
        """``HxWxC -> OHxOWxF, KHxKW``, of what is computed."""
        g, _ = self.computed
        return f"{g.h}x{g.w}x{g.c} -> {g.oh}x{g.ow}x{g.f}, {g.kh}x{g.kw}"

    @property
    def plan_text(self) -> str:
        """The plan in a few words: ``table 4x2 run 3 dense`` is 4 pixels by 2 filters, runs of 3, all stored;
        ``sliding`` is said of inputs that stay in registers from kernel column to kernel column."""
        plan = self.plan
        words = [plan.kernel, f"{plan.pixels}x{plan.filters}"]
        words += ["sliding" if plan.slides else f"run {plan.run_width}"] if plan.run_width > 1 else []
        words += [f"joined {plan.joined}"] if plan.joined else []
        return " ".join([*words, "dense"] if plan.dense else words)

    def json(self) -> dict[str, Any]:
        """Its entry in the report's JSON."""
        return {
            "kind": self.kind,
            "dtype": self.dtype,
            **shape_entry(self.geometry),
            "kept_filterlets": self.kept_filterlets,
            "total_filterlets": self.kept.size,
            "kept_macs": self.kept_macs,
            "dense_macs": self.dense_macs,
            "removed_filters": list(self.removed.filters),
            "removed_channels": list(self.removed.channels),
            "plan": vars(self.plan),
            "predicted_instructions": self.predicted,
            "weight_bytes": self.weight_bytes,
            "index_bytes": self.index_bytes,
            "parameter_bytes": self.parameter_bytes,
            "pattern": pattern(self.kept),
        }


@dataclass(frozen=True)
class Row:
    """A step of the inference; the instructions of all rows sum to the whole.

    Attributes:
        name: of the layer where the model names it, else of the step.
        kind: ``convolution`` runs in our kernel; ``dispatch`` in ours of an addition or a pool, called ``int8_...``, or
            in IREE's; ``fill`` and ``copy`` are the runtime's; ``runtime`` is what lies around the steps: checks, and
            the call of the model.
        function: in the compiled library; ``None`` for what is no dispatch.
        instructions: exactly counted; ``None`` where nothing was counted.
        code_bytes: of its function; ``None`` where that is not known, or it is no dispatch.
        ram_bytes: of the arena that hold something while it runs.
        location: where the layer is in the model.
    """

    name: str
    kind: Kind
    function: str | None = None
    instructions: int | None = None
    code_bytes: int | None = None
    ram_bytes: int | None = None
    location: str | None = None
    convolution: Convolution | None = None

    @property
    def cost(self) -> int | None:
        """Instructions as counted, else as predicted."""
        return self.predicted if self.instructions is None else self.instructions

    @property
    def predicted(self) -> int | None:
        return None if self.convolution is None else self.convolution.predicted

    @property
    def macs_per_instruction(self) -> float | None:
        """Kept multiply-accumulates per instruction; ``None`` where one of them is not known."""
        if self.convolution is None or not self.cost:
            return None
        return self.convolution.kept_macs / self.cost

    def json(self) -> dict[str, Any]:
        """Its entry in the report's JSON."""
        entry = {name: value for name, value in vars(self).items() if name != "convolution"}
        return {**entry, "convolution": None if self.convolution is None else self.convolution.json()}


@dataclass(frozen=True)
class Chip:
    """What the model has to fit: bytes of flash and RAM, and whose they are."""

    name: str
    flash: int
    ram: int


@dataclass(frozen=True)
class Goal:
    """What ``--optimize`` would give by the cost model: a point of the trade of flash against instructions.

    Attributes:
        optimize: ``speed``, ``balanced`` or ``size``.
        instructions: of the convolutions that the cost model knows.
        stored_bytes: of their weights and indices.
    """

    optimize: str
    instructions: int
    stored_bytes: int


@dataclass(frozen=True)
class Gain:
    """What pruning a layer would save by the cost model.

    Attributes:
        row: number of the layer's row.
        pruned: share of all its filterlets.
        instructions, stored_bytes: fewer than now; negative for more. What is predicted of the instructions is a share
            of what was counted.
    """

    row: int
    pruned: float
    instructions: int
    stored_bytes: int


@dataclass(frozen=True)
class Report:
    """Where a model's instructions, flash and RAM go on a target.

    Attributes:
        target: name of the target.
        model: ``{"name", "sha256"}`` of its source.
        tools: versions of what compiled and measured.
        rows: the steps in order; of a model that is not compiled yet, its convolutions.
        instructions: of one inference; ``None`` where nothing was counted.
        counter: ``exact``, or ``timer`` for an estimate of the whole only; ``None`` where nothing was counted.
        checksums: of the ``input`` that was counted and its ``output``, sha256.
        flash: bytes in the linked image: ``kernels``, ``runtime``, ``schedule``, ``constants``.
        ram: bytes: ``arena``, ``buffers`` of inputs and outputs, and ``stack`` as deep as it was used.
        chip: what it has to fit.
        tensors: lifetimes in the arena, by number of the row.
        goals, gains: what other plans and more pruning would give.
        notes: what a reader has to know about the figures.
    """

    target: str
    model: dict[str, Any]
    tools: dict[str, str]
    rows: list[Row]
    instructions: int | None = None
    counter: str | None = None
    checksums: dict[str, str] = field(default_factory=dict)
    flash: dict[str, int] | None = None
    ram: dict[str, int] | None = None
    chip: Chip | None = None
    tensors: list[Lifetime] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    gains: list[Gain] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def convolutions(self) -> list[tuple[Row, Convolution]]:
        """The rows that are convolutions."""
        return [(row, row.convolution) for row in self.rows if row.convolution is not None]

    @property
    def cost(self) -> int:
        """Instructions of the whole as counted, else the sum of what is predicted."""
        return self.instructions or sum(row.cost or 0 for row in self.rows)

    @property
    def is_counted(self) -> bool:
        """Whether each row's instructions were counted."""
        return self.counter == "exact"

    def json(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        entries = {name: value for name, value in vars(self).items() if name != "chip"}
        return {
            "schema_version": SCHEMA_VERSION,
            **entries,
            "rows": [row.json() for row in self.rows],
            "chip": None if self.chip is None else vars(self.chip),
            **{name: [vars(each) for each in getattr(self, name)] for name in ("tensors", "goals", "gains")},
        }
