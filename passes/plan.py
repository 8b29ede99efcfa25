"""``filterlet-plan``: chooses the kernel of every captured convolution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.ops import CONV, ConvView, Geometry
from dtmm_mlir.dialect.plan import MEMBERS, Plan
from dtmm_mlir.passes.base import Pass
from dtmm_mlir.passes.cost import (
    Convolution,
    costs_of,
    estimate,
    fwcs_bytes,
    least_row_bytes,
    list_bytes,
    masked_runs,
    repeated_bytes,
    reshaped,
    scratch_bytes,
    stored_bytes,
    unpruned,
)
from dtmm_mlir.passes.kernels.filters import BYTE
from dtmm_mlir.passes.kernels.input_stationary import fit_halves, trailing_zeros
from dtmm_mlir.passes.kernels.isa import Isa
from dtmm_mlir.passes.kernels.mve_depthwise import PIXELS as PIXELS_OF_HALVES
from dtmm_mlir.passes.kernels.mve_input_stationary import LANES
from dtmm_mlir.passes.kernels.planes import PlaneLayout
from dtmm_mlir.passes.kernels.quads import LANES as PIXELS
from dtmm_mlir.passes.kernels.rows import row_pixels, sampling
from dtmm_mlir.passes.kernels.select import isa_of
from dtmm_mlir.passes.kernels.stationary_schedule import Schedule, columns_inside, share_inputs
from dtmm_mlir.passes.plan_file import read_plans
from dtmm_mlir.targets import get_target

Optimize = Literal["balanced", "speed", "size"]

_ROW_BUFFER_BYTES = 14 << 10
"""A row buffer takes no more than this where a single output row fits into it."""

_BUFFER_BYTES = (16 << 10) - 64
"""Row buffer, sums and lists of passes take no more than this together, 16 KiB with what alignment takes; where the row
buffer alone would, sums and lists take half of it."""

_ALMOST_ALL = 0.75
"""Share of filterlets above which the ``input_stationary`` kernel may store all: addresses of sums are shared then."""

_MOST_PIXELS = 8
"""Pixels of a row that are computed together; in the ``pixel_lanes`` kernel vectors of them."""

_PLANE_BYTES, _NEAR_BYTES = 1 << 20, 24 << 10
"""The planes of the ``pixel_lanes`` kernel take no more than the first, and where they can be of fewer rows no more
than the second: a processor's caches near to it."""

_FEWEST_ROWS, _FEW_AGAIN = 4, 2
"""Output rows per refill of planes where fewer lie near: at least the first, and the second for each row that is copied
again then."""

_STRAIGHT: Mapping[str, int] = {"speed": 2000, "size": 90}
"""Instructions, about, of straight-line code; in ``balanced`` ``Isa.straight``."""

_STRAIGHT_POSITIONS: Mapping[str, int] = {"speed": 64, "balanced": 50, "size": 9}
"""Kernel positions of a depthwise convolution that are straight-line code."""

_BYTES_TO_SPARE = 1024
"""Bytes by which weights on a host may exceed nine eighths of the unpruned ones in ``balanced``."""

_WORTH, _GAIN = 0.9, 0.95
"""Instructions of plans that store up to the unpruned weights must be fewer than this of those that store FWCS; or
these more than this of the unpruned convolution's."""

_BESIDE = 1 / 6
"""Share of the bytes of unpruned weights that parameters which are stored again, and code for columns and long rounds,
may take."""

_RESULT_CODE, _LIST_CODE, _RUN_CODE = 70, 100, 300
"""Bytes of code that store a result, that write lists of passes, and that multiply one more kind of runs."""

_PART_CODE, _CODE_TO_SPARE = 2000, 1500
"""Bytes, about, of straight-line code that multiplies one more kind of runs, and how many of them pruning need not
free."""

_ROUNDS: Mapping[str, Sequence[int]] = {"speed": (16,), "balanced": (8, 16), "size": (2,)}
"""Filters whose products are straight-line code in the ``input_stationary`` kernel; in ``balanced`` the more only where
pruning frees bytes for it."""

