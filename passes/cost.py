"""What a convolution costs under a plan: an estimate of its instructions, and the bytes of its weights and tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from dtmm_mlir.dialect.ops import Geometry
from dtmm_mlir.dialect.plan import MEMBERS, Plan
from dtmm_mlir.passes.kernels.constants import Pattern
from dtmm_mlir.passes.kernels.conv import RESULTS
from dtmm_mlir.passes.kernels.filters import PARAMETERS, Run
from dtmm_mlir.passes.kernels.grouping import Grouping
from dtmm_mlir.passes.kernels.input_stationary import own_biases, trailing_zeros
from dtmm_mlir.passes.kernels.isa import Isa
from dtmm_mlir.passes.kernels.linear import blocks_of_filters
from dtmm_mlir.passes.kernels.mve_input_stationary import HEADER, LANES, WORD, Finish
from dtmm_mlir.passes.kernels.parts import Parts, record_words
from dtmm_mlir.passes.kernels.planes import PlaneLayout
from dtmm_mlir.passes.kernels.quads import LANES as PIXELS
from dtmm_mlir.passes.kernels.quads import QUAD
from dtmm_mlir.passes.kernels.rows import RowLayout, sampling
from dtmm_mlir.passes.kernels.stationary_schedule import Counts, Schedule, computed_filters, row_layout, stored_sums
from dtmm_mlir.passes.runs import cover

_COSTS = Path(__file__).with_name("costs.json")

_NEAREST_CACHE = 32 << 10
"""Bytes that a processor's nearest cache holds."""

_STORED_BESIDE = 4
"""Vectors of sums of a ``pixel_lanes`` kernel's block that become results in no time beside multiplications."""

_ADDRESSES_CODE = 170
"""Bytes of code, about, that writes addresses of sums for passes of the same kinds."""


class Convolution(Protocol):
    """What is costed: a ``filterlet.conv_2d``, or what is to become one.

    Attributes:
        geometry: its shape.
        weights: [F, KH, KW, C / groups], i8 or f32.
        kept: [F, KH, KW] bool: which filterlets have a weight that is not zero.
        element_type: ``i8`` or ``f32``.
        input_zero_point: of an i8 input.
    """

    @property
    def geometry(self) -> Geometry: ...
    @property
    def weights(self) -> np.ndarray: ...
    @property
    def kept(self) -> np.ndarray: ...
    @property
    def element_type(self) -> str: ...
    @property
    def input_zero_point(self) -> int: ...


