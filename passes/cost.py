"""What a convolution costs under a plan: an estimate of its instructions, and the bytes of its weights and tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from dtmm_mlir.dialect.ops import Geometry
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.kernels.input_stationary import passes, stored_sums
from dtmm_mlir.passes.kernels.isa import Isa
from dtmm_mlir.passes.kernels.mve_input_stationary import UNROLLED, WORD, Finish
from dtmm_mlir.passes.kernels.planes import PlaneLayout
from dtmm_mlir.passes.kernels.quads import LANES, QUAD
from dtmm_mlir.passes.kernels.rows import RowLayout
from dtmm_mlir.passes.runs import cover

_COSTS = Path(__file__).with_name("costs.json")


class Convolution(Protocol):
    """What is costed: a ``filterlet.conv_2d``, or what is to become one.

    Attributes:
        geometry: its shape.
        weights: [F, KH, KW, C / groups], i8 or f32.
        kept: [F, KH, KW] bool: which filterlets have a weight that is not zero.
        element_type: ``i8`` or ``f32``.
    """

    @property
    def geometry(self) -> Geometry: ...
    @property
    def weights(self) -> np.ndarray: ...
    @property
    def kept(self) -> np.ndarray: ...
    @property
    def element_type(self) -> str: ...


@cache
def costs_of(isa: str, element: str = "i8") -> Mapping[str, float]:
    """Instructions of each thing that ``counts`` counts, and stock IREE's per multiplication.

    Those of microcontrollers were measured, see ``benchmarks/calibrate.py``; those of ``pixel_lanes`` kernels are times
    on one machine (an Intel Xeon of family 6, model 207), in units of what the ``table`` kernel's estimates take there.

    Args:
        isa: one of the ``isa`` names of targets.
        element: ``i8`` or ``f32``.
    """
    return json.loads(_COSTS.read_text())[isa][element]


def estimate(conv: Convolution, plan: Plan, isa: Isa, costs: Mapping[str, float]) -> float:
    """Instructions of a convolution under a plan of any kernel but ``depthwise``."""
    return sum(costs[name] * count for name, count in counts(conv, plan, isa).items())


def counts(conv: Convolution, plan: Plan, isa: Isa) -> dict[str, int]:
    """How often the kernel of a plan does what; of any but ``depthwise``.

    Returns:
        ``data``, ``weights``, ``joined``: vectors loaded; ``far``: times that the address moves because a column is out
        of a load's reach; ``mac``: vectors multiplied; ``own_run``, ``same_run``: runs walked, by tables and in
        straight-line code; ``crowded_run``: those by tables whose sums take all registers; ``tested_run``: runs that
        may lie in the padding and are skipped there; ``own_block``: blocks of filters with tables; ``block``: all;
        ``finished``: those whose results ``Isa.finish`` stores; of the others, ``filter``: filters; ``results``:
        requantizations of four pixels; ``few_results``: of fewer; ``pixel_block``: blocks of pixels; ``row``: output
        rows; ``copied``, ``moved``: vectors written to the row buffer from the input and from its own end;
        ``copied_pixel``: pixels copied one by one; ``call``: one; ``passes``: instructions of the ``input_stationary``
        kernel's assembly; ``listed``: words of its list; ``stationary_block``: its blocks of pixels. Of the
        ``pixel_lanes`` kernel, ``lanes_loaded``, ``lanes_multiplied``, ``lanes_finished``, ``lanes_copied``: vectors of
        pixels loaded, multiplied by a quad of weights, requantized, and written to planes; ``lanes_run``: runs walked.
    """
    if plan.kernel == "input_stationary":
        return _stationary_counts(conv, plan, isa)
    if plan.kernel == "pixel_lanes":
        return _lanes_counts(conv, plan)
    g, lanes = conv.geometry, isa.lanes(conv.element_type)
    pixels, filters, width = min(plan.pixels, g.ow), plan.filters, plan.run_width
    kept = _blocks(conv, plan)
    runs = _runs(kept, width)
    whole, joined = plan.vectors(g.group_channels, lanes)
    weights = plan.weight_vectors(g.group_channels, lanes)
    straight = bool((kept == kept[0]).all()) and runs // len(kept) * weights <= plan.unrolled
    columns = {p * g.strides[1] + k * g.dilations[1] for p in range(pixels) for k in range(width)}
    pixel_blocks = g.n * g.oh * -(-g.ow // pixels)
    blocks, walked, tested = pixel_blocks * len(kept), pixel_blocks * runs, 0
    if straight and plan.skip_padding:
        rows = cover(kept[:1], width)[:, 1]
        blocks_of_row = blocks // g.oh
        tested = blocks * sum(int(row) in g.padded_rows for row in rows)
        walked = blocks_of_row * sum(g.rows_inside(int(row)) for row in rows)
    finished = conv.element_type == "i8" and isa.finishes(pixels, filters)
    return {
        "call": 1,
        "data": walked * whole * len(columns),
        "weights": walked * weights,
        "joined": walked * joined * pixels,
        "far": walked * whole * _moves(isa, max(columns) * whole * lanes * isa.row_bytes(conv.element_type)),
        "mac": walked * weights * pixels,
        "own_run": 0 if straight else walked,
        "crowded_run": walked if not straight and pixels * filters == isa.accumulators else 0,
        "same_run": walked if straight else 0,
        "tested_run": tested,
        "own_block": 0 if straight else blocks,
        "block": blocks,
        "finished": blocks if finished else 0,
        "filter": 0 if finished else blocks * filters,
        "results": 0 if finished else blocks * filters * (pixels // 4),
        "few_results": 0 if finished else blocks * filters * bool(pixels % 4),
        "pixel_block": pixel_blocks,
        "row": g.n * g.oh,
        **dict.fromkeys((*_STATIONARY_ONLY, *_LANES_ONLY), 0),
        **_row_buffer(conv, plan, isa, whole * lanes),
    }


_TABLE_ONLY = (
    "data", "weights", "joined", "far", "mac", "own_run", "crowded_run", "same_run", "tested_run", "own_block", "block",
    "finished", "filter", "results", "few_results", "pixel_block",
)  # fmt: skip

_STATIONARY_ONLY = ("passes", "listed", "stationary_block")
_LANES_ONLY = ("lanes_loaded", "lanes_multiplied", "lanes_finished", "lanes_copied", "lanes_run")
_BUFFER_ONLY = ("row", "copied", "copied_pixel", "moved")


def _lanes_counts(conv: Convolution, plan: Plan) -> dict[str, int]:
    g = conv.geometry
    layout = PlaneLayout(g, min(plan.rows, g.oh))
    refills = g.n * -(-g.oh // layout.rows)
    vectors = min(plan.pixels, layout.pixels // LANES)
    blocks = refills * -(-layout.pixels // (vectors * LANES))
    runs = blocks * _runs(_blocks(conv, plan), 1)
    loaded = runs * layout.quads * vectors
    rows = len(layout.row_phases) * g.kw * layout.quads * layout.plane_rows
    return dict.fromkeys((*_TABLE_ONLY, *_STATIONARY_ONLY, *_BUFFER_ONLY), 0) | {
        "call": 1,
        "lanes_loaded": loaded,
        "lanes_multiplied": loaded * plan.filters,
        "lanes_run": runs,
        "lanes_finished": blocks * vectors * -(-g.f // QUAD) * QUAD,
        "lanes_copied": refills * rows * -(-g.ow // LANES),
    }


def _stationary_counts(conv: Convolution, plan: Plan, isa: Isa) -> dict[str, int]:
    g = conv.geometry
    whole = -(-g.c // LANES) * LANES
    layout = RowLayout.plan(g, whole, 0, plan.rows, 0, same=True)
    filterlets = [int(count) for count in conv.kept.sum(axis=0).reshape(-1) if count]
    kernel = passes(plan, layout)
    finish = Finish(kernel.pixels, "double", 1)
    blocks = g.n * (g.oh // plan.pixel_rows) * -(-g.ow // plan.pixels)
    return dict.fromkeys((*_TABLE_ONLY, *_LANES_ONLY), 0) | {
        "call": 1,
        "row": g.n * (g.oh // plan.pixel_rows),
        "passes": blocks * (kernel.instructions(filterlets) + finish.instructions(g.f)),
        "listed": kernel.list_words(len(filterlets), sum(filterlets)),
        "stationary_block": blocks,
        **_row_buffer(conv, plan, isa, whole),
    }


def scratch_bytes(conv: Convolution, plan: Plan) -> int:
    """Bytes that the ``input_stationary`` kernel works in, apart from its row buffer."""
    filterlets = [int(count) for count in conv.kept.sum(axis=0).reshape(-1) if count]
    layout = RowLayout.plan(conv.geometry, conv.geometry.c, 0, 1, 0, same=True)
    kernel = passes(plan, layout)
    words = kernel.list_words(len(filterlets), sum(filterlets))
    return conv.geometry.f * stored_sums(kernel.pixels) + words * WORD


def _moves(isa: Isa, span: int) -> int:
    """How often an address moves to reach columns up to ``span`` bytes away, and back."""
    return 0 if isa.word_reach is None or span <= isa.word_reach else 1 + span // isa.word_reach


def _row_buffer(conv: Convolution, plan: Plan, isa: Isa, whole: int) -> dict[str, int]:
    g, bytes = conv.geometry, isa.row_bytes(conv.element_type)
    slack = int(plan.joined > 0)  # how much does not matter here
    layout = RowLayout.plan(g, whole, plan.joined, plan.rows, slack, same=bytes == conv.weights.itemsize)
    if layout.direct:
        return {"copied": 0, "copied_pixel": 0, "moved": 0}
    lanes = isa.lanes(conv.element_type)
    overlap = max(layout.reach - g.strides[0], 0) * layout.row
    pixels = g.n * g.h * g.w
    contiguous = g.c in (layout.pixel, layout.joined)
    vectors = -(-g.group_channels // lanes) * g.groups
    return {
        "copied": pixels * g.c // lanes if contiguous else pixels * vectors,
        "copied_pixel": 0 if contiguous else pixels,
        "moved": g.n * (-(-g.oh // layout.rows) - 1) * overlap // isa.move_lanes(bytes),
    }


def stock_estimate(conv: Convolution, costs: Mapping[str, float]) -> float:
    """Instructions of a float convolution compiled by stock IREE, which multiplies by pruned weights too."""
    g = conv.geometry
    multiplications = g.n * g.oh * g.ow * g.f * g.kh * g.kw * g.group_channels
    return multiplications * costs["stock_pointwise" if g.kh * g.kw == 1 else "stock"]


def stored_bytes(conv: Convolution, plan: Plan, isa: Isa) -> int:
    """Bytes of the weights and offsets of a plan of any kernel but ``depthwise``."""
    if plan.kernel == "input_stationary":
        positions = int(conv.kept.any(axis=0).sum())
        return int(conv.kept.sum()) * (_stored_channels(conv) + 2) + 4 * positions
    channels, lanes = conv.geometry.group_channels, isa.lanes(conv.element_type)
    runs = _runs(_blocks(conv, plan), plan.run_width)
    if plan.kernel == "pixel_lanes":
        return runs * (plan.filters * -(-channels // QUAD) * QUAD + 4)
    _, joined = plan.vectors(channels, lanes)
    elements = plan.filters * (plan.run_width * (channels - plan.joined) + joined * lanes)
    return runs * (elements * conv.weights.itemsize + 2)


def _stored_channels(conv: Convolution) -> int:
    """Weights that the ``input_stationary`` kernel stores of a filterlet."""
    channels = conv.geometry.c
    return channels if channels <= LANES * UNROLLED else -(-channels // LANES) * LANES


def _runs(kept: np.ndarray, width: int) -> int:
    """Runs of ``width`` that cover the blocks ``kept``."""
    return _count_runs(kept.tobytes(), kept.shape, width)


@lru_cache(maxsize=1024)
def _count_runs(kept: bytes, shape: tuple[int, ...], width: int) -> int:
    """Plans differ in much that does not change their runs."""
    return len(cover(np.frombuffer(kept, bool).reshape(shape), width))


def _blocks(conv: Convolution, plan: Plan) -> np.ndarray:
    """[blocks, KH, KW] bool: what each block stores."""
    filters = conv.geometry.f
    starts = [plan.first_filter(block, filters) for block in range(plan.blocks(filters))]
    kept = conv.kept[np.add.outer(starts, np.arange(plan.filters))].any(axis=1)
    return np.logical_or(kept, bool(plan.dense))
