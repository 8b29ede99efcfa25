"""The kernel chosen for a convolution: what ``filterlet-plan`` writes and a person can override."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Literal, get_args

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.ops import Geometry

Kernel = Literal["table", "pairs", "mixed", "linear", "input_stationary", "pixel_lanes", "depthwise"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)

MEMBERS = {"pairs": 2, "mixed": 1}
"""Kernels that make their own runs of plain FWCS, and how many filters they compute together."""

_LIMITS = {
    "pixels": (1, 8),
    "filters": (1, 8),
    "joined": (0, None),
    "dense": (0, 1),
    "skip_padding": (0, 2),
    "masked": (0, 1),
    "pixel_rows": (1, 8),
    "row_width": (0, None),
}
"""Smallest and largest values; all other numbers are at least 1."""


@dataclass(frozen=True)
class Plan:
    """Kernel form and its parameters.

    Attributes:
        kernel: ``table`` walks the runs of a block of filters; ``pairs`` walks the filterlets that two filters keep at
            the same positions, then those of each by itself; ``mixed`` walks the whole rows of the kernel that a filter
            keeps, then its other filterlets; ``linear`` walks blocks of four filters that have weights, where the
            kernel has one position; ``input_stationary`` walks the kernel positions, loads the inputs there once, and
            multiplies them by all filters that keep the position; ``pixel_lanes`` walks the filterlets of a
            block of filters with vectors of 16 pixels; ``depthwise`` walks the kernel positions and multiplies channel
            by channel.
        pixels: neighbouring output pixels computed together, 1 to 8; in the ``pixel_lanes`` kernel vectors of them.
        filters: neighbouring filters computed together; they share their runs. 1 to 4. In ``pixel_lanes`` 1 to 8 that
            keep many positions in common, wherever they are.
        run_width: neighbouring filterlets along kx stored as one run. With one filter and a width of 1 this is plain
            FWCS; otherwise filterlets that were pruned are stored as zeros where a neighbour survives. In ``pairs`` 1,
            or the kernel's width where rows that both filters keep wholly are runs; in ``mixed`` the kernel's width; in
            ``input_stationary`` 1, or the kernel's width where inputs stay in registers from column to column.
        rows: output rows computed per refill of the row buffer, or of the ``pixel_lanes`` kernel's planes.
        joined: channels of each pixel, from its last, that are multiplied together with those of the run's other
            pixels: 0, C modulo 16 in runs as wide as the kernel, or C. The others are padded to whole vectors.
        dense: 1 where every run is stored, kept or not: all blocks then have the same runs.
        unrolled: vectors of weights that straight-line code loads, at most; more take turns of a loop. In the
            ``input_stationary`` kernel filters, a power of two.
        skip_padding: 1 where the runs are skipped whose row lies above or below the input. 2 in the
            ``input_stationary`` kernel, where ``pixels`` are the whole width and not all channels are joined: pixels
            are skipped, too, whose column lies beside the input.
        pixel_rows: output rows whose pixels are computed together; more than 1 only in the ``input_stationary`` kernel,
            where ``pixels`` are the whole width or 4, and at most 8 in all.
        masked: 1 where straight-line code tests which of up to 16 runs a block of filters has, in place of a table.
        row_width: pixels that a row is taken to have where the convolution takes pixels alone, so that blocks of
            pixels go on from row to row; 0 for the input's rows.
    """

    kernel: Kernel
    pixels: int
    filters: int
    run_width: int
    rows: int
    joined: int = 0
    dense: int = 0
    unrolled: int = 64
    skip_padding: int = 0
    pixel_rows: int = 1
    masked: int = 0
    row_width: int = 0

    def attribute(self) -> ir.DictAttr:
        """``{filters = 2, joined = 0, kernel = "table", pixels = 4, rows = 4, run_width = 3, ...}``: numbers as i64."""
        i64 = ir.IntegerType.get_signless(64)
        return ir.DictAttr.get(
            {
                name: ir.StringAttr.get(value) if isinstance(value, str) else ir.IntegerAttr.get(i64, value)
                for name, value in asdict(self).items()
            }
        )

    def shape(self, g: Geometry) -> Geometry:
        """The shape of ``g`` that the kernel computes."""
        return g.in_rows_of(self.row_width) if self.row_width else g

    @property
    def skips_columns(self) -> bool:
        """Whether pixels are skipped where a filterlet lies beside the input."""
        return self.skip_padding > 1

    @property
    def slides(self) -> bool:
        """Whether the ``input_stationary`` kernel keeps inputs in registers from one kernel column to the next."""
        return self.kernel == "input_stationary" and self.run_width > 1

    @property
    def _stores_fwcs(self) -> bool:
        """Whether plain FWCS is stored, of which the kernel makes its own blocks and runs."""
        return self.kernel in MEMBERS or self.kernel in ("linear", "input_stationary", "pixel_lanes")

    @property
    def stored_filters(self) -> int:
        """Filters per block as they are packed."""
        return 1 if self._stores_fwcs else self.filters

    @property
    def stored_width(self) -> int:
        """Filterlets per run as they are packed."""
        return 1 if self._stores_fwcs else self.run_width

    def blocks(self, filters: int) -> int:
        """Blocks that ``filters`` filters are stored in; the last one overlaps where they do not divide."""
        return -(-filters // self.stored_filters)

    def first_filter(self, block: int, filters: int) -> int:
        """First of the ``filters`` filters that ``block`` holds."""
        return min(block * self.stored_filters, filters - self.stored_filters)

    def held(self, blocks: Sequence[int] | np.ndarray, filters: int) -> np.ndarray:
        """[blocks, filters of a block] int: which of ``filters`` filters some blocks hold."""
        starts = np.array([self.first_filter(int(block), filters) for block in blocks], int)
        return np.add.outer(starts, np.arange(self.stored_filters))

    def vectors(self, channels: int, lanes: int) -> tuple[int, int]:
        """Vectors of ``lanes`` along a run whose filterlets have ``channels`` weights: whole ones, and joined ones.

        A whole vector belongs to one pixel, and there are as many for each of the run's positions.
        """
        return -(-(channels - self.joined) // lanes), -(-self.run_width * self.joined // lanes)

    def weight_vectors(self, channels: int, lanes: int) -> int:
        """Vectors of weights of one run of a block of filters; arguments as of ``vectors``."""
        whole, joined = self.vectors(channels, lanes)
        return self.filters * (whole * self.run_width + joined)

    @staticmethod
    def read(attribute: ir.Attribute) -> Plan:
        """The record behind a ``plan`` attribute; raises as ``of`` does."""
        return Plan.of({named.name: getattr(named.attr, "value", None) for named in ir.DictAttr(attribute)})

    @staticmethod
    def of(entries: object) -> Plan:
        """The record with the fields of a dictionary; those with a default may be missing.

        Raises:
            ValueError: a field is missing, unknown or out of range; the message says which.
        """
        if not isinstance(entries, dict):
            raise ValueError("a plan must be a dictionary of its fields")
        names = {field.name for field in fields(Plan)}
        needed = {field.name for field in fields(Plan) if field.default is MISSING}
        wrong = (set(entries) - names) | (needed - set(entries))
        if wrong:
            raise ValueError(f"plan has missing or unknown fields: {', '.join(sorted(map(str, wrong)))}")
        if entries["kernel"] not in KERNELS:
            raise ValueError(f'plan names the kernel "{entries["kernel"]}"; known ones are {", ".join(KERNELS)}')
        for name, value in entries.items():
            least, most = _LIMITS.get(name, (1, None))
            if name != "kernel" and (type(value) is not int or value < least or (most and value > most)):
                raise ValueError(f"plan has {name} = {value}, which is out of range")
        return Plan(**entries)
