"""Removal of whole filters, with everything that depends on them, by torch-pruning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch_pruning as tp
from torch import nn

from dtmm_mlir.pruning.importance import Importance, filter_importance
from dtmm_mlir.pruning.masks import Masks
from dtmm_mlir.pruning.structure import filters_left


@dataclass(frozen=True)
class FilterGroup:
    """Convolutions whose filters go together, because their results are added or run through the same layers.

    Attributes:
        root: the convolution that names the group.
        convs: all of them.
        filters: how many filters each has.
        readers: convolutions whose input channels are these filters' results.
    """

    root: str
    convs: tuple[str, ...]
    filters: int
    readers: tuple[str, ...]


def find_groups(model: nn.Module, example: torch.Tensor) -> list[FilterGroup]:
    """The groups of ``model`` whose filters can be removed: not those of its output, nor those that grouped
    convolutions make or read.

    Args:
        example: an input of one image.
    """
    names = {module: name for name, module in model.named_modules()}
    graph = _graph(model, example)
    found, seen = [], set()
    for name, module in model.named_modules():
        if not isinstance(module, nn.Conv2d) or module.groups > 1 or name in seen:
            continue
        group = graph.get_pruning_group(module, tp.prune_conv_out_channels, [0])
        convs = _handled_by(tp.prune_conv_out_channels, group, names)
        seen |= set(convs)
        modules = [model.get_submodule(conv) for conv in convs]
        same = all(isinstance(each, nn.Conv2d) and each.out_channels == module.out_channels for each in modules)
        if same and graph.check_pruning_group(group) and not _has_grouped(group) and not _reaches_output(group):
            reading = _handled_by(tp.prune_conv_in_channels, group, names)
            readers = tuple(x for x in reading if model.get_submodule(x).in_channels == module.out_channels)
            found.append(FilterGroup(name, convs, module.out_channels, readers))
    return found


def readers_of(model: nn.Module, example: torch.Tensor) -> dict[str, tuple[str, ...]]:
    """By convolution whose filters go without others, the ones that read their results and lose as many channels.

    Args:
        example: an input of one image.
    """
    return {group.root: group.readers for group in find_groups(model, example) if len(group.convs) == 1}


def remove_filters(
    model: nn.Module, twin: nn.Module, example: torch.Tensor, rates: Mapping[str, float], kind: Importance
) -> None:
    """Removes the least important filters of ``model``, in place; at least one stays of each convolution.

    Args:
        twin: the same network, whose convolutions hold the contributions of ``importance.contributions`` in place of
            weights; loses the same filters.
        example: an input of one image.
        rates: share of the filters to remove, by the root of their group.
    """
    graphs = [(network, _graph(network, example)) for network in (model, twin)] if any(rates.values()) else []
    for group in find_groups(model, example) if graphs else []:
        count = min(round(rates.get(group.root, 0.0) * group.filters), group.filters - 1)
        if count <= 0:
            continue
        held = {name: twin.get_submodule(name).get_parameter("weight").detach().numpy() for name in group.convs}
        order = np.argsort(filter_importance(held, kind, group.convs), kind="stable")
        removed = sorted(order[:count].tolist())
        for network, graph in graphs:
            conv = network.get_submodule(group.root)
            graph.get_pruning_group(conv, tp.prune_conv_out_channels, removed).prune()


def remove_empty(model: nn.Module, example: torch.Tensor, masks: Masks) -> dict[str, np.ndarray]:
    """Removes the filters of ``model``, in place, of which ``masks`` keep nothing.

    At least one of each convolution stays. Of filters that go together, none may keep anything. The constants that
    biases and normalization make of them are lost, too.

    Args:
        example: an input of one image.

    Returns:
        The masks of what is left.
    """
    left = dict(masks)
    for group in find_groups(model, example):
        if not set(group.convs) <= masks.keys():
            continue
        together = [masks[name].reshape(group.filters, 1, -1) for name in group.convs]
        stays = filters_left(np.concatenate(together, axis=2))
        if not stays.all():
            conv, removed = model.get_submodule(group.root), np.flatnonzero(~stays).tolist()
            _graph(model, example).get_pruning_group(conv, tp.prune_conv_out_channels, removed).prune()
            left |= {name: masks[name][stays] for name in group.convs}
    return left


def _graph(model: nn.Module, example: torch.Tensor) -> tp.DependencyGraph:
    return tp.DependencyGraph().build_dependency(model.eval(), example_inputs=example, verbose=False)


def _handled_by(handler: object, group: tp.Group, names: Mapping[nn.Module, str]) -> tuple[str, ...]:
    """Names of the modules of ``group`` that ``handler`` prunes."""
    modules = (dependency.target.module for dependency, _ in group if dependency.handler == handler)
    return tuple(dict.fromkeys(names[module] for module in modules if module in names))


def _has_grouped(group: tp.Group) -> bool:
    """Whether a grouped convolution, other than a depthwise one, takes part: its channels go only in equal shares."""
    modules = (dependency.target.module for dependency, _ in group)
    return any(isinstance(each, nn.Conv2d) and 1 < each.groups < each.in_channels for each in modules)


def _reaches_output(group: tp.Group) -> bool:
    """Whether the filters are the channels of the network's result."""
    nodes = [dependency.target for dependency, _ in group]
    consumed = any(dependency.handler != tp.prune_conv_out_channels and _reads(dependency) for dependency, _ in group)
    return not consumed and any(not node.outputs for node in nodes)


def _reads(dependency: tp.Dependency) -> bool:
    """Whether a layer with weights reads the channels."""
    return isinstance(dependency.target.module, nn.Conv2d | nn.Linear)
