"""``filterlet-pack``: keeps only what survived pruning, in FWCS."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import constant, walk
from dtmm_mlir.dialect.ops import CONV, PACKED_CONV, ConvView, Rescale
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.dialect.reference import requantize
from dtmm_mlir.passes.base import Pass, PassError
from dtmm_mlir.passes.cleanup import erase_unused
from dtmm_mlir.passes.runs import cover

_SATURATED = 1024
"""Results of this magnitude end as the largest or smallest i8, whatever the zero point."""


@dataclass
class PackFilterlets(Pass):
    """Turns every planned ``filterlet.conv_2d`` into ``filterlet.packed_conv_2d``.

    Before ==> after::

        "filterlet.conv_2d"(%x, %w, %b) {plan = {kernel = "table", ...}, ...}
        "filterlet.packed_conv_2d"(%x, %values, %positions, %counts, %bias) {kept = 29, total = 288, ...}

    ``%values`` holds the runs that survived, block of filters after block; ``%positions`` the kernel position of
    each run's first filterlet; ``%counts`` the runs of each block. A depthwise convolution counts as one filter whose
    filterlets are the weights of all channels at one position. The input's zero point is folded into the bias. Filters
    without weights get a scale that suits kernels.

    Does not handle: a convolution without a plan (run ``filterlet-plan`` first).
    """

    name: ClassVar[str] = "filterlet-pack"

    def run(self, module: ir.Module) -> None:
        for op in walk(module, CONV):
            if "plan" not in op.attributes:
                raise PassError(op, "has no plan; run filterlet-plan first.")
            _pack(ConvView(op))
        erase_unused(module)


def _pack(conv: ConvView) -> None:
    op = conv.op
    plan = Plan.read(op.attributes["plan"])
    g = conv.geometry
    pack = _pack_channels if plan.kernel == "depthwise" else _pack_filters
    values, positions, counts = pack(conv, plan)
    bias, rescale = folded_bias(conv), conv.rescale
    if rescale:
        bias, rescale = settle_constant(bias, rescale, ~conv.kept.any(axis=(1, 2)))
    with ir.InsertionPoint(op), op.location:
        operands = [
            conv.input,
            constant(values),
            constant(positions.astype(np.int16)),
            constant(counts.astype(np.int16)),
            constant(bias),
        ]
        i64 = ir.IntegerType.get_signless(64)
        attributes = dict(op.attributes.items()) | {
            "kernel": ir.DenseI64ArrayAttr.get([g.kh, g.kw]),
            "kept": ir.IntegerAttr.get(i64, int(conv.kept.sum())),
            "total": ir.IntegerAttr.get(i64, conv.kept.size),
        }
        if rescale:
            attributes["rescale"] = rescale.attribute()
        packed = ir.Operation.create(PACKED_CONV, [op.result.type], operands, attributes)
    op.result.replace_all_uses_with(packed.result)
    op.erase()


def _pack_filters(conv: ConvView, plan: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    g, width = conv.geometry, plan.stored_width
    filters = plan.held(range(plan.blocks(g.f)), g.f)
    runs = cover(conv.kept[filters].any(axis=1) | bool(plan.dense), width)
    columns = runs[:, 2, None] + np.arange(width)
    values = conv.weights[filters[runs[:, 0]][:, :, None], runs[:, 1, None, None], columns[:, None, :]]
    _clear_repeats(values, runs)
    values = values.reshape(len(runs), plan.stored_filters * width * g.group_channels)
    return values, runs[:, 1] * g.kw + runs[:, 2], np.bincount(runs[:, 0], minlength=len(filters))


def _clear_repeats(values: np.ndarray, runs: np.ndarray) -> None:
    """Zeroes filterlets that the run before holds too: a run at the end of a row may start early.

    Args:
        values: [runs, filters, width, channels].
        runs: [runs, 3] block, ky and kx of each run's first position.
    """
    for i in range(1, len(runs)):
        overlap = runs[i - 1, 2] + values.shape[2] - runs[i, 2]
        if (runs[i, :2] == runs[i - 1, :2]).all() and overlap > 0:
            values[i, :, :overlap] = 0


def _pack_channels(conv: ConvView, plan: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    g = conv.geometry
    kept = np.argwhere(conv.kept.any(axis=0))
    values = conv.weights[:, kept[:, 0], kept[:, 1], 0].T
    return np.ascontiguousarray(values), kept[:, 0] * g.kw + kept[:, 1], np.array([len(kept)])


def settle_constant(bias: np.ndarray, rescale: Rescale, empty: np.ndarray) -> tuple[np.ndarray, Rescale]:
    """Bias and scale with which filters of constant results have those results, and a shift beyond 31.

    Filters without weights come with any scale, often 1, and multipliers of zero with any shift; a shift up to 31 would
    make a kernel scale all its sums in 64 bits.

    Args:
        bias: [F] i32, all that the sums of empty filters are.
        empty: [F] bool.
    """
    results = requantize(bias, replace(rescale, output_zero_point=0))
    quadruple = 4 * np.clip(results, -_SATURATED, _SATURATED)
    settled = replace(
        rescale,
        multiplier=np.where(empty, 1 << 30, rescale.multiplier).astype(np.int32),
        shift=np.where(empty, 32, np.where(rescale.multiplier == 0, 62, rescale.shift)).astype(np.int8),
    )
    return np.where(empty, quadruple, bias).astype(np.int32), settled


def folded_bias(conv: ConvView) -> np.ndarray:
    """[F] the bias of a sum over raw inputs: ``bias - zero_point * sum(weights)``, wrapping as i32 sums do."""
    if conv.element_type != "i8":
        return conv.bias
    sums = conv.weights.astype(np.int64).sum(axis=(1, 2, 3))
    return (conv.bias - conv.input_zero_point * sums).astype(np.int32)
