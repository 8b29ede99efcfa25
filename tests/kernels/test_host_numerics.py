"""Every kernel of hosts against the reference."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dtmm_mlir.targets import HOST, TARGETS, X86_64_V3
from tests.kernels.cases import BATCHES, PIXEL_LANES
from tests.kernels.numerics import check


@pytest.mark.parametrize("batch", BATCHES)
def test_equals_reference(batch: str) -> None:
    check(BATCHES[batch], "host")


@pytest.mark.parametrize("batch", ["plans", "rescale", "depthwise", "f32"])
def test_portable_kernels_equal_reference(batch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels for hosts without a named instruction set."""
    monkeypatch.setitem(TARGETS, "host", replace(HOST, isa="generic"))
    check(BATCHES[batch], "host")


@pytest.mark.skipif(HOST.isa not in ("avx2", "avxvnni", "avx512vnni"), reason="needs a processor with AVX2")
@pytest.mark.parametrize("batch", [*BATCHES, "pixel-lanes"])
def test_avx2_kernels_equal_reference(batch: str) -> None:
    check((BATCHES | {"pixel-lanes": PIXEL_LANES})[batch], X86_64_V3.name)


@pytest.mark.skipif(HOST.isa not in ("avxvnni", "avx512vnni"), reason="needs a processor with VNNI")
@pytest.mark.parametrize("batch", ["channels", "pixel-lanes"])
def test_vnni_kernels_equal_reference(batch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with vectors of 256 bits."""
    monkeypatch.setitem(TARGETS, "host", replace(HOST, isa="avxvnni"))
    check((BATCHES | {"pixel-lanes": PIXEL_LANES})[batch], "host")
