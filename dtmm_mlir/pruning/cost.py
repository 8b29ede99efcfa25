"""What a pruned network takes on a chip, predicted without training, quantizing or compiling it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import nn

from dtmm_mlir.dialect.ops import Geometry
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.cost import costs_of, estimate, fwcs_bytes, stored_bytes
from dtmm_mlir.passes.kernels.isa import Isa
from dtmm_mlir.passes.kernels.select import isa_of
from dtmm_mlir.passes.plan import candidates, choose
from dtmm_mlir.pruning.layers import Layer, find_layers
from dtmm_mlir.targets import Target

_PARAMETER_BYTES = 16
"""Of each filter: bias, multiplier, shift and one word of the kernel's."""

_FEW = 0.3
"""Share of filterlets that masks keep for which plans are looked for."""

_NEAR = 1.25
"""Instructions of the best plan's that a good one takes at most."""


@dataclass(frozen=True)
class Cost:
    """What one inference takes.

    Attributes:
        instructions: as QEMU counts them.
        flash: bytes of the linked image.
        ram: bytes of the arena.
    """

    instructions: int
    flash: int
    ram: int


@dataclass(frozen=True)
class Masked:
    """An int8 convolution of which only the mask is known; see ``passes.cost.Convolution``."""

    geometry: Geometry
    kept: np.ndarray
    element_type: str = "i8"
    input_zero_point: int = -128

    @cached_property
    def weights(self) -> np.ndarray:
        """[F, KH, KW, C / groups]: their size is all that counts."""
        g = self.geometry
        return np.broadcast_to(np.int8(0), (g.f, g.kh, g.kw, g.group_channels))


@dataclass
class LayerCosts:
    """Instructions and stored bytes of single convolutions on a target; remembers what it was asked."""

    target: Target
    _known: dict[tuple[Geometry, bytes], tuple[int, int]] = field(default_factory=dict)
    _plans: dict[Geometry, list[Plan]] = field(default_factory=dict)

    def __call__(self, geometry: Geometry, mask: np.ndarray) -> tuple[int, int]:
        """Instructions and bytes of weights, offsets and parameters under the planner's plan.

        Args:
            mask: [F, KH, KW] bool: the filterlets that are kept.
        """
        key = geometry, np.packbits(mask).tobytes()
        if key not in self._known:
            conv = Masked(geometry, mask)
            isa, costs = isa_of(self.target.isa, self.target.vector_bytes), costs_of(self.target.isa)
            if geometry not in self._plans:
                self._plans[geometry] = _good_plans(geometry, isa, costs)
            plan = choose(conv, isa, costs, plans=self._plans[geometry])
            bytes = stored_bytes(conv, plan, isa) + _PARAMETER_BYTES * geometry.f
            self._known[key] = round(estimate(conv, plan, isa, costs)), bytes
        return self._known[key]


@dataclass
class Predictor:
    """Predicts the cost of pruned versions of a network from that of the network itself.

    Convolutions are the planner's estimate. The rest is what was measured beyond them: its instructions follow the
    number of activations, the arena follows the largest input and output of a convolution.

    Attributes:
        measured: the cost of the network before pruning.
        layers: its convolutions.
        other_weights: how many weights its other layers have.
        costs: of single convolutions.
    """

    measured: Cost
    layers: list[Layer]
    other_weights: int
    costs: LayerCosts

    @staticmethod
    def of(model: nn.Module, example: torch.Tensor, measured: Cost, target: Target) -> Predictor:
        """For ``model``, which took ``measured`` without pruning, run on ``example`` [1, C, H, W]."""
        return Predictor(measured, find_layers(model, example), _other_weights(model), LayerCosts(target))

    def __call__(self, model: nn.Module, example: torch.Tensor, masks: Mapping[str, np.ndarray]) -> Cost:
        """The cost of ``model``, which may have lost filters, with ``masks`` on its convolutions; dense without one."""
        layers = find_layers(model, example)
        before = [self.costs(layer.geometry, _dense(layer.geometry)) for layer in self.layers]
        after = [self.costs(layer.geometry, masks.get(layer.name, _dense(layer.geometry))) for layer in layers]
        rest = self.measured.instructions - sum(instructions for instructions, _ in before)
        activations = _sum_of_outputs(layers) / _sum_of_outputs(self.layers)
        stored = sum(bytes for _, bytes in after) - sum(bytes for _, bytes in before)
        return Cost(
            instructions=round(rest * activations) + sum(instructions for instructions, _ in after),
            flash=self.measured.flash + stored + _other_weights(model) - self.other_weights,
            ram=round(self.measured.ram * _largest(layers) / _largest(self.layers)),
        )


def _good_plans(g: Geometry, isa: Isa, costs: Mapping[str, float]) -> list[Plan]:
    """The plans near the best for some masks, all filterlets and few, and near the best of those that store no more
    than FWCS: hardly another one is chosen for any mask."""
    random, shape = np.random.default_rng(0), (g.f, g.kh, g.kw)
    few, shared = random.random(shape) < _FEW, np.broadcast_to(random.random(shape[1:]) < _FEW, shape)
    found: dict[Plan, None] = {}
    for mask in (np.ones(shape, bool), few, shared):
        conv = Masked(g, mask)
        plans = {plan: estimate(conv, plan, isa, costs) for plan in candidates(conv, isa, costs, "balanced")}
        bytes = {plan: stored_bytes(conv, plan, isa) for plan in plans}
        small = max(fwcs_bytes(conv, int(mask.sum())), min(bytes.values()))
        for some in (plans, {plan: n for plan, n in plans.items() if bytes[plan] <= small}):
            near = _NEAR * min(some.values())
            found |= dict.fromkeys(plan for plan, instructions in some.items() if instructions <= near)
    return list(found)


def _dense(g: Geometry) -> np.ndarray:
    return np.ones((g.f, g.kh, g.kw), bool)


def _sum_of_outputs(layers: list[Layer]) -> int:
    return sum(layer.geometry.oh * layer.geometry.ow * layer.geometry.f for layer in layers)


def _largest(layers: list[Layer]) -> int:
    shapes = (layer.geometry for layer in layers)
    return max(g.h * g.w * g.c + g.oh * g.ow * g.f for g in shapes)


def _other_weights(model: nn.Module) -> int:
    return sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))
