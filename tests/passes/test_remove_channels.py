"""``filterlet-remove-channels`` on random networks: results stay, and what nothing depends on goes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from iree.compiler import ir
from iree.compiler.dialects import func

from dtmm_mlir.dialect import reference
from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.dialect.ops import ADD, AVG_POOL, CONV, MAX_POOL, AddView, Affine, ConvView, PoolView, Removed, Rescale
from dtmm_mlir.dialect.verifier import verify
from dtmm_mlir.passes.captured import Conv
from dtmm_mlir.passes.remove_channels import RemoveChannels
from dtmm_mlir.passes.torch_to_tosa.build import reshape, shape_of, tensor_type

SIZE = 6


class Network:
    """Builds an int8 network whose zero points are all 3.

    Args:
        random: draws weights, and which filters have none and which channels are not read.
    """

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random

    def conv(self, x: ir.Value, filters: int, kernel: int = 3, pad: int = 1, depthwise: bool = False) -> ir.Value:
        """A clamped convolution in which a third of the filters, and of the channels, has no weights."""
        random, channels = self._random, shape_of(x)[-1]
        filters, groups = (channels, channels) if depthwise else (filters, 1)
        weights = random.integers(-128, 128, (filters, kernel, kernel, channels // groups), np.int8)
        weights[random.random(filters) < 0.3] = 0
        weights[..., random.random(channels // groups) < 0.3 * (not depthwise)] = 0
        bias = random.integers(-9000, 9000, filters, np.int32)
        scale = Rescale(random.integers(2**29, 2**30, filters, np.int32), np.full(filters, 40, np.int8), 3, "double")
        clamp = (3, 100)  # so that many constants are the zero point
        return Conv(x, weights, bias, (1, 1), (1, 1), (pad,) * 4, groups, 3, scale, clamp).create()

    def add(self, lhs: ir.Value, rhs: ir.Value) -> ir.Value:
        attributes = {"affine": Affine((256, 256), -768, 8).attribute(), "clamp": ir.UnitAttr.get()}
        return ir.Operation.create(ADD, [lhs.type], [lhs, rhs], attributes).result

    def pool(self, x: ir.Value, name: str) -> ir.Value:
        n, h, w, c = shape_of(x)
        two = ir.DenseI64ArrayAttr.get([2, 2])
        attributes = {"kernel": two, "strides": two}
        if name == MAX_POOL:
            attributes["pads"] = ir.DenseI64ArrayAttr.get([0] * 4)
        else:
            attributes["affine"] = Affine((64,), 128, 8).attribute()
        return ir.Operation.create(name, [tensor_type([n, h // 2, w // 2, c], 8)], [x], attributes).result

    def flatten(self, x: ir.Value) -> ir.Value:
        n, h, w, c = shape_of(x)
        return reshape(reshape(x, [n, h * w * c]), [n, 1, 1, h * w * c])


Build = Callable[[Network, ir.Value], ir.Value]

NETWORKS: dict[str, Build] = {
    "chain": lambda n, x: n.conv(n.conv(n.conv(x, 9), 8, 1, 0), 5),
    "depthwise": lambda n, x: n.conv(n.conv(n.conv(x, 9), 0, depthwise=True), 5, 1, 0),
    "pools": lambda n, x: n.conv(n.pool(n.conv(n.pool(n.conv(x, 9), MAX_POOL), 8), AVG_POOL), 5, 1, 0),
    "addition": lambda n, x: n.conv(n.add(n.conv(x, 9), n.conv(n.conv(x, 7), 9)), 5),
    "doubled": lambda n, x: n.conv((lambda y: n.add(y, y))(n.conv(x, 9)), 5),
    "flat": lambda n, x: n.conv(n.flatten(n.pool(n.conv(x, 9), MAX_POOL)), 5, 1, 0),
    "flat-depthwise": lambda n, x: n.conv(n.conv(n.flatten(n.conv(x, 6)), 0, 1, 0, depthwise=True), 5, 1, 0),
    "flat-addition": lambda n, x: n.conv(n.add(n.flatten(n.conv(x, 2)), n.conv(n.flatten(x), 72, 1, 0)), 5, 1, 0),
    "result": lambda n, x: n.add(n.conv(x, 9), n.conv(n.conv(x, 9), 9)),
}


def build(network: Build, seed: int, element: ir.Type | int = 8) -> ir.Module:
    with ir.Location.unknown():
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            function = func.FuncOp("main", ([tensor_type([1, SIZE, SIZE, 4], element)], []))
        block = function.add_entry_block()
        with ir.InsertionPoint(block):
            result = network(Network(np.random.default_rng(seed)), block.arguments[0])
            func.ReturnOp([result])
        kind = ir.FunctionType.get([block.arguments[0].type], [result.type])
        function.attributes["function_type"] = ir.TypeAttr.get(kind)
    return module


def evaluate(module: ir.Module, x: np.ndarray) -> np.ndarray:
    """The result of ``main`` by the reference."""
    known: dict[ir.Value, np.ndarray] = {}
    (function,) = walk(module, "func.func")
    known[function.regions[0].blocks[0].arguments[0]] = x
    for op in walk(module):
        inputs = [known[operand] for operand in op.operands if operand in known]
        if op.name == CONV:
            v = ConvView(op)
            args = v.weights, v.bias, v.geometry, v.input_zero_point, v.rescale, v.clamp
            known[op.result] = reference.conv_2d(*inputs, *args)
        elif op.name == ADD:
            known[op.result] = reference.add(*inputs, AddView(op).affine)
        elif op.name == MAX_POOL:
            known[op.result] = reference.max_pool_2d(*inputs, PoolView(op).geometry)
        elif op.name == AVG_POOL:
            known[op.result] = reference.avg_pool_2d(*inputs, PoolView(op).geometry, PoolView(op).affine)
        elif op.name == "tosa.reshape":
            known[op.result] = inputs[0].reshape(shape_of(op.result))
        elif op.name == "func.return":
            return inputs[0]
    raise AssertionError("no result")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", NETWORKS)
def test_results_stay(name: str, seed: int) -> None:
    x = np.random.default_rng(seed).integers(-128, 128, (1, SIZE, SIZE, 4), np.int8)
    with create_context():
        module = build(NETWORKS[name], seed)
        verify(module)
        expected = evaluate(module, x)
        RemoveChannels()(module)
        verify(module)
        np.testing.assert_array_equal(evaluate(module, x), expected)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("flat-addition", "result")])
def test_something_goes(name: str) -> None:
    lost = 0
    with create_context():
        for seed in range(6):
            module = build(NETWORKS[name], seed)
            RemoveChannels()(module)
            lost += sum(len(ConvView(op).removed.filters) for op in walk(module, CONV))
    assert lost


def test_nothing_is_left_to_remove() -> None:
    """A second time finds nothing; numbers are those of the model."""
    with create_context():
        module = build(NETWORKS["chain"], 0)
        before = [ConvView(op) for op in walk(module, CONV)]
        weights = [conv.weights.copy() for conv in before]
        RemoveChannels()(module)
        text = str(module)
        RemoveChannels()(module)
        assert str(module) == text
        convs = [ConvView(op) for op in walk(module, CONV)]
        assert any(conv.removed.filters for conv in convs)
        for conv, whole in zip(convs, weights, strict=True):
            assert conv.model_geometry.f == len(whole)
            assert conv.model_geometry.c == whole.shape[3]
            left = np.delete(np.delete(whole, conv.removed.filters, 0), conv.removed.channels, 3)
            live = conv.weights.any(axis=(0, 1, 2))
            np.testing.assert_array_equal(conv.weights[..., live], left[..., live])


def test_removed_again_counts_as_in_the_model() -> None:
    removed = Removed((1, 4), (0,))
    assert removed.with_more([0, 2], [3]) == Removed((0, 1, 3, 4), (0, 4))
    assert removed.with_more([], []) == removed


def test_planned_convolutions_stay() -> None:
    with create_context() as context:
        module = build(NETWORKS["chain"], 0)
        for op in walk(module, CONV):
            op.attributes["plan"] = ir.DictAttr.get({}, context)
        text = str(module)
        RemoveChannels()(module)
        assert str(module) == text


def test_float_channels_that_are_zero_go() -> None:
    """Only zeros: any other constant would be rounded differently as part of a bias."""

    def network(_: Network, x: ir.Value) -> ir.Value:
        random, clamp = np.random.default_rng(0), (0.0, 6.0)
        weights, bias = random.normal(size=(6, 1, 1, 4)).astype(np.float32), np.full(6, -1, np.float32)
        weights[[1, 3]], bias[3] = 0, 2
        x = Conv(x, weights, bias, (1, 1), (1, 1), (0,) * 4, 1, clamp=clamp).create()
        weights = random.normal(size=(3, 1, 1, 6)).astype(np.float32)
        return Conv(x, weights, np.ones(3, np.float32), (1, 1), (1, 1), (0,) * 4, 1).create()

    x = np.random.default_rng(1).normal(size=(1, SIZE, SIZE, 4)).astype(np.float32)
    with create_context():
        module = build(network, 0, ir.F32Type.get())
        expected = evaluate(module, x)
        RemoveChannels()(module)
        verify(module)
        first, second = (ConvView(op).removed for op in walk(module, CONV))
        assert first.filters == second.channels == (1,)
        np.testing.assert_allclose(evaluate(module, x), expected, rtol=1e-6)  # sums of f64, rounded once
