"""What other plans and more pruning would give, by the cost model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def with_outlook(report: Report, optimize: str = "balanced") -> Report:
    """``report`` with its goals and gains filled in.

    Args:
        optimize: what the kernels of further pruned layers are chosen for.
    """
    target = get_target(report.target)
    return replace(report, goals=list(_goals(report, target)), gains=list(_gains(report, target, optimize)))


def _goals(report: Report, target: Target) -> Iterator[Goal]:
    known = [c for _, c in report.convolutions if c.predicted is not None]
    for optimize in get_args(Optimize) if known else ():
        figures = [_figures(c, c.kept, target, optimize) for c in known]
        yield Goal(optimize, *(sum(column) for column in zip(*figures, strict=True)))


def _gains(report: Report, target: Target, optimize: str) -> Iterator[Gain]:
    rows = [(number, row, row.convolution) for number, row in enumerate(report.rows) if row.predicted]
    rows.sort(key=lambda entry: -(entry[1].cost or 0))
    for number, row, conv in rows[:_MOST_LAYERS]:
        if conv is None or (row.cost or 0) < _LEAST_COST * report.cost:
            continue
        shares = [share for share in SHARES if conv.kept_filterlets > (1 - share) * conv.kept.size]
        now = _figures(conv, conv.kept, target, optimize) if shares else (0, 0)
        for share in shares:
            then = _figures(conv, pruned(conv.kept, share), target, optimize)
            yield Gain(number, share, now[0] - then[0], now[1] - then[1])


def pruned(kept: np.ndarray, share: float) -> np.ndarray:
    """``kept`` with as many more filterlets pruned, at random yet always the same, as make ``share`` of all."""
    survivors = np.flatnonzero(kept)
    lost = max(0, len(survivors) - round((1 - share) * kept.size))
    result = kept.copy()
    result.flat[np.random.default_rng(_SEED).permutation(survivors)[:lost]] = False
    return result


def _figures(conv: Convolution, kept: np.ndarray, target: Target, optimize: str) -> tuple[int, int]:
    """Predicted instructions and stored bytes of a convolution whose kernel is chosen anew."""
    isa, costs = isa_of(target.isa, target.vector_bytes), costs_of(target.isa)
    with create_context(), ir.Location.unknown():
        module = ir.Module.create()
        view = _view(conv, kept, module)
        plan = choose(view, isa, costs, optimize)  # type: ignore[arg-type]
        return predict(view, plan, target) or 0, stored_bytes(view, plan, isa)


def _view(conv: Convolution, kept: np.ndarray, module: ir.Module) -> ConvView:
    """A convolution of ones where ``kept``; the cost model looks at nothing else."""
    g = conv.geometry
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


def best_first(gains: Sequence[Gain]) -> list[Gain]:
    """Gains by the instructions they save."""
    return sorted(gains, key=lambda gain: -gain.instructions)
