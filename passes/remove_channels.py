"""``filterlet-remove-channels``: removes channels that nothing depends on, and the filters that make them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect import reference
from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.dialect.ops import ADD, AVG_POOL, CONV, MAX_POOL, AddView, ConvView, PoolView, Removed
from dtmm_mlir.passes.base import Pass
from dtmm_mlir.passes.captured import Conv
from dtmm_mlir.passes.cleanup import erase_unused
from dtmm_mlir.passes.torch_to_tosa.build import reshape, shape_of, tensor_type

_RESHAPE = "tosa.reshape"

_LEAST = 2
"""Channels that stay at least: a depthwise convolution of one would be none."""


@dataclass
class RemoveChannels(Pass):
    """Removes channels between convolutions that nothing depends on, with the filters that make them.

    Before ==> after::

        %1 = "filterlet.conv_2d"(%x, %w, %b) ... -> tensor<1x32x32x28xi8>
        %2 = "filterlet.conv_2d"(%1, %v, %c) ...  // all weights in %v of three channels are zero
        %1 = "filterlet.conv_2d"(%x, %w2, %b2) {removed = {filters = [3, 7, 20], ...}} -> tensor<1x32x32x25xi8>
        %2 = "filterlet.conv_2d"(%1, %v2, %c) {removed = {channels = [3, 7, 20], ...}}

    A convolution depends on a channel for which a filter has weights, if something depends on that filter. It does not
    on a channel that is constant, as its own filter has no weights, where the constant is the zero point; where there
    is no padding, other constants become part of the bias, too. Channels are followed through additions, pools,
    depthwise convolutions, and reshapes that leave them innermost.

    Does not handle: channels of grouped convolutions other than depthwise ones, of convolutions that have a plan, of
    what other ops make or read, and of a function's arguments and results. They all stay, and so do two where nothing
    depends on any.
    """

    name: ClassVar[str] = "filterlet-remove-channels"

    def run(self, module: ir.Module) -> None:
        ops = list(walk(module))
        channels = _find_channels(ops)
        layers = {op: _Layer(op, channels[op.operands[0]], channels[op.result]) for op in ops if _may_change(op)}
        _fold_constants(ops, layers)
        _find_live(list(layers.values()))
        followed = [(op, channels[op.result]) for op in ops if op not in layers and _sources(op)]
        for layer in layers.values():
            layer.rewrite()
        for op, each in followed:
            _shrink(op, each)
        erase_unused(module)


@dataclass(eq=False)
class _Channels:
    """The channels of values that lose the same ones; the last dimension of each holds them once or over and over.

    Attributes:
        live: [count] bool: those that something depends on.
    """

    live: np.ndarray

    def places(self, size: int) -> np.ndarray:
        """Which elements stay of a last dimension of ``size``."""
        kept = np.sort(np.argsort(~self.live, kind="stable")[: max(_LEAST, self.live.sum())])
        return (np.arange(0, size, self.live.size)[:, None] + kept).ravel()

    def lost(self, size: int) -> list[int]:
        """Which ones do not."""
        return np.setdiff1d(np.arange(size), self.places(size)).tolist()


@dataclass(eq=False)
class _Layer:
    """A convolution, and what becomes of it.

    Attributes:
        op: as it is.
        inputs: channels of what it reads.
        filters: channels of its result.
        weights, bias: as of ``filterlet.conv_2d``.
    """

    op: ir.Operation
    inputs: _Channels
    filters: _Channels

    def __post_init__(self) -> None:
        self.view = ConvView(self.op)
        self.geometry = self.view.geometry
        self.weights, self.bias = self.view.weights.copy(), self.view.bias.copy()

    @property
    def constants(self) -> np.ndarray:
        """[F] the results of filters without weights, NaN for others."""
        results = self.bias
        if self.view.rescale:
            results = np.clip(reference.requantize(results, self.view.rescale), -128, 127)
        if self.view.clamp:
            results = np.clip(results, *self.view.clamp)
        return np.where(self.weights.any(axis=(1, 2, 3)), np.nan, results)

    def fold(self, inputs: np.ndarray) -> None:
        """Moves to the bias what constant inputs contribute, where it is the same everywhere.

        Args:
            inputs: [C] their values, NaN for others.
        """
        g, away = self.geometry, inputs - self.view.input_zero_point
        everywhere = self.view.element_type == "i8" and not any(g.pads)
        known = ~np.isnan(away) & (everywhere | (away == 0))
        wide = np.int64 if self.view.element_type == "i8" else np.float64
        away = np.where(known, away, 0).astype(wide)
        sums = self.weights.sum(axis=(1, 2), dtype=wide)
        self.bias = (self.bias + (sums[:, 0] * away if g.is_depthwise else sums @ away)).astype(self.bias.dtype)
        if g.is_depthwise:
            self.weights[known] = 0
        else:
            self.weights[..., known] = 0

    def remaining(self) -> Conv:
        """With the filters and channels that are kept."""
        view, g = self.view, self.geometry
        filters, channels = self.filters.places(g.f), self.inputs.places(g.c)
        return Conv(
            view.input,
            self.weights[filters] if g.groups > 1 else self.weights[filters][..., channels],
            self.bias[filters],
            g.strides,
            g.dilations,
            g.pads,
            len(channels) if g.is_depthwise else g.groups,
            view.input_zero_point,
            view.rescale and view.rescale.of(filters),
            view.clamp,
        )

    def rewrite(self) -> None:
        """Puts what remains in the place of the convolution, if anything changed."""
        conv = self.remaining()
        if np.array_equal(conv.weights, self.view.weights):
            return
        g = self.geometry
        removed = self.view.removed.with_more(self.filters.lost(g.f), self.inputs.lost(g.c))
        with ir.InsertionPoint(self.op), self.op.location:
            result = conv.create()
            if removed != Removed():
                result.owner.attributes["removed"] = removed.attribute()
        self.op.result.replace_all_uses_with(result)
        self.op.erase()


def _find_channels(ops: Sequence[ir.Operation]) -> dict[ir.Value, _Channels]:
    """The channels of all tensors; all are live of what must stay as it is."""
    found: dict[ir.Value, _Channels] = {}

    def of(value: ir.Value) -> _Channels:
        return found.setdefault(value, _Channels(np.ones(shape_of(value)[-1], bool)))

    def join(first: _Channels, other: _Channels) -> None:
        first.live |= other.live
        found.update({value: first for value, each in found.items() if each is other})

    for op in ops:
        sources = _sources(op)
        if _may_change(op) and not sources:
            of(op.operands[0])
            found[op.result] = _Channels(np.zeros(shape_of(op.result)[-1], bool))
        elif sources and len({of(source).live.size for source in sources}) == 1:
            for source in sources[1:]:
                join(of(sources[0]), of(source))
            found[op.result] = of(sources[0])
        else:
            for value in filter(_has_channels, (*op.operands, *op.results)):
                of(value).live[:] = True
    return found


def _may_change(op: ir.Operation) -> bool:
    """Whether ``op`` is a convolution that may lose filters and channels."""
    if op.name != CONV or "plan" in op.attributes:
        return False
    g = ConvView(op).geometry
    return g.groups == 1 or g.is_depthwise


def _sources(op: ir.Operation) -> list[ir.Value]:
    """The operands of ``op`` that have the channels of its result."""
    if op.name in _EVALUATE:
        return list(op.operands)
    follows = _may_change(op) and ConvView(op).geometry.is_depthwise
    if op.name == _RESHAPE and all(map(_has_channels, (op.operands[0], op.result))):
        follows = shape_of(op.result)[-1] % shape_of(op.operands[0])[-1] == 0
    return [op.operands[0]] if follows else []


def _has_channels(value: ir.Value) -> bool:
    """Whether ``value`` is a tensor whose last dimension is known."""
    type = value.type
    return isinstance(type, ir.RankedTensorType) and type.rank > 0 and not type.is_dynamic_dim(type.rank - 1)


def _fold_constants(ops: Sequence[ir.Operation], layers: Mapping[ir.Operation, _Layer]) -> None:
    """Follows what filters without weights make, and folds it into the convolutions that read it."""
    known: dict[ir.Value, np.ndarray] = {}  # of each channel, NaN where it is not constant
    for op in ops:
        if op in layers:
            if op.operands[0] in known:
                layers[op].fold(known[op.operands[0]])
            constants = layers[op].constants
        elif (sources := _sources(op)) and all(source in known for source in sources):
            constants = _constants(op, [known[source] for source in sources])
        else:
            continue
        if not np.isnan(constants).all():
            known[op.result] = constants


def _constants(op: ir.Operation, inputs: list[np.ndarray]) -> np.ndarray:
    """What ``op`` makes of channels, each constant or NaN: the same."""
    if op.name == _RESHAPE:
        return np.resize(inputs[0], shape_of(op.result)[-1])
    tensors = [np.broadcast_to(np.nan_to_num(x), shape_of(value)) for x, value in zip(inputs, op.operands, strict=True)]
    results = _EVALUATE[op.name](op, *(tensor.astype(np.int8) for tensor in tensors))
    results = results.reshape(-1, results.shape[-1])
    return np.where((results == results[0]).all(axis=0) & ~np.isnan(sum(inputs)), results[0], np.nan)


_EVALUATE: dict[str, Callable[..., np.ndarray]] = {
    ADD: lambda op, lhs, rhs: reference.add(lhs, rhs, AddView(op).affine, AddView(op).clamp),
    MAX_POOL: lambda op, x: reference.max_pool_2d(x, PoolView(op).geometry),
    AVG_POOL: lambda op, x: reference.avg_pool_2d(x, PoolView(op).geometry, PoolView(op).affine),
}
"""Ops that make each channel of the same channel of their operands."""


def _find_live(layers: Sequence[_Layer]) -> None:
    """Marks the channels that something depends on; weights that nothing depends on become zero."""
    before = -1
    while before != (before := sum(int(each.inputs.live.sum()) for each in layers)):
        for layer in layers:
            if layer.geometry.groups == 1:
                read = layer.weights[layer.filters.live].any(axis=(0, 1, 2))
                layer.inputs.live |= read.reshape(-1, layer.inputs.live.size).any(axis=0)
    for layer in layers:
        layer.weights[~np.resize(layer.filters.live, len(layer.weights))] = 0


def _shrink(op: ir.Operation, channels: _Channels) -> None:
    """Makes the result of ``op`` as wide as its operands have become."""
    shape, element = shape_of(op.result), ir.RankedTensorType(op.result.type).element_type
    kept = [*shape[:-1], len(channels.places(shape[-1]))]
    if kept != shape and op.name == _RESHAPE:
        with ir.InsertionPoint(op), op.location:
            op.result.replace_all_uses_with(reshape(op.operands[0], kept))
        op.erase()
    elif kept != shape:
        op.result.set_type(tensor_type(kept, element))
