"""Random additions and pools in the filterlet dialect, and how to compile many of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect import reference
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.dialect.ops import ADD, AVG_POOL, MAX_POOL, Affine, Clamp, Geometry


@dataclass(frozen=True)
class Sample:
    """An op with its numbers.

    Attributes:
        op: name.
        attributes: as text.
        inputs: of the op.
        expected: its result.
    """

    op: str
    attributes: str
    inputs: tuple[np.ndarray, ...]
    expected: np.ndarray


def addition(shape: tuple[int, ...], affine: Affine, clamp: Clamp | None = None, seed: int = 0) -> Sample:
    lhs, rhs = (_tensor(shape, seed, place) for place in (0, 1))
    limits = "" if clamp is None else f" = [{clamp[0]} : i32, {clamp[1]} : i32]"
    expected = reference.add(lhs, rhs, affine, clamp)
    return Sample(ADD, f"affine = {_text(affine)}, clamp{limits}", (lhs, rhs), expected)


def max_pool(g: Geometry, seed: int = 0) -> Sample:
    x = _tensor((g.n, g.h, g.w, g.c), seed)
    attributes = f"{_window(g)}, pads = array<i64: {', '.join(map(str, g.pads))}>"
    return Sample(MAX_POOL, attributes, (x,), reference.max_pool_2d(x, g))


def avg_pool(g: Geometry, affine: Affine, seed: int = 0) -> Sample:
    x = _tensor((g.n, g.h, g.w, g.c), seed)
    expected = reference.avg_pool_2d(x, g, affine)
    return Sample(AVG_POOL, f"{_window(g)}, affine = {_text(affine)}", (x,), expected)


def pool(
    h: int,
    w: int,
    c: int,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    n: int = 1,
) -> Geometry:
    """The windows of a pool."""
    return Geometry(n, h, w, c, c, *kernel, strides, (1, 1), pads, c)


def build_module(samples: Sequence[Sample]) -> ir.Module:
    """``@main`` with the inputs and the result of each sample."""
    arguments, body, results = [], [], []
    for i, sample in enumerate(samples):
        names = [f"%x{i}_{k}" for k in range(len(sample.inputs))]
        types = [_type(x) for x in sample.inputs]
        arguments += [f"{name}: {type}" for name, type in zip(names, types, strict=True)]
        call = f'"{sample.op}"({", ".join(names)}) {{{sample.attributes}}}'
        body.append(f"%y{i} = {call} : ({', '.join(types)}) -> {_type(sample.expected)}")
        results.append((f"%y{i}", _type(sample.expected)))
    names, types = (", ".join(column) for column in zip(*results, strict=True))
    text = f"func.func @main({', '.join(arguments)}) -> ({types}) {{\n" + "\n".join(body)
    return ir.Module.parse(f"{text}\nreturn {names} : {types}\n}}\n", create_context())


def _tensor(shape: tuple[int, ...], *seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    extremes = random.choice((-128, 127), shape)
    return np.where(random.random(shape) < 0.2, extremes, random.integers(-128, 128, shape)).astype(np.int8)


def _type(array: np.ndarray) -> str:
    return f"tensor<{'x'.join(map(str, array.shape))}xi8>"


def _window(g: Geometry) -> str:
    return f"kernel = array<i64: {g.kh}, {g.kw}>, strides = array<i64: {g.strides[0]}, {g.strides[1]}>"


def _text(affine: Affine) -> str:
    multipliers = ", ".join(map(str, affine.multipliers))
    return f"{{multipliers = array<i32: {multipliers}>, offset = {affine.offset} : i32, shift = {affine.shift} : i32}}"
