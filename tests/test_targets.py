"""Records of targets."""

from __future__ import annotations

import pytest

from dtmm_mlir.targets import isa_with


@pytest.mark.parametrize(
    ("features", "isa"),
    [
        ("sse2 avx2 fma avx512f avx512bw avx512dq avx512vl avx512_vnni", "avx512vnni"),
        ("sse2 avx2 fma avx512f avx512bw avx512dq avx512vl", "avx2"),
        ("sse2 avx2 fma avx_vnni", "avxvnni"),
        ("sse2", "generic"),
        ("fp asimd asimdhp asimddp", "dotprod"),
        ("fp asimd crc32", "generic"),
    ],
)
def test_kernels_of_a_processor(features: str, isa: str) -> None:
    assert isa_with(features.split()) == isa
