"""Removal of branches: layers whose results are added to what goes around them, such as those of residual blocks."""

from __future__ import annotations

import operator
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

_ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")


@dataclass(frozen=True)
class _Branch:
    """Where a convolution's result ends.

    Attributes:
        addition: of the branch and what goes around it.
        end: the operand that is the branch's.
    """

    addition: fx.Node
    end: fx.Node

    @property
    def around(self) -> fx.Node:
        """The other operand."""
        first, second = self.addition.all_input_nodes
        return second if first is self.end else first


def find_branches(model: nn.Module, example: torch.Tensor) -> tuple[str, ...]:
    """The last convolutions of branches: their results are added to something else that depends on the input.

    Between a convolution and the addition there may be normalization, an activation and the like, which keep the shape.
    A model that ``torch.fx`` cannot trace has no branches.

    Args:
        example: an input of one image.
    """
    traced = _trace(model, example)
    return tuple(_branches(traced)) if traced is not None else ()


def remove_branches(model: nn.Module, example: torch.Tensor, names: Collection[str]) -> nn.Module:
    """``model`` without the branches that end with the convolutions ``names``, and without all that only they need.

    What went around a branch takes the place of the sum. Of two branches that are added to each other the second one
    stays.

    Args:
        model: keeps its layers, which the returned one shares.
        example: an input of one image.
        names: some of ``find_branches``.
    """
    traced = _trace(model, example) if names else None
    if traced is None:
        return model
    for name, branch in _branches(traced).items():
        if name in names and branch.addition.users:
            branch.addition.replace_all_uses_with(branch.around)
    for node in traced.graph.nodes:
        node.type = None  # a GraphModule with annotations that are strings cannot be saved
    traced.graph.eliminate_dead_code()
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _trace(model: nn.Module, example: torch.Tensor) -> fx.GraphModule | None:
    """The graph of ``model`` with the shapes of its values; ``None`` where it cannot be told."""
    model.eval()
    try:
        with torch.no_grad():
            traced = fx.symbolic_trace(model)
            ShapeProp(traced).propagate(example)
            same = torch.equal(traced(example), model(example))
    except Exception:  # whatever a user's model may raise
        return None
    return traced if same else None


def _branches(traced: fx.GraphModule) -> dict[str, _Branch]:
    """By name of the last convolution, in the order they run."""
    fed = _fed_by_input(traced)
    found = {}
    for node in traced.graph.nodes:
        branch = _branch_of(traced, node) if isinstance(_module(traced, node), nn.Conv2d) else None
        if branch and branch.around in fed:
            found[str(node.target)] = branch
    return found


def _branch_of(traced: fx.GraphModule, conv: fx.Node) -> _Branch | None:
    node = conv
    while len(node.users) == 1:
        (user,) = node.users
        if _shape(user) != _shape(conv):
            return None
        if user.op in ("call_function", "call_method") and user.target in _ADDITIONS:
            operands = user.all_input_nodes
            plain = len(operands) == 2 and not user.kwargs and all(_shape(x) == _shape(conv) for x in operands)
            return _Branch(user, node) if plain else None
        if len(user.all_input_nodes) != 1 or _mixes(_module(traced, user)):
            return None
        node = user
    return None


def _module(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """What ``node`` calls, if that is a module."""
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def _mixes(module: nn.Module | None) -> bool:
    """Whether it is a layer whose results depend on several channels."""
    return module is not None and any(parameter.dim() > 1 for parameter in module.parameters())


def _fed_by_input(traced: fx.GraphModule) -> set[fx.Node]:
    """What depends on the network's input."""
    fed: set[fx.Node] = set()
    for node in traced.graph.nodes:
        if node.op == "placeholder" or any(source in fed for source in node.all_input_nodes):
            fed.add(node)
    return fed


def _shape(node: fx.Node) -> torch.Size | None:
    found = node.meta.get("tensor_meta")
    return getattr(found, "shape", None)
