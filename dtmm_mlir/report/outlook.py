"""What other plans and more pruning would give, by the cost model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import get_args

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import func

from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.dialect.ops import ConvView
from dtmm_mlir.passes.captured import Conv
from dtmm_mlir.passes.cost import costs_of, stored_bytes
from dtmm_mlir.passes.kernels.select import isa_of
from dtmm_mlir.passes.plan import Optimize, choose
from dtmm_mlir.report.data import Convolution, Gain, Goal, Report
from dtmm_mlir.report.details import predict
from dtmm_mlir.targets import Target, get_target

SHARES = (0.5, 0.75)
"""Shares of pruned filterlets to predict."""

_MOST_LAYERS = 8
_LEAST_COST = 0.02
_SEED = 0

_Figures = tuple[int, int]
"""Predicted instructions and stored bytes of a convolution."""


def with_outlook(report: Report, optimize: str = "balanced") -> Report:
    """``report`` with its goals and gains filled in.

    Args:
        optimize: what the kernels of further pruned layers are chosen for.
    """
    target = get_target(report.target)
    known = {number: row.convolution for number, row in enumerate(report.rows) if row.convolution and row.predicted}
    now = {
        goal: {number: _figures(conv, conv.computed[1], target, goal) for number, conv in known.items()}
        for goal in get_args(Optimize)
    }
    goals = [
        Goal(name, *(sum(f) for f in zip(*figures.values(), strict=True))) for name, figures in now.items() if known
    ]
    return replace(report, goals=goals, gains=list(_gains(report, known, now[optimize], target, optimize)))


def _gains(
    report: Report, known: Mapping[int, Convolution], now: Mapping[int, _Figures], target: Target, optimize: str
) -> Iterator[Gain]:
    """Of the layers that cost most, most first; what is predicted to be saved is a share of what the layer costs."""
    costs = {number: report.rows[number].cost or 0 for number in known}
    for number in sorted(known, key=lambda n: -costs[n])[:_MOST_LAYERS]:
        conv = known[number]
        _, kept = conv.computed
        for share in SHARES:
            is_news = kept.sum() > (1 - share) * kept.size
            if is_news and costs[number] >= _LEAST_COST * report.cost:
                instructions, stored = _figures(conv, pruned(kept, share), target, optimize)
                saved = round(costs[number] * (1 - instructions / now[number][0]))
                yield Gain(number, share, saved, now[number][1] - stored)


def pruned(kept: np.ndarray, share: float) -> np.ndarray:
    """``kept`` with as many more filterlets pruned, at random yet always the same, as make ``share`` of all."""
    survivors = np.flatnonzero(kept)
    lost = max(0, len(survivors) - round((1 - share) * kept.size))
    result = kept.copy()
    result.flat[np.random.default_rng(_SEED).permutation(survivors)[:lost]] = False
    return result


def _figures(conv: Convolution, kept: np.ndarray, target: Target, optimize: str) -> _Figures:
    """What a convolution takes whose kernel is chosen anew."""
    isa, costs = isa_of(target.isa, target.vector_bytes), costs_of(target.isa)
    with create_context(), ir.Location.unknown():
        module = ir.Module.create()
        view = _view(conv, kept, module)
        plan = choose(view, isa, costs, optimize)  # type: ignore[arg-type]
        return predict(view, plan, target) or 0, stored_bytes(view, plan, isa)


def _view(conv: Convolution, kept: np.ndarray, module: ir.Module) -> ConvView:
    """A convolution of ones where ``kept``; the cost model looks at nothing else."""
    g, _ = conv.computed
    dtype = np.dtype(conv.dtype)
    weights = np.repeat(kept[..., None], g.group_channels, axis=3).astype(dtype)
    bias = np.zeros(g.f, np.float32 if dtype == np.float32 else np.int32)
    element = ir.F32Type.get() if dtype == np.float32 else ir.IntegerType.get_signless(8)
    input_type = ir.RankedTensorType.get([g.n, g.h, g.w, g.c], element)
    with ir.InsertionPoint(module.body):
        function = func.FuncOp("layer", ([input_type], []))
    block = function.add_entry_block()
    with ir.InsertionPoint(block):
        made = Conv(block.arguments[0], weights, bias, g.strides, g.dilations, g.pads, g.groups).create()
        func.ReturnOp([])
    return ConvView(made.owner)