@cache
def costs_of(isa: str, element: str = "i8") -> Mapping[str, float]:
    """Instructions of each thing that ``counts`` counts, and stock IREE's per multiplication.

    Those of microcontrollers and AArch64 were measured, see ``benchmarks/calibrate.py``. On x86-64, those of
    ``pixel_lanes`` kernels are ratios of times on an AMD EPYC of family 25, model 17, see
    ``benchmarks/calibrate_host.py``; that of a multiplication is in units of what the ``table`` kernel's estimates take
    there, or for AVX512 on an Intel Xeon of family 6, model 207. AVX-VNNI was measured in AVX512's form of it.

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
        Of every kernel ``call``: one.

        Of tables, ``pairs``, ``mixed`` and ``linear``:

        - ``data``, ``weights``, ``joined``: vectors loaded; ``mac``: multiplied; ``far``: times that the
          address moves because a column is out of a load's reach, ``far_joined``: because joined channels of
          the next pixel are;
        - ``own_run``, ``same_run``: runs walked, by tables and in straight-line code; ``crowded_run``: those by
          tables whose sums take all registers; ``joined_run``: those of joined channels and others;
          ``tested_run``: runs that may lie in the padding and are skipped there, ``tested_joined``: those of
          joined channels; ``masked_run``: tests whether a block has a run;
        - ``block``: blocks of filters; ``own_block``: those with tables, ``zoned_block``: and that skip
          padding; ``block_part``: kinds of runs of those of ``pairs`` and ``mixed``, ``block_row``: kernel rows
          of those that skip padding; ``pixel_block``: blocks of pixels; ``row``: output rows;
        - ``finished``: blocks of one filter or two whose results ``Isa.finish`` stores, ``finished_four``: of
          four, ``finished_four_pixel``: pixels of these; of the others, ``filter``: filters, ``results``:
          requantizations of four pixels, ``results_of_1`` and so on: of fewer.

        Of constant results ``constant``: filters, at each block of pixels; ``pattern``: vectors that are stored
        pixel by pixel instead; ``pattern_pixel``: these pixels, where other results are stored, too.

        Of the row buffer ``copied_row``: rows of the input; ``copied``, ``moved``: vectors written from there
        and from its own end; ``copied_pixel``: pixels copied one by one, ``copied_part``: vectors of these.

        Of ``input_stationary`` kernels ``stationary``: one; ``passes``: instructions of the assembly; ``list``:
        lists of passes, ``listed``: their entries; ``place``: lists of sums written in loops, ``addressed``: words of
        these; ``addressed_straight``: loads, sums and stores that write the others;
        ``begun``: filters whose sums begin with a bias; ``stationary_block``: blocks of pixels,
        ``joined_block``: those that read joined channels and others.

        Of ``pixel_lanes`` kernels ``lanes_multiplied``, ``lanes_finished``, ``lanes_copied``: vectors of pixels
        multiplied by a quad of weights, requantized, and written to planes; ``lanes_weights``: such quads, each for a
        block of pixels; ``lanes_waited``: loads beyond those that take no time beside multiplications, those of quads
        of weights counted two thirds, and those of vectors that are not aligned four thirds; ``lanes_far``: loads of
        what does not fit into the nearest cache; ``lanes_block``: blocks of filters, ``lanes_stored``: their vectors of
        sums beyond four.
    """
    conv = _as_stored(conv, plan)
    if plan.kernel == "input_stationary":
        return _stationary_counts(conv, plan, isa)
    if plan.kernel == "pixel_lanes":
        return _lanes_counts(conv, plan, isa)
    if plan.kernel in MEMBERS:
        return _parts_counts(conv, plan, isa)
    if plan.kernel == "linear":
        return _linear_counts(conv, plan, isa)
    g, lanes = conv.geometry, isa.lanes(conv.element_type)
    pixels, filters, width = min(plan.pixels, g.ow), plan.filters, plan.run_width
    stored = _blocks(conv, plan)
    runs, computed = len(stored.runs), stored.computed
    whole, joined = plan.vectors(g.group_channels, lanes)
    weights = plan.weight_vectors(g.group_channels, lanes)
    straight, zoned = _is_straight(conv, plan, isa), is_zoned(conv, plan, isa)
    step = g.strides[1] // sampling(g)[1]
    columns = {p * step + k * g.dilations[1] for p in range(pixels) for k in range(width)}
    loads = _loads(conv, plan, isa)
    pixel_blocks = g.n * g.oh * -(-g.ow // pixels)
    blocks, walked, tested = pixel_blocks * computed, pixel_blocks * runs, 0
    if straight and plan.skip_padding:
        rows = stored.runs[stored.runs[:, 0] == stored.runs[:1, 0], 1]
        blocks_of_row = blocks // g.oh
        tested = blocks * sum(int(row) in g.padded_rows for row in rows)
        walked = blocks_of_row * sum(g.rows_inside(int(row)) for row in rows)
    if zoned:
        inside = np.array([g.rows_inside(row) for row in range(g.kh)])
        walked = pixel_blocks // g.oh * int(inside[stored.runs[:, 1]].sum())
    finished = conv.element_type == "i8" and isa.finishes(pixels, filters)
    held = _weights_held(conv, plan, isa)
    joined_loads = walked * joined * pixels * (1 if held is None else -(-filters // held))
    is_far = isa.byte_reach is not None and step * plan.joined > isa.byte_reach
    return {
        "call": 1,
        "data": walked * whole * loads,
        "weights": walked * weights,
        "joined": joined_loads,
        "far": walked * whole * _moves(isa, max(columns) * whole * lanes * isa.row_bytes(conv.element_type)),
        "far_joined": joined_loads if is_far else 0,
        "mac": walked * weights * pixels,
        "own_run": 0 if straight else walked,
        "crowded_run": walked if not straight and pixels * filters == isa.accumulators else 0,
        "same_run": walked if straight else 0,
        "joined_run": walked if joined and whole else 0,
        "tested_run": tested,
        "tested_joined": tested if joined else 0,
        "masked_run": blocks * masked_runs(conv, plan) if plan.masked else 0,
        "own_block": 0 if straight else blocks,
        "zoned_block": blocks if zoned else 0,
        "block_part": 0,
        "block_row": 0,
        "block": blocks,
        "finished": blocks if finished and filters <= 2 else 0,
        "finished_four": blocks if finished and filters > 2 else 0,
        "finished_four_pixel": blocks * pixels if finished and filters > 2 else 0,
        "filter": 0 if finished else blocks * filters,
        "results": 0 if finished else blocks * filters * (pixels // 4),
        **{name: 0 if finished or pixels % 4 != n else blocks * filters for n, name in _FEW_RESULTS.items()},
        **_constants(g, stored.constants, pixel_blocks, isa),
        "pixel_block": pixel_blocks,
        "row": g.n * g.oh,
        **dict.fromkeys((*_STATIONARY_ONLY, *_LANES_ONLY), 0),
        **_copies(_row_layout(conv, plan, isa), lanes, isa.move_lanes(isa.row_bytes(conv.element_type))),
    }


def _is_straight(conv: Convolution, plan: Plan, isa: Isa) -> bool:
    """Whether all blocks of the ``table`` kernel have the same runs, or are tested for them, few enough to be
    straight-line code."""
    stored = _blocks(conv, plan)
    weights = plan.weight_vectors(conv.geometry.group_channels, isa.lanes(conv.element_type))
    same = stored.same and len(stored.runs) // stored.computed * weights <= plan.unrolled
    return same or bool(plan.masked)


def is_zoned(conv: Convolution, plan: Plan, isa: Isa) -> bool:
    """Whether tables of the ``table`` kernel skip padding."""
    return plan.kernel == "table" and bool(plan.skip_padding) and not _is_straight(conv, plan, isa)


def _loads(conv: Convolution, plan: Plan, isa: Isa) -> int:
    """Vectors of inputs that a run loads for each vector along the channels of all filters."""
    g, pixels, width = conv.geometry, min(plan.pixels, conv.geometry.ow), plan.run_width
    held = _weights_held(conv, plan, isa)
    together = width if held is None else max(1, held // plan.filters)
    step = g.strides[1] // sampling(g)[1]
    columns = [
        len({p * step + k * g.dilations[1] for p in range(pixels) for k in range(start, min(start + together, width))})
        for start in range(0, width, together)
    ]
    return sum(columns) * (1 if held is None else -(-plan.filters // held))


_FEW_RESULTS = {n: f"results_of_{n}" for n in (1, 2, 3)}

_TABLE_ONLY = (
    "data", "weights", "joined", "far", "far_joined", "mac", "own_run", "crowded_run", "same_run", "joined_run",
    "tested_run", "tested_joined", "masked_run", "own_block", "zoned_block", "block_part", "block_row", "block",
    "finished", "finished_four", "finished_four_pixel", "filter", "results", *_FEW_RESULTS.values(), "pixel_block",
    "row",
)  # fmt: skip

_STATIONARY_ONLY = (
    "stationary", "passes", "list", "listed", "place", "addressed", "addressed_straight", "begun", "stationary_block",
    "joined_block",
)  # fmt: skip
_LANES_ONLY = (
    "lanes_block",
    "lanes_multiplied",
    "lanes_weights",
    "lanes_stored",
    "lanes_waited",
    "lanes_finished",
    "lanes_copied",
    "lanes_far",
)
_BUFFER_ONLY = ("copied_row", "copied", "copied_part", "copied_pixel", "moved")


def _weights_held(conv: Convolution, plan: Plan, isa: Isa) -> int | None:
    """Vectors of weights that wait in registers for the inputs that they share; None if that is not known."""
    sums = min(plan.pixels, conv.geometry.ow) * plan.filters
    return isa.weights_held(sums) if conv.element_type == "i8" else None


_OF_RUNS = ("data", "weights", "joined", "far", "far_joined", "mac", "crowded_run")
"""What the runs of a block cost, whatever walks them."""


@dataclass(frozen=True)
class _Part:
    """What a convolution would be with other filterlets."""

    geometry: Geometry
    weights: np.ndarray
    kept: np.ndarray
    element_type: str
    input_zero_point: int


def reshaped(conv: Convolution, shape: Geometry) -> Convolution:
    """The convolution in another shape of as many pixels, which it takes alone."""
    return _Part(shape, conv.weights, conv.kept, conv.element_type, conv.input_zero_point)


def unpruned(conv: Convolution) -> Convolution:
    """The convolution with all of its filterlets."""
    kept = np.ones_like(conv.kept)
    return _Part(conv.geometry, conv.weights, kept, conv.element_type, conv.input_zero_point)


def _as_stored(conv: Convolution, plan: Plan) -> Convolution:
    """The convolution in the shape that a plan's kernel computes, with the filterlets that it stores."""
    conv = reshaped(conv, plan.shape(conv.geometry)) if plan.row_width else conv
    return unpruned(conv) if plan.dense else conv


def _parts_counts(conv: Convolution, plan: Plan, isa: Isa) -> dict[str, int]:
    """Those of tables of each of ``Parts.runs``."""
    g, parts = conv.geometry, Parts.of(conv.kept, replace(plan, skip_padding=0))
    of_parts = list(parts.parts.swapaxes(0, 1))

    def table(masks: Sequence[np.ndarray], run: Run) -> dict[str, int]:
        """Of a convolution whose filters keep these positions in turn, each of ``masks`` [blocks, KH, KW]."""
        kept = np.stack(masks, axis=1).reshape(-1, g.kh, g.kw)
        weights = np.broadcast_to(conv.weights.dtype.type(0), (len(kept), *conv.weights.shape[1:]))
        part = _Part(replace(g, f=len(kept)), weights, kept, conv.element_type, conv.input_zero_point)
        return counts(part, replace(plan, kernel="table", filters=len(run.members), run_width=run.width), isa)

    together = [table([part] * parts.members, run) for part, run in zip(of_parts[:2], parts.runs[:2], strict=True)]
    alone = [table(of_parts[2:], parts.runs[2])] if parts.members > 1 else []
    some = parts.blocks.union
    all = table([some] * parts.members, parts.runs[1])
    tables = [*together, *alone]
    constants = g.f - len(parts.blocks.computed(np.flatnonzero(some.any(axis=(1, 2)))))
    return all | {
        **{name: sum(each[name] for each in tables) for name in _OF_RUNS},
        "own_run": sum(each["own_run"] + each["same_run"] for each in tables),
        "same_run": 0,
        "own_block": all["block"],
        "block_part": all["block"] * sum(bool(part.any()) for part in of_parts),
        "block_row": all["block"] * g.kh if plan.skip_padding else 0,
        "tested_run": 0,
        "zoned_block": 0,
        **_constants(g, constants, all["pixel_block"], isa),
    }


def _linear_counts(conv: Convolution, plan: Plan, isa: Isa) -> dict[str, int]:
    """Those of a table that all filters of the blocks are stored in."""
    g, blocks = conv.geometry, _linear_blocks(conv, plan)
    kept, weights = np.ones((blocks.size, 1, 1), bool), np.zeros((blocks.size, 1, 1, g.c), np.int8)
    part = _Part(replace(g, f=blocks.size), weights, kept, conv.element_type, conv.input_zero_point)
    straight = plan.weight_vectors(g.c, isa.lanes(conv.element_type))
    table = counts(part, replace(plan, kernel="table", unrolled=straight), isa)
    return table | _constants(g, g.f - len(np.unique(blocks)), table["pixel_block"], isa)


def _linear_blocks(conv: Convolution, plan: Plan) -> np.ndarray:
    """[blocks, filters of a block] int: what the kernel computes."""
    return blocks_of_filters(conv.kept.any(axis=(1, 2)), plan.filters)


def _lanes_counts(conv: Convolution, plan: Plan, isa: Isa) -> dict[str, int]:
    g = conv.geometry
    layout = PlaneLayout(g, min(plan.rows, g.oh), isa.quad_vectors)
    refills = g.n * -(-g.oh // layout.rows)
    vectors = min(plan.pixels, layout.pixels // PIXELS)
    blocks = refills * -(-layout.pixels // (vectors * PIXELS))
    own = Grouping.of(conv.kept, plan.filters).own
    runs = [(filters.shape[1], blocks * layout.quads * int(union.sum())) for filters, union in own]
    load = 3 if g.ow % PIXELS == 0 or g.kh == 1 else 4
    stored = sum(filters.shape[0] * max(0, filters.shape[1] * vectors - _STORED_BESIDE) for filters, _ in own)
    rows = len(layout.row_phases) * g.kw * layout.quads * layout.plane_rows
    loads = sum(quads * vectors * layout.vectors for _, quads in runs)
    far = max(0.0, 1 - _NEAREST_CACHE / layout.bytes_of(vectors * PIXELS))
    return dict.fromkeys((*_TABLE_ONLY, *_STATIONARY_ONLY, *_BUFFER_ONLY), 0) | {
        "call": 1,
        "lanes_block": blocks * sum(len(filters) for filters, _ in own),
        "lanes_multiplied": sum(quads * vectors * members for members, quads in runs),
        "lanes_weights": sum(quads * members for members, quads in runs),
        "lanes_stored": blocks * stored,
        "lanes_waited": sum(
            quads * max(0, vectors * load + 2 * members - 3 * vectors * members) // 3 for members, quads in runs
        ),
        "lanes_far": round(far * loads),
        "lanes_finished": blocks * vectors * -(-g.f // QUAD) * QUAD,
        "lanes_copied": refills * rows * layout.vectors * -(-g.ow // PIXELS),
        "constant": 0,
        "pattern": 0,
        "pattern_pixel": 0,
    }


def _stationary_counts(conv: Convolution, plan: Plan, isa: Isa) -> dict[str, int]:
    g, schedule, filters = conv.geometry, Schedule.of(conv.geometry, plan), Counts.of(conv.kept)
    computed = computed_filters(g, plan, conv.kept)
    per_row = -(-g.ow // plan.pixels)
    apart = own_biases(g, plan, conv.input_zero_point)
    even = g.f % 2 == 0
    shift = trailing_zeros(conv.input_zero_point) if apart and plan.skips_columns else None
    pixels, partial = schedule.pixels * plan.pixel_rows, g.oh % plan.pixel_rows > 0
    finish = Finish(computed, pixels, "double", 1, computed == g.f, even, apart, shift, partial)
    in_zones = [schedule.filters(zone, filters) for zone in schedule.zones]
    passes = [
        schedule.blocks_of(zone) * schedule.passes.instructions(each)
        for zone, each in zip(schedule.zones, in_zones, strict=True)
    ]
    lists, _ = schedule.lists(filters)
    blocks = g.n * -(-g.oh // plan.pixel_rows) * per_row
    return dict.fromkeys((*_TABLE_ONLY, *_LANES_ONLY), 0) | {
        "call": 1,
        "stationary": 1,
        "joined_block": blocks if 0 < plan.joined < g.c else 0,
        "passes": g.n * per_row * sum(passes) + blocks * finish.instructions(),
        "list": len(lists),
        "listed": schedule.listed_words(filters) // HEADER,
        **_addresses(schedule, filters),
        "begun": computed,
        "stationary_block": blocks,
        **_constants(g, g.f - computed, blocks, isa),
        **_copies(schedule.layout, LANES, isa.move_lanes(1)),
    }


def _addresses(schedule: Schedule, filters: Counts) -> dict[str, int]:
    """What writes addresses of sums."""
    places = words = straight = 0
    for kinds, same in schedule.sharing(filters):
        joined = schedule.kinds[kinds[0]].joined
        counts = filters.at(joined)[same].tolist()
        if schedule.are_few(joined, same, filters):
            rounds, vectors = (sum(-(-count // size) for count in counts) for size in (schedule.plan.unrolled, RESULTS))
            straight += vectors + len(kinds) * (2 * vectors + rounds)
        else:
            places += len(kinds) * len(same)
            words += sum(schedule.passes.round_words(kind, counts) for kind in kinds)
    return {"place": places, "addressed": words, "addressed_straight": straight}


def _constants(g: Geometry, count: int, blocks: int, isa: Isa) -> dict[str, int]:
    """What so many filters of constant results take in blocks of pixels."""
    pattern = Pattern.of(g.f, isa)
    if pattern.serves(count):
        pixels = g.n * g.oh * g.ow
        return {
            "constant": 0,
            "pattern": pixels * pattern.vectors,
            "pattern_pixel": pixels if count < g.f else 0,
        }
    return {"constant": blocks * count, "pattern": 0, "pattern_pixel": 0}


def scratch_bytes(conv: Convolution, plan: Plan) -> int:
    """Bytes that the ``input_stationary`` kernel works in, apart from its row buffer."""
    conv = _as_stored(conv, plan)
    schedule = Schedule.of(conv.geometry, plan)
    sums = conv.geometry.f * stored_sums(schedule.pixels * plan.pixel_rows)
    return sums + schedule.memory_words(Counts.of(conv.kept)) * WORD


def list_bytes(conv: Convolution, plan: Plan) -> int:
    """Bytes of the ``input_stationary`` kernel's lists of passes, and about those of code that writes its addresses of
    sums."""
    conv = _as_stored(conv, plan)
    schedule, filters = Schedule.of(conv.geometry, plan), Counts.of(conv.kept)
    shared = len(list(schedule.sharing(filters)))
    return schedule.listed_words(filters) * 2 + shared * _ADDRESSES_CODE


def least_row_bytes(conv: Convolution, plan: Plan, isa: Isa) -> int:
    """Bytes of the smallest row buffer of a plan of a kernel that has one."""
    least = replace(plan, rows=plan.pixel_rows)
    return _row_layout(conv, least, isa).size * isa.row_bytes(conv.element_type)


def masked_runs(conv: Convolution, plan: Plan) -> int:
    """Different runs that the blocks have."""
    return _blocks(conv, plan).different


def _moves(isa: Isa, span: int) -> int:
    """How often an address moves to reach columns up to ``span`` bytes away, and back."""
    return 0 if isa.word_reach is None or span <= isa.word_reach else 1 + span // isa.word_reach


def _row_layout(conv: Convolution, plan: Plan, isa: Isa) -> RowLayout:
    g = plan.shape(conv.geometry)
    if plan.kernel == "input_stationary":
        return row_layout(g, plan)
    lanes = isa.lanes(conv.element_type)
    whole, joined = plan.vectors(g.group_channels, lanes)
    same = isa.row_bytes(conv.element_type) == conv.weights.itemsize
    slack = int(joined > 0)  # how much does not matter
    return RowLayout.plan(g, whole * lanes, plan.joined, plan.rows, slack, same)


@lru_cache(maxsize=1024)
def _copies(layout: RowLayout, lanes: int, move_lanes: int) -> dict[str, int]:
    g = layout.geometry
    if layout.direct:
        return dict.fromkeys(_BUFFER_ONLY, 0)
    overlap = max(layout.reach - layout.strides[0], 0) * layout.row
    down, right = layout.sampling
    height, width = -(-g.h // down), -(-g.w // right)
    pixels = g.n * height * width
    contiguous = g.c in (layout.pixel, layout.joined) and right == 1
    vectors = -(-g.group_channels // lanes) * g.groups
    return {
        "copied_row": g.n * height,
        "copied": pixels * g.c // lanes if contiguous else 0,
        "copied_part": 0 if contiguous else pixels * vectors,
        "copied_pixel": 0 if contiguous else pixels,
        "moved": g.n * (-(-g.oh // layout.rows) - 1) * overlap // move_lanes,
    }


def stock_estimate(conv: Convolution, costs: Mapping[str, float]) -> float:
    """Instructions of a float convolution compiled by stock IREE, which multiplies by pruned weights too."""
    g = conv.geometry
    multiplications = g.n * g.oh * g.ow * g.f * g.kh * g.kw * g.group_channels
    return multiplications * costs["stock_pointwise" if g.kh * g.kw == 1 else "stock"]


def stored_bytes(conv: Convolution, plan: Plan, isa: Isa) -> int:
    """Bytes of the weights and offsets of a plan of any kernel but ``depthwise``."""
    conv = _as_stored(conv, plan)
    if plan.kernel == "input_stationary":
        schedule, filters = Schedule.of(conv.geometry, plan), Counts.of(conv.kept)
        weights = sum(
            int(filters.at(joined)[places].sum()) * sum(schedule.stored(joined))
            for joined, places in enumerate(schedule.kept_places(filters))
        )
        behind = -(conv.geometry.kw * plan.joined or conv.geometry.c) % LANES
        return weights + behind + 2 * schedule.offset_halves(filters)
    if plan.kernel in MEMBERS:
        return int(conv.kept.sum()) * conv.geometry.c + 2 * int(Parts.of(conv.kept, plan).counts.sum())
    channels, lanes = conv.geometry.group_channels, isa.lanes(conv.element_type)
    if plan.kernel == "pixel_lanes":
        weights = -(-channels // QUAD) * QUAD
        own = Grouping.of(conv.kept, plan.filters).own
        runs = sum(int(union.sum()) * (filters.shape[1] * weights + WORD) for filters, union in own)
        return runs + sum(filters.size + len(filters) for filters, _ in own) * WORD
    linear = plan.kernel == "linear"
    runs = len(_linear_blocks(conv, plan) if linear else _blocks(conv, plan).runs)
    _, joined = plan.vectors(channels, lanes)
    elements = plan.filters * (plan.run_width * (channels - plan.joined) + joined * lanes)
    return runs * (elements * conv.weights.itemsize + 2)


def repeated_bytes(conv: Convolution, plan: Plan, isa: Isa) -> int:
    """Bytes of parameters that are stored again for each other zone of output rows, where tables skip padding, of
    biases of each sum, and of records of kernel rows."""
    conv = _as_stored(conv, plan)
    if plan.kernel in MEMBERS and plan.skip_padding:
        computed = int(Parts.of(conv.kept, plan).blocks.kept.any(axis=(1, 2, 3)).sum())
        words = record_words(MEMBERS[plan.kernel], conv.input_zero_point)
        return computed * conv.geometry.kh * words * WORD
    if plan.skips_columns:
        words = own_biases(conv.geometry, plan, conv.input_zero_point)
        computed = computed_filters(conv.geometry, plan, conv.kept)
        return len(Schedule.of(conv.geometry, plan).zones) * computed * words * WORD
    if not is_zoned(conv, plan, isa):
        return 0
    return (len(conv.geometry.row_zones) - 1) * conv.geometry.f * PARAMETERS * WORD


def fwcs_bytes(conv: Convolution, filterlets: int) -> int:
    """What DTMM stores of so many: their weights, two bytes for each one's offset, and two for each filter's count."""
    return filterlets * (conv.geometry.group_channels * conv.weights.itemsize + 2) + 2 * conv.geometry.f


@dataclass(frozen=True)
class _Blocks:
    """What the blocks of filters of a plan store.

    Attributes:
        runs: see ``runs.cover``; of blocks in place of filters.
        computed: how many blocks are.
        same: whether there are such blocks, and they have the same runs.
        constants: filters that are in none of them.
    """

    runs: np.ndarray
    computed: int
    same: bool
    constants: int

    @cached_property
    def different(self) -> int:
        """How many runs are at different positions."""
        return len(np.unique(self.runs[:, 1:], axis=0))


def _blocks(conv: Convolution, plan: Plan) -> _Blocks:
    drops_constants = conv.element_type == "i8" and conv.geometry.groups == 1
    kept = conv.kept
    return _read_blocks(kept.tobytes(), kept.shape, plan.filters, plan.run_width, drops_constants)


@lru_cache(maxsize=1024)
def _read_blocks(kept: bytes, shape: tuple[int, int, int], filters: int, width: int, drops_constants: bool) -> _Blocks:
    """Plans differ in much that does not change their blocks.

    Args:
        drops_constants: whether blocks of filters without weights are no work but to store their constant results.
    """
    starts = np.minimum(np.arange(0, shape[0], filters), shape[0] - filters)
    members = np.add.outer(starts, np.arange(filters))
    blocks = np.asarray(np.frombuffer(kept, bool).reshape(shape)[members].any(axis=1))
    computed = np.flatnonzero(np.logical_or(blocks.any(axis=(1, 2)), not drops_constants))
    same = bool(len(computed) and (blocks[computed] == blocks[computed[0]]).all())
    return _Blocks(cover(blocks, width), len(computed), same, shape[0] - len(np.unique(members[computed])))
