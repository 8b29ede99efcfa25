"""The kernels of additions and pools on every target against the numpy reference, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import dtmm_mlir
from dtmm_mlir.dialect.ops import Affine
from dtmm_mlir.targets import HOST, TARGETS
from tests.kernels.int8 import Sample, addition, avg_pool, build_module, max_pool, pool

_USUAL = Affine((1942086, 5441530), -209253347, 21)

_SHAPES = (
    (1, 1, 1, 1),
    (1, 3),
    (1, 7),
    (8,),
    (3, 3),
    (1, 15),
    (16,),
    (1, 1, 1, 17),
    (2, 4, 5, 3),
    (1, 6, 6, 31),
    (1, 257),
)

_AFFINES = [
    Affine((1 << 21, 1 << 22), 1 << 21, 22),
    Affine((-3_000_000, 1_000_001), 77, 20),
    Affine((8388600, -8388000), 50_000, 24),
    Affine((1, -1), 0, 2),
    Affine((5, 3), -9, 5),
    Affine((0, 12345), 1 << 30, 17),
    Affine((200, 311), 2**31 - 1 - 128 * 511, 9),
    Affine((200, 311), -(2**31 - 1 - 128 * 511), 24),
]

_WINDOWS = [
    pool(8, 8, 28, (2, 2), (2, 2)),
    pool(7, 9, 39, (3, 3), (2, 2), (1, 1, 1, 1)),
    pool(5, 6, 1, (2, 2), (1, 1), n=2),
    pool(6, 5, 3, (3, 2), (1, 2), (2, 0, 0, 1)),
    pool(4, 4, 16, (4, 4), (4, 4)),
    pool(7, 7, 17, (5, 3), (1, 1), (4, 4, 2, 2)),
    pool(1, 1, 33, (3, 3), (1, 1), (1, 1, 1, 1)),
    pool(9, 4, 5, (1, 1), (3, 2)),
    pool(3, 9, 64, (3, 7), (1, 2)),
    pool(2, 3, 7, (2, 1), (1, 1), n=3),
]

_MEANS = [
    (pool(8, 8, 28, (2, 2), (2, 2)), Affine((1 << 20,), 1 << 21, 22)),
    (pool(9, 9, 39, (3, 3), (2, 2)), Affine((932068,), -12345678, 23)),
    (pool(4, 4, 126, (4, 4), (4, 4)), Affine((262145,), 2097144, 22)),
    (pool(16, 16, 9, (16, 16), (1, 1)), Affine((32768,), 5, 23)),
    (pool(17, 16, 20, (17, 16), (1, 1)), Affine((-30841,), 5, 23)),
    (pool(5, 5, 1, (2, 3), (1, 2), n=2), Affine((700000,), 0, 22)),
    (pool(1, 6, 8, (1, 3), (1, 3)), Affine((3,), 1, 2)),
]

BATCHES: dict[str, list[Sample]] = {
    "additions": [addition(shape, _USUAL, seed=i) for i, shape in enumerate(_SHAPES)]
    + [addition((1, 5, 5, 8), affine, seed=i) for i, affine in enumerate(_AFFINES)]
    + [addition((1, 37), _USUAL, clamp, seed=9) for clamp in ((-100, 90), (5, 5), (-128, 0), (-128, 127))],
    "max pools": [max_pool(g, seed=i) for i, g in enumerate(_WINDOWS)],
    "average pools": [avg_pool(g, affine, seed=i) for i, (g, affine) in enumerate(_MEANS)],
}


@pytest.mark.parametrize("target", ["host", "cortex-m55", "cortex-m4", "cortex-m3", "cortex-m0plus", "riscv32"])
@pytest.mark.parametrize("batch", BATCHES)
def test_equals_reference(batch: str, target: str) -> None:
    check(BATCHES[batch], target)


@pytest.mark.parametrize("batch", BATCHES)
def test_portable_kernels_equal_reference(batch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels for hosts without a named instruction set."""
    monkeypatch.setitem(TARGETS, "host", replace(HOST, isa="generic"))
    check(BATCHES[batch], "host")


def check(samples: list[Sample], target: str) -> None:
    artifact = dtmm_mlir.compile(build_module(samples), target=target)
    results = artifact.run([x for sample in samples for x in sample.inputs])
    wrong = [
        f"{sample.op} {sample.attributes} {result.shape}: {int((result != sample.expected).sum())} differ"
        for sample, result in zip(samples, results, strict=True)
        if not np.array_equal(result, sample.expected)
    ]
    assert not wrong, "\n".join(wrong)