_SLIDING_ROUNDS: Mapping[str, Sequence[int]] = {"speed": (16,), "balanced": (4, 8), "size": ()}
"""The same where each kernel column has code of its own, only where that takes no more bytes than pruning frees."""

_SLIDING_GAIN = 0.99
"""Instructions of plans with such code must be fewer than this of the same kernel's others in ``balanced``."""


@dataclass
class PlanKernels(Pass):
    """Adds a ``plan`` to every ``filterlet.conv_2d``; one that is there already is kept.

    Before ==> after::

        "filterlet.conv_2d"(%x, %w, %b) {...}
        "filterlet.conv_2d"(%x, %w, %b) {..., plan = {kernel = "table", pixels = 4, filters = 2, run_width = 3, ...}}

    Depthwise convolutions get the ``depthwise`` kernel, all others one of the other kernels. Which one,
    and its ``pixels``, ``filters``, ``run_width``, ``joined`` and ``dense``, minimise an estimate of the instructions;
    ``rows`` fills a row buffer of 14 KiB, or what the sums leave of 16 KiB; or planes
    of 48 KiB, and of more where many rows would be copied again.

    Attributes:
        target: name of the target that the kernels are for.
        optimize: ``speed``: the fewest instructions; ``balanced``: the fewest among the plans that store no more than
            FWCS as DTMM has it, or than FWCS of the unpruned weights where that takes a tenth less, or pruning would
            gain nothing, on hosts hardly more than the unpruned weights; ``size``: the fewest bytes, with those of what
            stores results, and short loops.
        plans: a JSON file that names plans, such as an artifact's manifest; the planner chooses for the layers where it
            names none.
    """

    name: ClassVar[str] = "filterlet-plan"
    target: str = "host"
    optimize: Optimize = "balanced"
    plans: str = ""

    def run(self, module: ir.Module) -> None:
        target = get_target(self.target)
        isa = isa_of(target.isa, target.vector_bytes)
        convs = [ConvView(op) for op in walk(module, CONV)]
        named = read_plans(Path(self.plans), len(convs)) if self.plans else [None] * len(convs)
        for conv, plan in zip(convs, named, strict=True):
            if plan or "plan" not in conv.op.attributes:
                plan = plan or choose(conv, isa, costs_of(target.isa, conv.element_type), self.optimize)
                conv.op.attributes["plan"] = plan.attribute()


