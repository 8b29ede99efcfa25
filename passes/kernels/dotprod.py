"""AArch64 with the dot products of Armv8.2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, llvm, vector

from dtmm_mlir.dialect.ops import Clamp, Rescale
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.isa import Isa, Prepared, Requantization, is_far
from dtmm_mlir.passes.kernels.quads import QUAD

_LANES = 4
"""Sums of a register."""


class Dotprod(Isa):
    """128-bit vectors: 16 products of bytes, added up in fours, per instruction."""

    accumulators = 16

    def __init__(self) -> None:
        super().__init__(vector_bytes=16)

    def zero(self, element: str) -> ir.Value:
        return emit.splat(0, _words()) if element == "i8" else super().zero(element)

    def prepare(self, values: ir.Value) -> Prepared:
        return (values,)

    def mac(self, sums: ir.Value, a: Prepared, b: Prepared) -> ir.Value:
        if isinstance(ir.VectorType(sums.type).element_type, ir.F32Type):
            return super().mac(sums, a, b)
        # The compiler knows some processors by a name that promises less than they have.
        text = ".arch_extension dotprod\nsdot $0.4s, $2.16b, $3.16b"
        return llvm.InlineAsmOp(sums.type, [sums, *a, *b], text, "=w,0,w,w").res

    def stored_shift(self, rescale: Rescale) -> np.ndarray:
        return 31 - rescale.shift.astype(np.int32) if is_far(rescale) else super().stored_shift(rescale)

    def scale(self, sums: ir.Value, by: Requantization, rescale: Rescale) -> ir.Value:
        if not is_far(rescale):
            return super().scale(sums, by, rescale)
        factors = [
            each if each.type == sums.type else emit.broadcast(each, sums.type) for each in (by.multiplier, by.shift)
        ]
        double = rescale.rounding == "double"
        results = []
        for total, multiplier, shift in zip(*map(_registers, (sums, *factors)), strict=True):
            multiply = "llvm.aarch64.neon.sqrdmulh.v4i32" if double else "llvm.aarch64.neon.sqdmulh.v4i32"
            value = emit.intrinsic(total.type, multiply, total, multiplier)
            if double and not by.rectified:
                value = arith.addi(value, arith.shrsi(value, emit.splat(31, value.type)))
            results.append(emit.intrinsic(value.type, "llvm.aarch64.neon.srshl.v4i32", value, shift))
        lanes = range(ir.VectorType(sums.type).shape[0])
        value = emit.concatenate(*results)
        return vector.ShuffleOp(value, value, lanes).result

    def narrow(self, value: ir.Value, rescale: Rescale, clamp: Clamp) -> ir.Value:
        words, bytes = (
            emit.vector_type(ir.VectorType(value.type).shape[0], ir.IntegerType.get_signless(bits)) for bits in (16, 8)
        )
        value = arith.trunci(words, _clamped(value, -(1 << 15), (1 << 15) - 1))
        value = llvm.SAddSat(value, emit.splat(rescale.output_zero_point, words)).result
        return _clamped(arith.trunci(bytes, _clamped(value, -128, 127)), *clamp)

    # The ``pixel_lanes`` kernel. Vectors of 16 pixels take four registers.

    pixel_sums = 6
    sums_in_turn = 4

    def planes_of(self, quads: ir.Value) -> list[ir.Value]:
        return [quads]

    def prepare_quad(self, weights: ir.Value) -> Prepared:
        return (_as_bytes(emit.broadcast(weights, _words())),)

    def multiply_quads(self, sums: ir.Value, pixels: Sequence[ir.Value], weights: Prepared) -> ir.Value:
        quads = vector.BitCastOp(sums.type, *pixels).result
        parts = zip(_registers(sums), _registers(quads), strict=True)
        return emit.concatenate(*(self.mac(total, (_as_bytes(each),), weights) for total, each in parts))


def _words() -> ir.VectorType:
    return emit.vector_type(_LANES, emit.i32())


def _as_bytes(words: ir.Value) -> ir.Value:
    return vector.BitCastOp(emit.vector_type(_LANES * QUAD, ir.IntegerType.get_signless(8)), words).result


def _registers(value: ir.Value) -> list[ir.Value]:
    """As vectors of four lanes, of which there are one, two or four; what is behind the value's own lanes is any."""
    type = ir.VectorType(value.type)
    lanes = max(_LANES, 1 << (type.shape[0] - 1).bit_length())
    order = [lane if lane < type.shape[0] else -1 for lane in range(lanes)]
    return [vector.ShuffleOp(value, value, order[at : at + _LANES]).result for at in range(0, lanes, _LANES)]


def _clamped(value: ir.Value, least: int, most: int) -> ir.Value:
    return arith.minsi(arith.maxsi(value, emit.splat(least, value.type)), emit.splat(most, value.type))
