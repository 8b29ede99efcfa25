"""Random convolutions in the filterlet dialect and how to compile many of them at once.

A batch of them is one model, so that compiler and simulator start once for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import func

from dtmm_mlir.dialect import reference
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.dialect.ops import Clamp, Geometry, Rescale
from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.captured import Conv

_BIASES = {
    "extreme": (-(2**31), -(2**31) + 128, -(2**30), -1, 0, 1, 2**30 - 1, 2**30, 2**31 - 129, 2**31 - 1),
    "bounded": (-(2**30) + 2**16, -(2**29), -(2**20) - 1, -1, 0, 1, 2**20 + 1, 2**29, 2**30 - 2**16),
    "edge": (-(2**30) + 1, 0, 2**30 - 1),
}
_EXTREME_MULTIPLIERS = (0, 1, 2**30, 2**30 + 1, 2**31 - 1)
_EXTREME_SHIFTS = (32, 33, 34, 38, 46, 61, 62)


@dataclass(frozen=True)
class Case:
    """A convolution to try.

    Attributes:
        geometry: its shape.
        kept: probability that a filterlet survives.
        element: ``i8`` or ``f32``.
        rescale: i8 only: "double", "single", "wide" (shifts on both sides of 31), "none" (i32 sums), or
            "extreme-double" and "extreme-single" (largest and smallest sums, multipliers and shifts), or
            "bounded-double" and "edge-double" (as extreme, but no sum, or no bias, reaches 2^30 in magnitude).
        clamp: whether the result is clamped.
        seed: of weights, bias, scales and the input.
        plan: the kernel; by default the planner's choice.
        zero_point: of an i8 input; any by default.
        largest: magnitude of i8 weights.
        pruned: kernel positions that no filter keeps.
        output_zero_point: of an i8 result; any by default. -128 is that of a ReLU.
    """

    geometry: Geometry
    kept: float = 1.0
    element: str = "i8"
    rescale: str = "double"
    clamp: bool = False
    seed: int = 0
    plan: Plan | None = None
    zero_point: int | None = None
    largest: int = 127
    pruned: tuple[int, ...] = ()
    output_zero_point: int | None = None

    def __str__(self) -> str:
        g = self.geometry
        shape = f"{g.h}x{g.w}x{g.c}-{g.f}-{g.kh}x{g.kw}-s{g.strides}-d{g.dilations}-p{g.pads}-g{g.groups}"
        plan = f"-{self.plan}" if self.plan else ""
        return f"{shape}-{self.element}-{self.rescale}-{self.kept:.2f}{plan}".replace(" ", "")


def geometry(h: int, w: int, c: int, f: int, k: int | tuple[int, int] = 3, **changes: object) -> Geometry:
    """A convolution of stride 1 whose padding keeps the size; ``changes`` to its fields."""
    kh, kw = (k, k) if isinstance(k, int) else k
    pads = ((kh - 1) // 2, kh // 2, (kw - 1) // 2, kw // 2)
    return replace(Geometry(1, h, w, c, f, kh, kw, (1, 1), (1, 1), pads, 1), **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Sample:
    """Numbers for a case: what :class:`Conv` needs, an input and the expected output."""

    case: Case
    weights: np.ndarray
    bias: np.ndarray
    zero_point: int
    rescale: Rescale | None
    clamp: Clamp | None
    x: np.ndarray
    expected: np.ndarray

    @staticmethod
    def of(case: Case) -> Sample:
        g, random = case.geometry, np.random.default_rng(case.seed)
        mask = random.random((g.f, g.kh, g.kw, 1)) < case.kept
        mask.reshape(g.f, -1)[:, case.pruned] = False
        shape = (g.f, g.kh, g.kw, g.group_channels)
        if case.element == "f32":
            weights = (random.standard_normal(shape) * mask).astype(np.float32)
            bias = random.standard_normal(g.f).astype(np.float32)
            x = random.standard_normal((g.n, g.h, g.w, g.c)).astype(np.float32)
            zero_point, rescale, clamp = 0, None, (-0.5, 0.75) if case.clamp else None
        else:
            weights = (random.integers(-case.largest, case.largest + 1, shape) * mask).astype(np.int8)
            bias = random.integers(-3000, 3000, g.f).astype(np.int32)
            x = random.integers(-128, 128, (g.n, g.h, g.w, g.c)).astype(np.int8)
            if (kind := case.rescale.partition("-")[0]) in _BIASES:
                bias = random.choice(_BIASES[kind], g.f).astype(np.int32)
            zero_point = int(random.integers(-128, 128))
            zero_point = zero_point if case.zero_point is None else case.zero_point
            sums = reference.convolve(x, weights, bias, g, zero_point)
            rescale = _rescale(case.rescale, sums, random)
            if rescale and case.output_zero_point is not None:
                rescale = replace(rescale, output_zero_point=case.output_zero_point)
            clamp = (-100, 90) if case.clamp else None
        expected = reference.conv_2d(x, weights, bias, g, zero_point, rescale, clamp)
        return Sample(case, weights, bias, zero_point, rescale, clamp, x, expected)

    @property
    def input_type(self) -> ir.Type:
        return _tensor_type(self.x)

    @property
    def output_type(self) -> ir.Type:
        return _tensor_type(self.expected)

    def build(self, x: ir.Value) -> ir.Value:
        """The convolution of ``x`` at the current insertion point."""
        g = self.case.geometry
        conv = Conv(
            x, self.weights, self.bias, g.strides, g.dilations, g.pads, g.groups,
            self.zero_point, self.rescale, self.clamp,
        )  # fmt: skip
        result = conv.create()
        if self.case.plan:
            result.owner.attributes["plan"] = self.case.plan.attribute()
        return result


def _rescale(kind: str, sums: np.ndarray, random: np.random.Generator) -> Rescale | None:
    """Scales that spread the sums over i8."""
    if kind == "none":
        return None
    filters = sums.shape[-1]
    if kind.partition("-")[0] in _BIASES:
        multiplier = random.choice(_EXTREME_MULTIPLIERS, filters).astype(np.int32)
        shift = random.choice(_EXTREME_SHIFTS, filters).astype(np.int8)
        return Rescale(multiplier, shift, int(random.integers(-128, 128)), kind.partition("-")[2])  # type: ignore[arg-type]
    spread = np.maximum(np.abs(sums.astype(np.int64)).reshape(-1, filters).mean(0), 4)
    scale = 60 / spread * random.uniform(0.7, 1.4, filters)
    if kind == "wide":
        scale *= np.exp2(random.integers(-3, 8, filters))
    mantissa, exponent = np.frexp(scale)
    multiplier = np.minimum(np.round(mantissa * 2.0**31), 2**31 - 1).astype(np.int32)
    shift = (31 - exponent).astype(np.int8)
    rounding = "single" if kind == "single" else "double"
    return Rescale(multiplier, shift, int(random.integers(-128, 128)), rounding)  # type: ignore[arg-type]


def _tensor_type(array: np.ndarray) -> ir.Type:
    element = {"int8": "i8", "int32": "i32", "float32": "f32"}[array.dtype.name]
    return ir.RankedTensorType.get(list(array.shape), ir.Type.parse(element))


def build_module(samples: Sequence[Sample]) -> ir.Module:
    """``@main`` with an argument and a result per sample."""
    with create_context(), ir.Location.unknown():
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            types = [sample.input_type for sample in samples], [sample.output_type for sample in samples]
            function = func.FuncOp("main", types)
        block = function.add_entry_block()
        with ir.InsertionPoint(block):
            func.ReturnOp([sample.build(x) for sample, x in zip(samples, block.arguments, strict=True)])
    return module
