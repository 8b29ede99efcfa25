"""Every kernel of hosts against the reference."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dtmm_mlir.targets import HOST, TARGETS, X86_64_V3
from tests.kernels.cases import BATCHES, OF_HOSTS
from tests.kernels.numerics import check


@pytest.mark.parametrize("batch", BATCHES)
def test_equals_reference(batch: str) -> None:
    check(BATCHES[batch], "host")


@pytest.mark.parametrize("batch", ["plans", "rescale", "depthwise", "f32"])
def test_portable_kernels_equal_reference(batch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels for hosts without a named instruction set."""
    monkeypatch.setitem(TARGETS, "host", replace(HOST, isa="generic"))
    check(BATCHES[batch], "host")


@pytest.mark.skipif(not HOST.isa.startswith("avx"), reason="needs a processor with AVX2")
@pytest.mark.parametrize("batch", OF_HOSTS)
def test_avx2_kernels_equal_reference(batch: str) -> None:
    check(OF_HOSTS[batch], X86_64_V3.name)


@pytest.mark.skipif(not HOST.isa.endswith("vnni"), reason="needs a processor with VNNI")
@pytest.mark.parametrize("batch", ["channels", "pixel-lanes"])
def test_vnni_kernels_equal_reference(batch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with vectors of 256 bits."""
    monkeypatch.setitem(TARGETS, "host", replace(HOST, isa="avxvnni"))
    check(OF_HOSTS[batch], "host")
