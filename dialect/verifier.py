"""Rejects every inconsistent filterlet op, beyond what IRDL checks.

Each rule is a function of one op that yields what is wrong; ``verify`` turns the first finding into a located error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import constant_array, walk
from dtmm_mlir.dialect.ops import (
    ADD,
    AVG_POOL,
    CONV,
    MAX_POOL,
    PACKED_CONV,
    AddView,
    Affine,
    ConvView,
    Geometry,
    PackedConvView,
    PoolView,
)
from dtmm_mlir.dialect.plan import MEMBERS, Plan
from dtmm_mlir.passes.base import PassError

Findings = Iterator[str]
Rule = Callable[[ir.Operation], Findings]


def verify(module: ir.Module) -> None:
    """Checks every filterlet op of ``module``.

    Raises:
        PassError: the first op that breaks a rule, with its location and the rule.
    """
    for op in walk(module, *_RULES):
        for message in findings(op):
            raise PassError(op, message)


def findings(op: ir.Operation) -> Findings:
    """Everything found wrong with ``op``; a rule is only asked once those before it are content."""
    for rule in _RULES[op.name]:
        found = False
        for message in rule(op):
            found = True
            yield message
        if found:
            return


# Rules for both convolutions.


def _types(op: ir.Operation) -> Findings:
    for value, name, rank in ((op.operands[0], "input", 4), (op.result, "result", 4)):
        type = value.type
        if not isinstance(type, ir.RankedTensorType) or type.rank != rank:
            yield f"{name} must be a tensor of rank {rank} (NHWC), not {type}"
        elif not type.has_static_shape:
            yield f"{name} must have a static shape, not {type}"
    if (found := str(ir.ShapedType(op.operands[0].type).element_type)) not in ("i8", "f32"):
        yield f"input must hold i8 or f32, not {found}"


def _constants(op: ir.Operation) -> Findings:
    names = ("values", "positions", "counts", "bias") if op.name == PACKED_CONV else ("weights", "bias")
    for operand, name in zip(list(op.operands)[1:], names, strict=True):
        if constant_array(operand) is None:
            yield f"{name} must be a constant"


def _attributes(op: ir.Operation) -> Findings:
    lengths = {"strides": 2, "dilations": 2, "pads": 4}
    if op.name == PACKED_CONV:
        lengths["kernel"] = 2
    yield from _arrays(op, lengths)
    for name in ("groups", "input_zero_point", *(("kept", "total") if op.name == PACKED_CONV else ())):
        if not isinstance(op.attributes[name].type, ir.IntegerType):
            yield f"{name} must be an integer attribute, not {op.attributes[name]}"
    if ir.IntegerAttr(op.attributes["groups"]).value < 1:
        yield "groups must be positive"


def _arrays(op: ir.Operation, lengths: Mapping[str, int]) -> Findings:
    """Arrays of i64, by name, that have a number of positive entries; pads may be zero."""
    for name, length in lengths.items():
        attribute = op.attributes[name]
        if not isinstance(attribute, ir.DenseI64ArrayAttr) or len(attribute) != length:
            yield f"{name} must be array<i64> of {length} numbers, not {attribute}"
        elif min(attribute) < (0 if name == "pads" else 1):
            yield f"{name} must be {'non-negative' if name == 'pads' else 'positive'}, not {list(attribute)}"


def _element_types(op: ir.Operation) -> Findings:
    view = _view(op)
    real = view.element_type == "f32"
    weights, bias = op.operands[1], op.operands[-1]
    if (found := _element(weights)) != view.element_type:
        yield f"weights hold {found} but the input holds {view.element_type}"
    if (found := _element(bias)) != ("f32" if real else "i32"):
        yield f"bias must hold {'f32' if real else 'i32'}, not {found}"
    expected = "f32" if real else "i32" if isinstance(op.attributes["rescale"], ir.UnitAttr) else "i8"
    if view.output_type != expected:
        yield f"result must hold {expected}, not {view.output_type}"
    zero_point = view.input_zero_point
    if not (-128 <= zero_point <= 127) or (real and zero_point):
        yield f"input_zero_point must be {'0 for f32' if real else 'within i8'}, not {zero_point}"
    if real and np.any([not np.isfinite(constant_array(v)).all() for v in (weights, bias)]):
        yield "weights and bias must be finite"


def _shapes(op: ir.Operation) -> Findings:
    g = _view(op).geometry
    if g.c % g.groups or g.f % g.groups:
        yield f"groups = {g.groups} must divide {g.c} input and {g.f} output channels"
    elif min(g.oh, g.ow) < 1:
        yield f"the {g.kh}x{g.kw} kernel does not fit into the padded {g.h}x{g.w} input"
    elif tuple(ir.RankedTensorType(op.result.type).shape) != g.output_shape:
        yield f"result must have shape {list(g.output_shape)}, not {ir.RankedTensorType(op.result.type).shape}"
    elif tuple(ir.RankedTensorType(op.operands[-1].type).shape) != (g.f,):
        yield f"bias must have {g.f} elements, one per filter"


def _rescale(op: ir.Operation) -> Findings:
    attribute = op.attributes["rescale"]
    if isinstance(attribute, ir.UnitAttr):
        return
    entries = {named.name: named.attr for named in ir.DictAttr(attribute)}
    wanted = {
        "multiplier": ir.DenseI32ArrayAttr,
        "shift": ir.DenseI8ArrayAttr,
        "output_zero_point": ir.IntegerAttr,
        "rounding": ir.StringAttr,
    }
    if set(entries) != set(wanted):
        yield f"rescale must have the entries {', '.join(wanted)}, not {', '.join(entries)}"
        return
    for name, kind in wanted.items():
        if not isinstance(entries[name], kind):
            yield f"rescale's {name} has the wrong type: {entries[name]}"
            return
    filters = _view(op).geometry.f
    for name in ("multiplier", "shift"):
        if (length := len(entries[name])) != filters:
            yield f"rescale's {name} has {length} entries for {filters} filters"
    rescale = _view(op).rescale
    assert rescale is not None
    if rescale.rounding not in ("single", "double"):
        yield f'rescale\'s rounding must be "single" or "double", not "{rescale.rounding}"'
    if (rescale.multiplier < 0).any():
        yield "rescale's multiplier must not be negative"
    if ((rescale.shift < 2) | (rescale.shift > 62)).any():
        yield "rescale's shift must be within 2 to 62"
    if not -128 <= rescale.output_zero_point <= 127:
        yield f"rescale's output_zero_point must be within i8, not {rescale.output_zero_point}"


def _clamp(op: ir.Operation) -> Findings:
    attribute = op.attributes["clamp"]
    if isinstance(attribute, ir.UnitAttr):
        return
    kind = ir.FloatAttr if _element(op.operands[0]) == "f32" else ir.IntegerAttr
    bounds = list(ir.ArrayAttr(attribute))
    if len(bounds) != 2 or not all(isinstance(bound, kind) for bound in bounds):
        yield f"clamp must be [min, max] as {'f32' if kind is ir.FloatAttr else 'i32'} numbers, not {attribute}"
    elif not bounds[0].value <= bounds[1].value:
        yield f"clamp's min {bounds[0].value} is greater than its max {bounds[1].value}"


def _removed(op: ir.Operation) -> Findings:
    if "removed" not in op.attributes:
        return
    attribute = op.attributes["removed"]
    entries = {n.name: n.attr for n in ir.DictAttr(attribute)} if isinstance(attribute, ir.DictAttr) else {}
    arrays = {name: array for name, array in entries.items() if isinstance(array, ir.DenseI64ArrayAttr)}
    if set(entries) != {"filters", "channels"} or arrays.keys() != entries.keys():
        yield f"removed must have the entries filters and channels, which are array<i64>, not {attribute}"
        return
    g = _view(op).model_geometry
    for name, count in (("filters", g.f), ("channels", g.c)):
        numbers = list(arrays[name])
        if numbers != sorted(set(numbers) & set(range(count))):
            yield f"removed's {name} must be ascending numbers of {count} {name}, not {numbers}"


def _plan(op: ir.Operation) -> Findings:
    if "plan" not in op.attributes:
        return
    if not isinstance(op.attributes["plan"], ir.DictAttr):
        yield f"plan must be a dictionary, not {op.attributes['plan']}"
        return
    try:
        plan = Plan.read(op.attributes["plan"])
    except ValueError as error:
        yield str(error)
        return
    view = _view(op)
    g = view.geometry
    if plan.row_width and not (g.takes_pixels_alone and plan.kernel != "depthwise"):
        yield f"plan has row_width = {plan.row_width}, which takes a 1x1 kernel, stride 1, no padding, and no depthwise"
        return
    if plan.row_width and g.input_pixels % plan.row_width:
        yield f"plan's row_width = {plan.row_width} does not divide the {g.input_pixels} pixels of the input"
        return
    if plan.kernel == "depthwise" and not g.is_depthwise:
        yield "plan names the depthwise kernel, but the convolution is not depthwise"
    if plan.run_width > g.kw:
        yield f"plan's run_width {plan.run_width} is wider than the {g.kh}x{g.kw} kernel"
    if plan.filters > g.f or (plan.filters > 1 and (g.groups > 1 or plan.kernel == "depthwise")):
        yield f"plan's filters = {plan.filters} does not fit {g.f} filters in {g.groups} group(s)"
    if plan.filters > 4 and plan.kernel != "pixel_lanes":
        yield f"plan has filters = {plan.filters}; more than 4 take the pixel_lanes kernel"
    if plan.joined:
        yield from _joined(plan, view)
    if plan.masked and (plan.kernel != "table" or plan.dense or plan.skip_padding or g.groups > 1 or g.kh * g.kw > 16):
        yield "plan is masked, which takes the table kernel, one group, 16 positions, and no dense or skip_padding"
    if plan.kernel in MEMBERS:
        yield from _parts(plan, view)
    if plan.kernel == "linear":
        yield from _linear(plan, view)
    if plan.kernel == "input_stationary":
        yield from _input_stationary(plan, view)
    if plan.kernel == "pixel_lanes":
        yield from _pixel_lanes(plan, view)
    if plan.kernel != "input_stationary" and plan.pixel_rows > 1:
        yield f"plan has pixel_rows = {plan.pixel_rows}, which takes the input_stationary kernel"
    if plan.kernel != "input_stationary" and plan.skips_columns:
        yield f"plan has skip_padding = {plan.skip_padding}, which takes the input_stationary kernel"


def _joined(plan: Plan, view: ConvView | PackedConvView) -> Findings:
    g = view.geometry
    width = g.kw if plan.kernel == "input_stationary" else plan.run_width
    if (
        plan.kernel not in ("table", "input_stationary")
        or view.element_type != "i8"
        or g.groups > 1
        or g.dilations[1] > 1
    ):
        yield (
            "plan joins channels, which takes the table or input_stationary kernel, i8, one group and no horizontal "
            "dilation"
        )
    elif plan.joined != g.c and (plan.joined != g.c % 16 or width != g.kw):
        yield (
            f"plan joins {plan.joined} of {g.c} channels; it can join all, "
            f"or in runs of {g.kw} filterlets the last {g.c % 16}"
        )


def _parts(plan: Plan, view: ConvView | PackedConvView) -> Findings:
    g, kernel = view.geometry, plan.kernel
    together = MEMBERS[kernel] > 1
    if view.element_type != "i8" or g.groups > 1 or g.kh * g.kw > 255 or (together and not 2 <= g.f < 1 << 15):
        filters = ", 2 to 32767 filters" if together else ""
        yield f"plan names the {kernel} kernel, which takes i8, one group{filters} and at most 255 positions"
    widths = sorted({1, g.kw} if together else {g.kw})
    if plan.filters > 1 or plan.run_width not in widths or plan.dense:
        named = " or ".join(map(str, widths))
        yield f"plan names the {kernel} kernel, which takes filters of 1, a run_width of {named}, and no dense"


def _linear(plan: Plan, view: ConvView | PackedConvView) -> Findings:
    g = view.geometry
    if view.element_type != "i8" or g.groups > 1 or g.kh * g.kw > 1 or any(g.pads) or not 4 <= g.f < 1 << 15:
        yield "plan names the linear kernel, which takes i8, one group, a 1x1 kernel, no padding and 4 to 32767 filters"
    elif plan.filters != 4 or plan.dense or plan.skip_padding:
        yield "plan names the linear kernel, which takes filters of 4, no dense and no skip_padding"


def _input_stationary(plan: Plan, view: ConvView | PackedConvView) -> Findings:
    g = plan.shape(view.geometry)
    if view.element_type != "i8" or g.groups > 1:
        yield "plan names the input_stationary kernel, which takes i8 and one group"
    if plan.filters > 1 or plan.run_width not in (1, g.kw):
        yield f"plan names the input_stationary kernel, which takes filters of 1, and a run_width of 1 or {g.kw}"
    elif plan.slides and plan.joined == g.c:
        yield f"plan's run_width = {plan.run_width} takes channels that are not joined in the input_stationary kernel"
    pixels, rows = min(plan.pixels, g.ow), plan.pixel_rows
    divides = rows <= g.oh and (plan.rows >= g.oh or plan.rows % rows == 0)
    if rows > 1 and (pixels not in (4, g.ow) or not divides or pixels * rows > 8):
        yield (
            f"plan's pixel_rows = {rows} must divide the plan's rows = {plan.rows}, if these are not all {g.oh}, with "
            "pixels as many as columns, or four, and at most 8 in all"
        )
    if plan.skips_columns and (pixels < g.ow or plan.joined == g.c):
        yield f"plan's skip_padding = 2 takes all {g.ow} columns as pixels, and channels that are not joined"
    elif plan.skip_padding == 1 and rows > 1 and (rows > 2 or pixels != 4):
        yield f"plan's skip_padding takes one output row, or two of four pixels, not {rows} of {pixels}"
    if plan.unrolled not in (2, 4, 8, 16, 32, 64):
        yield f"plan's unrolled = {plan.unrolled} must be a power of two from 2 to 64 in the input_stationary kernel"
    far = g.strides[1] * -(-g.c // 16) * 16 > 508 or g.strides[1] * plan.joined > 127
    if pixels * rows == 8 and (pixels == 1 or far):
        yield f"plan's input_stationary kernel takes at most 7 pixels of {g.c} channels at a stride of {g.strides[1]}"


def _pixel_lanes(plan: Plan, view: ConvView | PackedConvView) -> Findings:
    g = plan.shape(view.geometry)
    if view.element_type != "i8" or g.groups > 1 or plan.run_width > 1 or plan.dense:
        yield "plan names the pixel_lanes kernel, which takes i8, one group, a run_width of 1, and no dense"
    if min(plan.rows, g.oh) * g.ow < 16:
        yield f"plan's pixel_lanes kernel takes at least 16 output pixels, which {plan.rows} rows of {g.ow} are not"


# Rules for filterlet.conv_2d.


def _conv_weights(op: ir.Operation) -> Findings:
    type, channels = op.operands[1].type, ir.RankedTensorType(op.operands[0].type).shape[3]
    groups = ir.IntegerAttr(op.attributes["groups"]).value
    if not isinstance(type, ir.RankedTensorType) or type.rank != 4:
        yield f"weights must be a tensor of rank 4 (OHWI), not {type}"
    elif type.shape[3] * groups != channels:
        yield f"weights have {type.shape[3]} channels for {groups} group(s) of an input with {channels}"
    elif 0 in type.shape:
        yield f"weights must not be empty, but are {type}"


# Rules for filterlet.packed_conv_2d.


def _packed_operands(op: ir.Operation) -> Findings:
    types = {1: ("values", 2, ("i8", "f32")), 2: ("positions", 1, ("i16",)), 3: ("counts", 1, ("i16",))}
    for number, (name, rank, elements) in types.items():
        type = ir.ShapedType(op.operands[number].type)
        if type.rank != rank or str(type.element_type) not in elements:
            wanted = f"a tensor of rank {rank} holding {' or '.join(elements)}"
            yield f"{name} must be {wanted}, not {op.operands[number].type}"


def _packed_counts(op: ir.Operation) -> Findings:
    view = PackedConvView(op)
    g, plan = view.geometry, Plan.read(op.attributes["plan"])
    runs, length = view.values.shape
    blocks = 1 if plan.kernel == "depthwise" else plan.blocks(g.f)
    if len(view.counts) != blocks:
        yield f"counts has {len(view.counts)} entries; this plan needs {blocks}"
    elif (view.counts < 0).any():
        yield "counts must not be negative"
    elif view.counts.sum() != runs:
        yield f"counts sum to {view.counts.sum()} but values hold {runs} runs"
    if len(view.positions) != runs:
        yield f"positions has {len(view.positions)} entries for {runs} runs"
    elif runs and (view.positions.min() < 0 or view.positions.max() >= g.kh * g.kw):
        yield f"positions must be within 0 to {g.kh * g.kw - 1}, the positions of a {g.kh}x{g.kw} kernel"
    elif (view.positions % g.kw + plan.stored_width > g.kw).any():
        yield f"a run of {plan.stored_width} filterlets goes past the end of its kernel row of {g.kw}"
    yield from _packed_length(g, plan, length)
    if not 0 <= view.kept <= view.total or view.total != g.f * g.kh * g.kw:
        yield f"kept = {view.kept} of total = {view.total} does not fit {g.f} filters of {g.kh}x{g.kw}"


def _packed_length(g: Geometry, plan: Plan, length: int) -> Findings:
    exact = g.c if plan.kernel == "depthwise" else plan.stored_filters * plan.stored_width * g.group_channels
    if length != exact:
        yield f"values hold {length} weights per run; its filterlets have {exact}"


# Rules for filterlet.add and the pools.


def _int8_tensors(op: ir.Operation) -> Findings:
    names = ("lhs", "rhs") if op.name == ADD else ("input",)
    values = [*zip(op.operands, names, strict=True), (op.result, "result")]
    for value, name in values:
        type = value.type
        if not isinstance(type, ir.RankedTensorType) or not type.has_static_shape or _element(value) != "i8":
            yield f"{name} must be a tensor of i8 with a static shape, not {type}"


def _equal_shapes(op: ir.Operation) -> Findings:
    types = [str(value.type) for value in (*op.operands, op.result)]
    if len(set(types)) > 1:
        yield f"lhs, rhs and result must have one shape, not {', '.join(types)}"


def _pool_window(op: ir.Operation) -> Findings:
    if any(ir.RankedTensorType(value.type).rank != 4 for value in (op.operands[0], op.result)):
        yield f"input and result must have rank 4 (NHWC), not {op.operands[0].type} and {op.result.type}"
        return
    yield from _arrays(op, {"kernel": 2, "strides": 2, **({"pads": 4} if op.name == MAX_POOL else {})})


def _pool_shapes(op: ir.Operation) -> Findings:
    g = PoolView(op).geometry
    if max(g.pads[:2]) >= g.kh or max(g.pads[2:]) >= g.kw:
        yield f"pads {list(g.pads)} must be smaller than the {g.kh}x{g.kw} kernel"
    elif min(g.oh, g.ow) < 1:
        yield f"the {g.kh}x{g.kw} kernel does not fit into the padded {g.h}x{g.w} input"
    elif tuple(ir.RankedTensorType(op.result.type).shape) != g.output_shape:
        yield f"result must have shape {list(g.output_shape)}, not {ir.RankedTensorType(op.result.type).shape}"


def _int8_clamp(op: ir.Operation) -> Findings:
    clamp = AddView(op).clamp
    if clamp is not None and not -128 <= clamp[0] <= clamp[1] <= 127:
        yield f"clamp must be within i8, not {list(clamp)}"


def _affine(op: ir.Operation) -> Findings:
    entries = {named.name: named.attr for named in ir.DictAttr(op.attributes["affine"])}
    wanted = {"multipliers": ir.DenseI32ArrayAttr, "offset": ir.IntegerAttr, "shift": ir.IntegerAttr}
    if set(entries) != set(wanted):
        yield f"affine must have the entries {', '.join(wanted)}, not {', '.join(entries)}"
        return
    for name, kind in wanted.items():
        if not isinstance(entries[name], kind):
            yield f"affine's {name} has the wrong type: {entries[name]}"
            return
    affine = Affine.read(op.attributes["affine"])
    if len(affine.multipliers) != len(op.operands):
        yield f"affine has {len(affine.multipliers)} multipliers for {len(op.operands)} operand(s)"
    if not 2 <= affine.shift <= 24:
        yield f"affine's shift must be within 2 to 24, not {affine.shift}"
    largest = 128 if op.name == ADD else 128 * PoolView(op).geometry.kh * PoolView(op).geometry.kw
    if affine.reach(largest) >= 1 << 31:
        yield f"affine may reach {affine.reach(largest)}, which is more than 32 bits hold"


def _view(op: ir.Operation) -> ConvView | PackedConvView:
    return PackedConvView(op) if op.name == PACKED_CONV else ConvView(op)


def _element(value: ir.Value) -> str:
    return str(ir.ShapedType(value.type).element_type)


_CONV_RULES: tuple[Rule, ...] = (
    _types, _attributes, _conv_weights, _constants, _element_types, _shapes, _rescale, _clamp, _removed, _plan,
)  # fmt: skip
_PACKED_RULES: tuple[Rule, ...] = (
    _types, _attributes, _packed_operands, _constants, _element_types, _shapes, _rescale, _clamp, _removed, _plan,
    _packed_counts,
)  # fmt: skip
_RULES: Mapping[str, tuple[Rule, ...]] = {
    CONV: _CONV_RULES,
    PACKED_CONV: _PACKED_RULES,
    ADD: (_int8_tensors, _equal_shapes, _affine, _clamp, _int8_clamp),
    MAX_POOL: (_int8_tensors, _pool_window, _pool_shapes),
    AVG_POOL: (_int8_tensors, _pool_window, _pool_shapes, _affine),
}
