"""The kernel of ``filterlet.add``."""

from __future__ import annotations

from iree.compiler import ir

from dtmm_mlir.dialect.ops import AddView
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Isa


class AddKernel:
    """One addition on one instruction set: vector after vector, the last one overlaps the one before.

    The result may lie where an operand does: what is read again is read ahead of the loop.
    """

    def __init__(self, op: AddView, isa: Isa) -> None:
        self.affine, self.clamp, self.elements = op.affine, op.clamp, op.elements
        self.isa = isa

    def emit(self, lhs: ir.Value, rhs: ir.Value, output: ir.Value) -> None:
        """Emits the kernel at the current insertion point; the arguments are flat memrefs."""
        self.isa.begin()
        lanes = min(self.isa.affine_lanes, 1 << (self.elements.bit_length() - 1))

        def vector(at: Index) -> ir.Value:
            values = [emit.load(source, at, lanes) for source in (lhs, rhs)]
            return self.isa.apply_affine(values, self.affine, self.clamp)

        whole = self.elements // lanes * lanes
        last = vector(self.elements - lanes) if whole != self.elements else None
        emit.loop(0, whole, lambda at: emit.store(vector(at), output, at), step=lanes)
        if last is not None:
            emit.store(last, output, self.elements - lanes)
