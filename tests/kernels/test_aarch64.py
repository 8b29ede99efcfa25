"""The kernels of AArch64 hosts: what stock IREE makes of them, and in QEMU what they compute."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from dtmm_mlir import iree_compile
from dtmm_mlir.compiler import ir_after
from dtmm_mlir.targets import HOST, TARGETS
from tests.kernels import aarch64
from tests.kernels.cases import OF_HOSTS
from tests.kernels.convolutions import Case, Sample, build_module, geometry
from tests.kernels.numerics import equal


@aarch64.needs_emulator
@pytest.mark.parametrize("batch", ["depthwise", "plans", "rescale", "rectified", "pixel-lanes"])
def test_equals_reference(batch: str, tmp_path: Path) -> None:
    samples = [Sample.of(case) for case in OF_HOSTS[batch]]
    results = aarch64.run(aarch64.build(samples, tmp_path, sanitized=True), samples)
    wrong = [sample.case for sample, x in zip(samples, results, strict=True) if not equal(x, sample.expected)]
    assert not wrong


def test_dot_products(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen products take an instruction, even for a processor that is known by the name of an older one."""
    kernel = _kernel(tmp_path, monkeypatch, "dotprod")
    assert len(re.findall(r"\tsdot\tv\d+\.4s, v\d+\.16b, v\d+\.(?:16b|4b\[\d\])", kernel)) >= 64 // 16
    assert not re.findall(r"\tsmull2?\tv\d+\.8h|\tbl\t", kernel)


def test_portable_products_are_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen products take two widening multiplications and four widening additions, nothing is done one by one."""
    kernel = _kernel(tmp_path, monkeypatch, "generic")
    products = len(re.findall(r"\tsmull2?\tv\d+\.8h", kernel))
    assert products >= 2
    assert len(re.findall(r"\tsaddw2?\tv\d+\.4s", kernel)) == 2 * products
    assert not re.findall(r"\t(?:madd|mul)\tw\d+|\tbl\t", kernel)


def _kernel(folder: Path, monkeypatch: pytest.MonkeyPatch, isa: str) -> str:
    """Assembly of a sparse convolution's kernel."""
    monkeypatch.setitem(TARGETS, "host", replace(HOST, isa=isa))
    source = folder / "model.mlir"
    source.write_text(ir_after(build_module([Sample.of(Case(geometry(8, 8, 64, 16), kept=0.3))]), "lower"))
    flags = [
        "--iree-hal-target-device=local",
        "--iree-hal-local-target-device-backends=llvm-cpu",
        "--iree-llvmcpu-target-triple=aarch64-linux-gnu",
        "--iree-llvmcpu-target-cpu=cortex-a53",
        f"--iree-hal-dump-executable-intermediates-to={folder}",
    ]
    iree_compile.run(source, folder / "model.vmfb", flags)
    (assembly,) = folder.glob("*.s")
    function = re.search(r"^filterlet_\w+:.*?\.size", assembly.read_text(), re.DOTALL | re.MULTILINE)
    assert function is not None
    return function[0]
