"""The portable kernels as stock IREE compiles them for AArch64 hosts."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from dtmm_mlir import iree_compile
from dtmm_mlir.compiler import ir_after
from dtmm_mlir.targets import HOST, TARGETS
from tests.kernels.convolutions import Case, Sample, build_module, geometry


def test_int8_products_are_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen products take two widening multiplications and four widening additions, nothing is done one by one."""
    kernel = _kernel(tmp_path, monkeypatch)
    products = len(re.findall(r"\tsmull2?\tv\d+\.8h", kernel))
    assert products >= 2
    assert len(re.findall(r"\tsaddw2?\tv\d+\.4s", kernel)) == 2 * products
    assert not re.findall(r"\t(?:madd|mul)\tw\d+|\tbl\t", kernel)


def _kernel(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Assembly of a sparse convolution's kernel."""
    monkeypatch.setitem(TARGETS, "host", replace(HOST, isa="generic"))
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
