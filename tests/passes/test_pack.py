"""``filterlet-pack``: what it stores unpacks to the weights that were there, once and in place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from iree.compiler import ir

from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.ops import CONV, PACKED_CONV, PackedConvView, Rescale
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.base import PassError
from dtmm_mlir.passes.pack import PackFilterlets, settle_constant
from dtmm_mlir.passes.verify import VerifyFilterlet
from tests.kernels.convolutions import Case, Sample, build_module, geometry

CASES = [
    Case(geometry(5, 5, c, f, k), kept, seed=c + f, plan=Plan("table", 2, filters, width, 2, joined, dense))
    for c, f, k, kept, filters, width, joined, dense in [
        (4, 3, 3, 0.5, 1, 1, 0, 0),
        (4, 5, 3, 0.5, 2, 1, 0, 0),
        (3, 7, 3, 0.4, 3, 2, 0, 0),
        (2, 6, 5, 0.4, 4, 3, 0, 0),
        (3, 4, 3, 0.7, 2, 3, 3, 0),
        (2, 5, 5, 0.3, 2, 2, 0, 1),
        (5, 2, 1, 0.5, 2, 1, 0, 0),
        (4, 3, 3, 0.0, 1, 2, 0, 0),
        (4, 3, 3, 1.0, 1, 2, 0, 0),
    ]
] + [
    Case(geometry(5, 5, 6, 6, 3, groups=6), 0.4, seed=8, plan=Plan("depthwise", 2, 1, 1, 2)),
    Case(geometry(5, 5, 6, 9, 3, groups=3), 0.4, seed=9, plan=Plan("table", 2, 1, 2, 2)),
    Case(geometry(5, 5, 18, 4, 3), 0.4, seed=10, plan=Plan("input_stationary", 3, 1, 1, 2)),
]


def _packed(case: Case) -> tuple[Sample, PackedConvView, ir.Module]:
    sample = Sample.of(case)
    module = build_module([sample])
    PackFilterlets()(module)
    VerifyFilterlet()(module)
    (op,) = walk(module, PACKED_CONV)
    return sample, PackedConvView(op), module


@pytest.mark.parametrize("case", CASES, ids=str)
def test_unpacks_to_the_weights(case: Case) -> None:
    sample, packed, _module = _packed(case)
    g, plan, weights = case.geometry, case.plan, sample.weights
    assert plan is not None
    ends = np.cumsum(packed.counts)
    for block, (first, end) in enumerate(zip(ends - packed.counts, ends, strict=True)):
        filters = np.arange(g.f)
        if plan.kernel != "depthwise":
            filters = plan.first_filter(block, g.f) + np.arange(plan.filters)
        unpacked = np.zeros((len(filters), g.kh, g.kw, g.group_channels), np.int64)
        for values, position in zip(packed.values[first:end], packed.positions[first:end], strict=True):
            ky, kx = divmod(int(position), g.kw)
            run = values.reshape(len(filters), plan.run_width, g.group_channels)
            unpacked[:, ky, kx : kx + plan.run_width] += run
        np.testing.assert_array_equal(unpacked, weights[filters])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_stores_no_run_of_nothing(case: Case) -> None:
    """A run holds a survivor, unless the plan stores all runs; the first of its filterlets does, or it ends a row."""
    _sample, packed, _module = _packed(case)
    g, plan = case.geometry, case.plan
    assert plan is not None
    if plan.dense:
        assert (packed.counts == packed.counts[0]).all()
        assert packed.counts[0] == g.kh * -(-g.kw // plan.run_width)
    else:
        assert (packed.values.any(axis=1)).all()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_figures_and_bias(case: Case) -> None:
    sample, packed, _module = _packed(case)
    kept = sample.weights.any(axis=3)
    assert (packed.kept, packed.total) == (kept.sum(), kept.size)
    sums = sample.weights.astype(np.int64).sum(axis=(1, 2, 3))
    some = kept.any(axis=(1, 2))  # the others have a bias and a scale of their own
    np.testing.assert_array_equal(packed.bias[some], (sample.bias - sample.zero_point * sums).astype(np.int32)[some])
    assert packed.input_zero_point == sample.zero_point
    assert list(packed.op.attributes["kernel"]) == [case.geometry.kh, case.geometry.kw]
    assert str(packed.op.result.type) == str(sample.output_type) if case.plan is None else packed.rescale is not None


def test_bias_wraps_as_sums_do() -> None:
    case = Case(geometry(3, 3, 4, 8, 1), 1.0, rescale="extreme-double", seed=4, plan=Plan("table", 1, 1, 1, 1))
    sample, packed, _module = _packed(case)
    sums = sample.weights.astype(np.int64).sum(axis=(1, 2, 3))
    exact = sample.bias - sample.zero_point * sums
    assert (np.abs(exact) >= 1 << 31).any()
    np.testing.assert_array_equal(packed.bias, exact.astype(np.int32))


def test_float_bias_stays() -> None:
    case = Case(geometry(3, 3, 4, 3, 1), 1.0, "f32", seed=4, plan=Plan("table", 1, 1, 1, 1))
    sample, packed, _module = _packed(case)
    np.testing.assert_array_equal(packed.bias, sample.bias)


def test_nothing_of_the_convolution_is_left() -> None:
    _sample, _packed_view, module = _packed(CASES[0])
    assert not list(walk(module, CONV))
    assert sum(op.name == "arith.constant" for op in walk(module)) == 4


def test_a_convolution_without_a_plan_is_an_error() -> None:
    module = build_module([Sample.of(Case(geometry(3, 3, 2, 2)))])
    with pytest.raises(PassError, match=r"has no plan; run filterlet-plan first"):
        PackFilterlets()(module)


I32 = st.integers(-(2**31), 2**31 - 1)


@given(
    st.lists(st.tuples(I32, st.just(0) | st.integers(0, 2**31 - 1), st.integers(2, 62)), min_size=1),
    st.sampled_from(["single", "double"]),
)
def test_empty_filters_keep_their_results(filters: list[tuple[int, int, int]], rounding: str) -> None:
    bias, multiplier, shift = (np.array(column, np.int32) for column in zip(*filters, strict=True))
    rescale = Rescale(multiplier, shift.astype(np.int8), 3, rounding)  # type: ignore[arg-type]
    empty = np.arange(len(filters)) % 3 < 2

    settled_bias, settled = settle_constant(bias, rescale, empty)

    assert [scaled(*one, rounding) for one in zip(settled_bias, settled.multiplier, settled.shift, strict=True)] == [
        scaled(*one, rounding) for one in filters
    ]
    assert (settled.shift[empty | (multiplier == 0)] > 31).all()
    assert (settled_bias[~empty] == bias[~empty]).all()


def scaled(bias: int, multiplier: int, shift: int, rounding: str) -> int:
    """TOSA's rescale in Python's integers, within what tells i8 results apart."""
    bias, multiplier, shift = int(bias), int(multiplier), int(shift)
    extra = (1 << 30 if bias >= 0 else -(1 << 30)) if rounding == "double" and shift > 31 else 0
    return max(-1024, min(1024, (bias * multiplier + (1 << (shift - 1)) + extra) >> shift))
