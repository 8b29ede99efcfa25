"""The planner: what it optimises for, and plans that come from a file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from iree.compiler import ir

import dtmm_mlir
from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.ops import CONV, ConvView, Geometry
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.passes.cost import costs_of, estimate, stored_bytes
from dtmm_mlir.passes.kernels.select import isa_of
from dtmm_mlir.passes.pipeline import run_pipeline
from dtmm_mlir.passes.plan import Optimize, PlanKernels, choose
from dtmm_mlir.targets import TARGETS, get_target
from tests.kernels.convolutions import Case, Sample, build_module, geometry

CASES = [
    Case(geometry(16, 16, 3, 8), 1.0),
    Case(geometry(16, 16, 40, 9), 0.3),
    Case(geometry(8, 8, 90, 12), 0.9),
    Case(geometry(9, 9, 33, 7, strides=(2, 2)), 0.6),
    Case(geometry(4, 4, 16, 5, 1), 0.5),
    Case(geometry(8, 8, 20, 6), 0.5, "f32"),
]


def module_of(cases: list[Case]) -> ir.Module:
    return build_module([Sample.of(case) for case in cases])


def plans_in(module: ir.Module) -> list[Plan]:
    return [Plan.read(op.attributes["plan"]) for op in walk(module, CONV)]


@pytest.mark.parametrize("name", ["cortex-m55", "cortex-m4", "cortex-m0plus", "riscv32", "host"])
def test_speed_is_fastest_and_size_is_smallest(name: str) -> None:
    target = get_target(name)
    isa, costs = isa_of(target.isa, target.vector_bytes), costs_of(target.isa)
    instructions, stored = {}, {}
    for optimize in ("speed", "balanced", "size"):
        module = module_of(CASES)
        PlanKernels(target=name, optimize=optimize)(module)
        convs = [ConvView(op) for op in walk(module, CONV)]
        chosen = list(zip(convs, plans_in(module), strict=True))
        instructions[optimize] = [estimate(conv, plan, isa, costs) for conv, plan in chosen]
        stored[optimize] = [stored_bytes(conv, plan, isa) for conv, plan in chosen]
        dense = [conv.weights.nbytes for conv in convs]
    for i in range(len(CASES)):
        assert instructions["speed"][i] <= 1.1 * instructions["size"][i]
        code = 900 if isa.parts else 500 if isa.finishes(8, 1) else 0  # what shorter code may cost
        assert stored["size"][i] <= min(stored["speed"][i], stored["balanced"][i]) + code
        assert stored["balanced"][i] <= max(stored["size"][i], dense[i] * 9 // 8 + 1024)


@pytest.mark.parametrize(
    ("channels", "kept", "optimize", "skips"),
    [(64, 0.4, "balanced", 1), (64, 0.4, "size", 0), (8, 0.4, "balanced", 0), (8, 0.4, "speed", 1)],
)
def test_parameters_are_stored_for_each_zone_where_they_are_few(
    channels: int, kept: float, optimize: Optimize, skips: int
) -> None:
    """Tables skip padding where the weights are many more bytes than that takes, or bytes do not matter."""
    module = module_of([Case(geometry(4, 4, channels, 24), kept)])
    PlanKernels(target="riscv32", optimize=optimize)(module)
    assert [plan.skip_padding for plan in plans_in(module)] == [skips]


@pytest.mark.parametrize(
    ("size", "kept", "zero_point", "skips"),
    [
        (4, 0.4, 0, 2),
        (8, 0.7, -128, 2),
        (8, 0.2, 0, 2),
        (16, 0.2, 0, 1),  # a block is half a row
        (4, 1.0, -128, 1),  # what sums miss beside the input would be bytes beyond those of the unpruned layer
        (4, 0.2, -127, 1),  # and does not fit into i16
    ],
)
def test_columns_are_skipped_where_blocks_are_rows(size: int, kept: float, zero_point: int, skips: int) -> None:
    module = module_of([Case(geometry(size, size, 120, 120), kept, zero_point=zero_point)])
    PlanKernels(target="cortex-m55")(module)
    assert [plan.skip_padding for plan in plans_in(module)] == [skips]


def test_sums_that_do_not_fit_are_refused() -> None:
    plan = Plan("input_stationary", 4, 1, 1, 4, unrolled=8, skip_padding=2)
    module = build_module([Sample.of(Case(geometry(4, 4, 60, 9), zero_point=-127, plan=plan))])
    with pytest.raises(DtmmError, match=r"sums are too large for its plan's skip_padding = 2"):
        dtmm_mlir.compile(module, target="cortex-m55")


@pytest.mark.parametrize(("size", "channels", "filters", "stride"), [(12, 40, 80, 2), (6, 40, 40, 1), (16, 64, 64, 1)])
def test_few_pruned_filterlets_save_instructions(size: int, channels: int, filters: int, stride: int) -> None:
    """Against the best plan of the unpruned layer, which joins channels where they are no whole vectors."""
    target = get_target("cortex-m55")
    isa, costs = isa_of(target.isa, target.vector_bytes), costs_of(target.isa)
    shape = geometry(size, size, channels, filters, strides=(stride, stride))
    module = module_of([Case(shape, kept) for kept in (0.9, 1.0)])
    PlanKernels(target=target.name)(module)
    views = [ConvView(op) for op in walk(module, CONV)]
    pruned, dense = (estimate(x, plan, isa, costs) for x, plan in zip(views, plans_in(module), strict=True))
    assert pruned < 0.97 * dense


def test_code_that_saves_bytes_needs_no_pruning() -> None:
    """Short rounds for each kernel column are less code than long ones for all, which unpruned layers take, too."""
    module = module_of([Case(geometry(8, 8, 64, 8), zero_point=0)])
    PlanKernels(target="cortex-m55")(module)
    (plan,) = plans_in(module)
    assert plan.slides


@pytest.mark.parametrize(("channels", "filters"), [(256, 64), (126, 40), (64, 200)])
def test_filters_without_weights_of_a_fully_connected_layer_take_next_to_nothing(channels: int, filters: int) -> None:
    target = get_target("cortex-m55")
    isa, costs = isa_of(target.isa, target.vector_bytes), costs_of(target.isa)
    module = module_of([Case(geometry(1, 1, channels, filters, 1), kept) for kept in (0.25, 1.0)])
    PlanKernels(target=target.name)(module)
    views, plans = [ConvView(op) for op in walk(module, CONV)], plans_in(module)
    pruned, dense = (estimate(view, plan, isa, costs) for view, plan in zip(views, plans, strict=True))
    assert [plan.kernel for plan in plans] == ["linear", "table"]
    assert pruned < 0.35 * dense


def host_plans(name: str, cases: list[Case]) -> list[tuple[Plan, float]]:
    """What is chosen for hosts with an instruction set, and what it is estimated to take."""
    isa, costs, module = isa_of(name, 16), costs_of(name), module_of(cases)
    views = [ConvView(op) for op in walk(module, CONV)]
    return [(plan := choose(view, isa, costs), estimate(view, plan, isa, costs)) for view in views]


@pytest.mark.parametrize(("size", "channels", "filters"), [(16, 32, 32), (8, 64, 61), (4, 128, 128)])
@pytest.mark.parametrize("isa", ["avx2", "avxvnni", "avx512vnni", "dotprod"])
def test_few_pruned_filterlets_save_time_on_a_host(isa: str, size: int, channels: int, filters: int) -> None:
    shape = geometry(size, size, channels, filters)
    (quarter, least), (most, pruned), (_, dense) = host_plans(isa, [Case(shape, kept) for kept in (0.25, 0.9, 1.0)])
    assert {quarter.kernel, most.kernel} == {"pixel_lanes"}
    assert 2 * least < pruned < 0.98 * dense


@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        (geometry(32, 32, 31, 8), 4),
        (geometry(8, 8, 91, 8), 8),  # all of them lie near
        (geometry(24, 24, 159, 8), 4),  # not near, but a row or two more would be copied for each
        (geometry(56, 56, 64, 8, 1), 4),
        (geometry(16, 16, 52, 8), 4),  # seven would lie near, but five be computed twice
        (geometry(61, 61, 30, 8), 3),  # of which two are computed twice, not three
    ],
)
def test_rows_of_planes(shape: Geometry, rows: int) -> None:
    ((plan, _),) = host_plans("avx512vnni", [Case(shape)])
    assert (plan.kernel, plan.rows) == ("pixel_lanes", rows)


def test_almost_all_filterlets_may_all_be_stored() -> None:
    """Their addresses are shared then, for which others would not leave room."""
    module = module_of([Case(geometry(4, 4, 67, 150), kept, zero_point=0) for kept in (0.95, 0.5, 1.0)])
    PlanKernels(target="cortex-m55")(module)
    assert [plan.dense for plan in plans_in(module)] == [1, 0, 0]


@pytest.mark.parametrize(
    ("target", "shape", "width"),
    [
        ("cortex-m55", geometry(25, 5, 64, 64, 1), 125),
        ("cortex-m55", geometry(12, 8, 64, 64, 1), 0),  # blocks divide the rows
        ("cortex-m55", geometry(25, 5, 64, 64), 0),
        ("cortex-m55", geometry(25, 5, 64, 64, 1, strides=(2, 2)), 0),
        ("cortex-m0plus", geometry(25, 5, 64, 16, 1), 25),  # a row of all is more than a row buffer
        ("riscv32", geometry(10, 10, 64, 64, 1), 100),
    ],
)
def test_blocks_of_pixels_go_on_from_row_to_row(target: str, shape: Geometry, width: int) -> None:
    module = module_of([Case(shape)])
    PlanKernels(target=target)(module)
    assert [plan.row_width for plan in plans_in(module)] == [width]


def test_isas_have_all_costs() -> None:
    isas = {target.isa for target in TARGETS.values()} | {"avx2", "avxvnni", "avx512vnni", "dotprod", "generic"}
    assert len({frozenset(costs_of(isa)) for isa in isas}) == 1


def test_a_file_names_plans(tmp_path: Path) -> None:
    by_hand = Plan("table", 2, 1, 1, 3, unrolled=5)
    path = tmp_path / "plans.json"
    path.write_text(json.dumps({"layers": [{"plan": asdict(by_hand)}, {"plan": None}, {"name": "x"}]}))
    module, chosen = module_of(CASES[:3]), module_of(CASES[:3])
    PlanKernels(target="cortex-m55", plans=str(path))(module)
    PlanKernels(target="cortex-m55")(chosen)
    assert plans_in(module) == [by_hand, *plans_in(chosen)[1:]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "must be a JSON object with a list 'layers'"),
        ("[1]", "must be a JSON object with a list 'layers'"),
        ('{"layers": []}', "plans for 0 layers, but the model has 1 convolutions"),
        ('{"layers": [{"plan": {"kernel": "table"}}]}', "layer 0: plan has missing or unknown fields: filters"),
        ('{"layers": [{"plan": 7}]}', "layer 0: a plan must be a dictionary"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "plans.json"
    path.write_text(content)
    with pytest.raises(DtmmError, match=message.replace("(", r"\(")):
        PlanKernels(plans=str(path))(module_of(CASES[:1]))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DtmmError, match="cannot read the plans"):
        PlanKernels(plans=str(tmp_path / "none.json"))(module_of(CASES[:1]))


def test_a_plan_that_does_not_fit_is_refused_by_the_verifier(tmp_path: Path) -> None:
    path = tmp_path / "plans.json"
    path.write_text(json.dumps({"layers": [{"plan": asdict(Plan("table", 1, 1, 4, 1))}]}))
    with pytest.raises(DtmmError, match="run_width 4 is wider"):
        run_pipeline(module_of(CASES[:1]), [PlanKernels(plans=str(path))])