def choose(
    conv: Convolution,
    isa: Isa,
    costs: Mapping[str, float],
    optimize: Optimize = "balanced",
    plans: Sequence[Plan] | None = None,
) -> Plan:
    """The plan with the lowest estimate, within what ``optimize`` allows.

    Args:
        isa: what the kernel is written in.
        costs: of that, see ``cost.costs_of``.
        plans: to choose from, ``candidates`` for the shape with some filterlets; by default those for these. Not looked
            at for depthwise convolutions.
    """
    g = conv.geometry
    if g.is_depthwise:
        most = PIXELS_OF_HALVES if isa.half_lanes and conv.element_type == "i8" else 4
        pixels = min(range(1, min(most, g.ow) + 1), key=lambda p: (-(-g.ow // p) * (1 + 4 * p), -p))
        rows = _rows(g, g.c * conv.weights.itemsize)
        return Plan("depthwise", pixels, 1, 1, rows, unrolled=_STRAIGHT_POSITIONS[optimize])

    plans = candidates(conv, isa, costs, optimize) if plans is None else [p for p in plans if _serves(conv, p, isa)]
    plans = [plan for plan in plans if optimize == "speed" or _has_bytes_for(conv, plan, isa)]
    bytes = {plan: stored_bytes(conv, plan, isa) for plan in plans}
    estimates = {plan: estimate(conv, plan, isa, costs) for plan in plans}

    def order(plan: Plan) -> tuple[float, ...]:
        return estimates[plan], bytes[plan], plan.dense, plan.filters, plan.run_width, plan.pixels

    def best(most: float) -> tuple[float, Plan]:
        """The estimate and the plan of those that store at most so many bytes."""
        within = [plan for plan in plans if bytes[plan] <= most]
        found = min(within, key=order)
        others = [plan for plan in within if not plan.slides]
        alike = [estimates[plan] for plan in others if plan.kernel == found.kernel]
        if found.slides and alike and min(alike) * _SLIDING_GAIN <= estimates[found]:
            found = min(others, key=order)
        return estimates[found], found

    if optimize == "size":
        return min(plans, key=lambda plan: (bytes[plan] + _extra_bytes(conv, plan, isa), *order(plan)))
    if optimize == "speed":
        return min(plans, key=order)
    least = min(bytes.values())
    if not isa.short_of_flash:
        return best(max(least, conv.weights.nbytes * 9 // 8 + _BYTES_TO_SPARE))[1]
    small, large = (best(max(least, fwcs_bytes(conv, count))) for count in (int(conv.kept.sum()), conv.kept.size))
    dense = [estimate(unpruned(conv), large[1], isa, costs), *(estimates[plan] for plan in plans if plan.dense)]
    return (small if small[0] <= min(large[0] / _WORTH, min(dense) * _GAIN) else large)[1]


def _has_bytes_for(conv: Convolution, plan: Plan, isa: Isa) -> bool:
    """Whether parameters may be stored again for each zone of output rows, columns take code, rounds be long, and runs
    be of several kinds: pruning has to free the bytes, but for columns alone, and all but the last are few beside the
    unpruned weights."""
    beside, columns = repeated_bytes(conv, plan, isa) + _passes_code(conv, plan), _columns_code(conv, plan)
    kinds = max(0, _kinds(plan) * _PART_CODE - _CODE_TO_SPARE)
    if beside + kinds > 0 and beside + columns + kinds > conv.weights.nbytes - stored_bytes(conv, plan, isa):
        return False
    return beside + columns <= conv.weights.nbytes * _BESIDE


def _passes_code(conv: Convolution, plan: Plan) -> int:
    """Bytes of code that passes take beyond those with the shortest rounds, and with the same code for all columns."""
    shortest = _ROUNDS["balanced"][0]
    if plan.kernel != "input_stationary" or (plan.unrolled <= shortest and not plan.slides):
        return 0
    shape = plan.shape(conv.geometry)
    more, less = (Schedule.of(shape, each) for each in (plan, replace(plan, unrolled=shortest, run_width=1)))
    return more.passes.bytes - less.passes.bytes


def _columns_code(conv: Convolution, plan: Plan) -> int:
    """Bytes of code and lists, about, that skipping columns adds to skipping rows."""
    if not plan.skips_columns:
        return 0
    with_rows = replace(plan, skip_padding=int(bool(conv.geometry.padded_rows)))
    more, less = (list_bytes(conv, each) + Schedule.of(conv.geometry, each).passes.bytes for each in (plan, with_rows))
    return more - less


def _extra_bytes(conv: Convolution, plan: Plan, isa: Isa) -> int:
    """Bytes, about, that other plans do without: parameters that are stored again, and code that writes lists of
    passes, walks several kinds of runs, or stores results where ``Isa.finish`` does not, which may."""
    if plan.kernel == "input_stationary":
        return _LIST_CODE + list_bytes(conv, plan)
    if plan.kernel in MEMBERS:
        return _kinds(plan) * _RUN_CODE + repeated_bytes(conv, plan, isa)
    repeated = repeated_bytes(conv, plan, isa)
    if plan.kernel != "table" or isa.finishes(plan.pixels, plan.filters) or not isa.finishes(isa.accumulators, 1):
        return repeated
    return repeated + plan.pixels * plan.filters * _RESULT_CODE


def _kinds(plan: Plan) -> int:
    """Kinds of runs that the kernel walks beyond one."""
    return 2 * MEMBERS[plan.kernel] - 2 + (plan.run_width > 1) if plan.kernel in MEMBERS else 0


def _may_skip(conv: Convolution, isa: Isa) -> bool:
    """Whether there is padding that the ``table`` kernel can skip: its runs are few enough to be bytes of a word."""
    g = conv.geometry
    return conv.element_type == "i8" and isa.scalar_sums and bool(g.padded_rows) and g.kh * g.kw < 1 << BYTE - 1


def candidates(conv: Convolution, isa: Isa, costs: Mapping[str, float], optimize: Optimize) -> list[Plan]:
    """The plans of the ``table`` kernel whose sums stay in registers, and those of kernels that only some ISAs have;
    with longer rows, too, where blocks of pixels may not divide the input's."""
    plans, g = _as_it_is(conv, isa, costs, optimize), conv.geometry
    if not g.takes_pixels_alone or g.w % _MOST_PIXELS == 0:
        return plans
    for pixels in _longer_rows(conv, isa):
        others = _as_it_is(reshaped(conv, g.in_rows_of(pixels)), isa, costs, optimize)
        longer = (replace(plan, row_width=pixels) for plan in others)
        plans += [plan for plan in longer if plan.kernel == "pixel_lanes" or _row_fits(conv, plan, isa)]
    return plans


def _longer_rows(conv: Convolution, isa: Isa) -> set[int]:
    """Pixels of the longest row, and of the longest one that fits into a row buffer."""
    g, lanes = conv.geometry, isa.lanes(conv.element_type)
    channels = -(-g.group_channels // lanes) * lanes * g.groups
    most = _ROW_BUFFER_BYTES // (channels * isa.row_bytes(conv.element_type))
    fitting = [n for n in range(g.w + 1, most + 1) if g.input_pixels % n == 0]
    return {n for n in (g.input_pixels, *fitting[-1:]) if n > g.w}


def _row_fits(conv: Convolution, plan: Plan, isa: Isa) -> bool:
    """Whether a row buffer is not too large with a single row."""
    return least_row_bytes(conv, plan, isa) <= _ROW_BUFFER_BYTES


def _as_it_is(conv: Convolution, isa: Isa, costs: Mapping[str, float], optimize: Optimize) -> list[Plan]:
    """Plans for the shape as it is."""
    g, lanes = conv.geometry, isa.lanes(conv.element_type)
    straight = _STRAIGHT.get(optimize, isa.straight)
    plans = []
    for pixels, filters in product(
        range(1, min(_MOST_PIXELS, g.ow) + 1), range(1, 2 if g.groups > 1 else min(4, g.f) + 1)
    ):
        if pixels * filters > isa.accumulators:
            continue
        per_weights = costs["weights"] + pixels * (costs["mac"] + costs["data"] / 2)
        unrolled = max(1, int(straight / per_weights))
        for width in range(1, g.kw + 1):
            if optimize == "balanced" and conv.element_type == "i8" and filters * width * per_weights > straight:
                continue  # not even one vector of each weight
            for joined in _joinable(conv, width, lanes):
                whole = g.groups * -(-(g.group_channels - joined) // lanes) * lanes
                rows = _rows(g, (whole + joined) * isa.row_bytes(conv.element_type))
                for dense in (0, 1):
                    for skip in (0, 1) if _may_skip(conv, isa) else (0,):
                        plans.append(Plan("table", pixels, filters, width, rows, joined, dense, unrolled, skip))
                masked = replace(plans[-1], dense=0, skip_padding=0, masked=1)
                if _may_mask(conv, masked, isa):
                    plans.append(masked)
    others = (
        _parts(conv, plans, isa),
        _linear(conv, plans, isa),
        _input_stationary(conv, isa, optimize),
        _pixel_lanes(conv, isa, costs),
    )
    return plans + [plan for each in others for plan in each]


def _parts(conv: Convolution, tables: list[Plan], isa: Isa) -> Iterator[Plan]:
    """The plans of ``pairs``, as those of the ``table`` kernel with two filters, and of ``mixed``, as those with one
    and runs as wide as the kernel."""
    g = conv.geometry
    if not isa.parts or conv.element_type != "i8" or g.groups > 1 or g.kh * g.kw > 255:
        return
    for plan in tables:
        if plan.joined or plan.dense or plan.masked:
            continue
        if plan.filters == 2 and plan.run_width in (1, g.kw) and g.f < 1 << 15:
            yield replace(plan, kernel="pairs", filters=1)
        if plan.filters == 1 and plan.run_width == g.kw > 1:
            yield replace(plan, kernel="mixed")


def _linear(conv: Convolution, tables: list[Plan], isa: Isa) -> Iterator[Plan]:
    """The plans of that kernel, as those of the ``table`` kernel with four filters."""
    g = conv.geometry
    if not isa.scatters_fours or conv.element_type != "i8" or g.groups > 1 or g.kh * g.kw > 1 or any(g.pads):
        return
    for plan in tables:
        if isa.finishes(plan.pixels, 4) and plan.filters == 4 and g.f < 1 << 15 and not (plan.joined or plan.dense):
            yield replace(plan, kernel="linear")


def _pixel_lanes(conv: Convolution, isa: Isa, costs: Mapping[str, float]) -> Iterator[Plan]:
    """The plans of that kernel whose sums stay in registers."""
    g = conv.geometry
    if not isa.pixel_sums or conv.element_type != "i8" or g.groups > 1:
        return
    least = -(-PIXELS // g.ow)
    if least > g.oh or PlaneLayout(g, least, isa.quad_vectors).size > _PLANE_BYTES:
        return
    rows = _plane_rows(conv, least, isa, costs)
    vectors = rows * g.ow // PIXELS
    for pixels, filters in product(range(1, min(_MOST_PIXELS, vectors) + 1), range(1, min(8, g.f) + 1)):
        if pixels * filters <= isa.pixel_sums:
            yield Plan("pixel_lanes", pixels, filters, 1, rows)


def _plane_rows(conv: Convolution, least: int, isa: Isa, costs: Mapping[str, float]) -> int:
    """Output rows per refill of planes: those of the lowest estimate, which counts what is computed or copied twice, up
    to as many as lie near, or as make rows that are copied again few."""
    g = conv.geometry
    again = PlaneLayout(g, 1).plane_rows - 1
    near, most = (
        max((rows for rows in range(1, g.oh + 1) if PlaneLayout(g, rows, isa.quad_vectors).size <= bytes), default=1)
        for bytes in (_NEAR_BYTES, _PLANE_BYTES)
    )
    wanted = max(least, min(max(near, _FEWEST_ROWS, _FEW_AGAIN * again), most))
    plans = [Plan("pixel_lanes", 1, 1, 1, rows) for rows in range(wanted, least - 1, -1)]
    return min(plans, key=lambda plan: estimate(conv, plan, isa, costs)).rows


def _serves(conv: Convolution, plan: Plan, isa: Isa) -> bool:
    """Whether a plan for the same shape serves these filterlets, too."""
    if plan.kernel == "input_stationary":
        return _leaves_room(conv, plan, isa)
    return not plan.masked or _may_mask(conv, plan, isa)


def _leaves_room(conv: Convolution, plan: Plan, isa: Isa) -> bool:
    """Whether sums and list of passes of the ``input_stationary`` kernel leave room for a row buffer."""
    scratch, least = scratch_bytes(conv, plan), LANES + least_row_bytes(conv, plan, isa)
    return scratch <= max(_BUFFER_BYTES // 2, _BUFFER_BYTES - least)


def _may_mask(conv: Convolution, plan: Plan, isa: Isa) -> bool:
    """Whether straight-line code may test which runs a block has."""
    g = conv.geometry
    if conv.element_type != "i8" or isa.stationary_inputs or g.groups > 1 or not 1 < g.kh * g.kw <= 16:
        return False
    weights = plan.weight_vectors(g.group_channels, isa.lanes(conv.element_type))
    return masked_runs(conv, plan) * weights <= plan.unrolled


def _input_stationary(conv: Convolution, isa: Isa, optimize: Optimize) -> Iterator[Plan]:
    """The plans of that kernel, where sums and list of passes leave room for a row buffer."""
    g = conv.geometry
    if not isa.stationary_inputs or conv.element_type != "i8" or g.groups > 1:
        return
    channels = -(-g.c // LANES) * LANES
    fewest = {-(-g.ow // pixels): pixels for pixels in range(min(_MOST_PIXELS, g.ow), 0, -1)}  # by blocks of a row
    several = {
        (pixels, rows) for pixels in (4, g.ow) for rows in range(2, _MOST_PIXELS // pixels + 1) if pixels <= g.ow
    }
    blocks = (
        *((pixels, 1) for pixels in fewest.values()),
        *sorted((pixels, rows) for pixels, rows in several if rows <= g.oh),
    )
    joinable = _joinable(conv, g.kw, LANES) | ({g.c} if g.kw == 1 == g.dilations[1] and g.c % LANES else set())
    skips = (0,) if optimize == "size" else (0, 1, 2) if _fits_what_sums_miss(conv) else (0, 1)
    stores = (0, 1) if _ALMOST_ALL < conv.kept.mean() < 1 else (0,)
    codes = [(1, unrolled) for unrolled in _ROUNDS[optimize]]
    codes += [(g.kw, unrolled) for unrolled in _SLIDING_ROUNDS[optimize] if g.kw > 1]
    choices = product(blocks, joinable, skips, stores, codes)
    for (pixels, together), joined, skip, dense, (width, unrolled) in choices:
        if skip == 1 and not _may_skip_rows(g, pixels, together):
            continue
        if skip == 2 and (joined == g.c or not _may_skip_columns(g, pixels)):
            continue
        if width > 1 and (joined == g.c or not share_inputs(g, pixels)):
            continue
        plan = Plan("input_stationary", pixels, 1, width, together, joined, dense, unrolled, skip, together)
        far = pixels == 1 or _is_out_of_reach(g.strides[1] * channels, g.strides[1] * joined, isa)
        if not _leaves_room(conv, plan, isa) or (pixels * together == _MOST_PIXELS and far):
            continue
        rows = _rows(g, channels, _BUFFER_BYTES - LANES - scratch_bytes(conv, plan))
        yield replace(plan, rows=rows if rows == g.oh else max(together, rows // together * together))


def _is_out_of_reach(aligned: int, unaligned: int, isa: Isa) -> bool:
    """Whether no load of a vector reaches so many bytes, from pixel to pixel."""
    reaches = ((aligned, isa.word_reach), (unaligned, isa.byte_reach))
    return any(reach is not None and bytes > reach for bytes, reach in reaches)


def _may_skip_rows(g: Geometry, pixels: int, together: int) -> bool:
    """Whether the ``input_stationary`` kernel can leave out padding: sums of one vector begin with one bias."""
    return bool(g.padded_rows) and (together == 1 or (together == 2 and pixels == 4))


def _may_skip_columns(g: Geometry, pixels: int) -> bool:
    """Whether the ``input_stationary`` kernel can leave out padding beside the input: a block has all columns."""
    return pixels == g.ow and any(columns_inside(g, kx) != (0, g.ow) for kx in range(g.kw))


def _fits_what_sums_miss(conv: Convolution) -> bool:
    """Whether what sums miss is i16 wherever padding is left out."""
    most = np.abs(conv.weights.sum(axis=3, dtype=np.int64)).sum(axis=(1, 2)).max()
    zero_point = conv.input_zero_point
    return not zero_point or fit_halves(most * (zero_point >> trailing_zeros(zero_point)))


def _joinable(conv: Convolution, width: int, lanes: int) -> set[int]:
    """How many channels may be joined in runs of ``width``.

    Their activations are contiguous only without groups and dilation. A vector reads activations beyond its run and
    multiplies them by zero, which floats do not allow (inf * 0).
    """
    g = conv.geometry
    if conv.element_type != "i8" or g.groups > 1 or g.dilations[1] > 1 or width == 1 or g.c % lanes == 0:
        return {0}
    return {0, g.c} | ({g.c % 16} if width == g.kw else set())


def _rows(g: Geometry, pixel_bytes: int, bytes: int = _ROW_BUFFER_BYTES) -> int:
    """Output rows per refill of a row buffer of ``bytes``."""
    available = bytes // (row_pixels(g) * pixel_bytes)
    reach = (g.kh - 1) * g.dilations[0] + 1
    return int(np.clip((available - reach) // (g.strides[0] // sampling(g)[0]) + 1, 1, g.oh))
