"""The kernel of ``filterlet.add``."""

from __future__ import annotations

from iree.compiler import ir

from dtmm_mlir.dialect.ops import AddView
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Isa


class AddKernel:
    """One addition on one instruction set: vector after vector, the last one overlaps the one before."""

    def __init__(self, op: AddView, isa: Isa) -> None:
        self.affine, self.clamp, self.elements = op.affine, op.clamp, op.elements
        self.isa = isa

    def emit(self, lhs: ir.Value, rhs: ir.Value, output: ir.Value) -> None:
        """Emits the kernel at the current insertion point; the arguments are flat memrefs."""
        self.isa.begin()
        lanes = min(self.isa.affine_lanes, 1 << (self.elements.bit_length() - 1))

        def vector(at: Index) -> None:
            values = [emit.load(source, at, lanes) for source in (lhs, rhs)]
            emit.store(self.isa.apply_affine(values, self.affine, self.clamp), output, at)

        whole = self.elements // lanes * lanes
        emit.loop(0, whole, vector, step=lanes)
        if whole != self.elements:
            vector(self.elements - lanes)
