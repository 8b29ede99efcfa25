"""Every kernel on the host against the numpy reference, bit for bit (f32: to rounding)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.passes.lower import LowerToStream
from dtmm_mlir.passes.pack import PackFilterlets
from dtmm_mlir.passes.plan import PlanKernels
from dtmm_mlir.passes.verify import VerifyFilterlet
from dtmm_mlir.targets import HOST
from tests.kernels.cases import BATCHES
from tests.kernels.convolutions import Case, Sample, build_module

F32_TOLERANCE = 1e-5
"""Relative to the largest result: f32 sums in another order than the reference's f64 ones."""


def compile_for_host(samples: list[Sample], folder: Path) -> Path:
    import iree.compiler._mlir_libs as libs

    module = build_module(samples, create_context())
    for step in (PlanKernels(), VerifyFilterlet(), PackFilterlets(), VerifyFilterlet(), LowerToStream()):
        step(module)
    source, vmfb = folder / "cases.mlirbc", folder / "cases.vmfb"
    with source.open("wb") as file:
        module.operation.write_bytecode(file)
    compiler = Path(libs.__file__).with_name("iree-compile")
    subprocess.run([compiler, source, "-o", vmfb, *HOST.iree_flags()], check=True)
    return vmfb


@pytest.mark.parametrize("batch", BATCHES)
def test_host_equals_reference(batch: str, tmp_path: Path) -> None:
    import iree.runtime as rt

    cases: list[Case] = BATCHES[batch]
    samples = [Sample.of(case) for case in cases]
    vmfb = compile_for_host(samples, tmp_path)
    context = rt.SystemContext(config=rt.Config("local-sync"))
    context.add_vm_module(rt.VmModule.mmap(context.instance, str(vmfb)))
    wrong = []
    for i, sample in enumerate(samples):
        result = context.modules.module[f"case_{i}"](sample.x).to_host()
        if not equal(result, sample.expected):
            wrong.append(f"{sample.case}: {int((result != sample.expected).sum())} of {result.size} differ")
    assert not wrong, "\n".join(wrong)


def equal(result: np.ndarray, expected: np.ndarray) -> bool:
    """Bit for bit for integers."""
    if expected.dtype == np.float32:
        return bool(np.abs(result - expected).max() <= F32_TOLERANCE * np.abs(expected).max())
    return bool((result == expected).all())
