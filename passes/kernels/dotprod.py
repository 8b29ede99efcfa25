"""AArch64 with the dot products of Armv8.2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, llvm, vector

from dtmm_mlir.dialect.ops import Clamp, Rescale
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.isa import I16, WORD, Isa, Prepared, Requantization, is_far
from dtmm_mlir.passes.kernels.quads import QUAD

_LANES = 4
"""Sums of a register."""


@dataclass(frozen=True)
class _Quad:
    """A quad of weights in one lane of a vector, for all pixels."""

    quads: ir.Value
    lane: int


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
        (left,), (right,) = a, b
        return _dot(sums, left, right, "16b")

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
        value = arith.trunci(words, emit.clamp(value, I16))
        value = llvm.SAddSat(value, emit.splat(rescale.output_zero_point, words)).result
        return emit.clamp(arith.trunci(bytes, emit.clamp(value, (-128, 127))), clamp)

    # The ``pixel_lanes`` kernel. Vectors of 16 pixels take four registers.

    pixel_sums = 6
    sums_in_turn = 4

    def planes_of(self, quads: ir.Value) -> list[ir.Value]:
        return [quads]

    def base_of_loads(self, address: ir.Value) -> ir.Value:
        return emit.opaque(address)  # pairs of vectors are loaded within a KiB

    def load_quads(self, address: ir.Value, count: int) -> Iterator[_Quad]:
        if count < _LANES:
            for at in range(0, WORD * count, WORD):
                quad = emit.load_from(emit.advance(address, at), emit.i32())
                yield _Quad(_as_bytes(emit.broadcast(quad, _words())), 0)
            return
        for number in range(count):
            if number % _LANES == 0:
                first = min(number, count - _LANES)
                quads = _as_bytes(emit.load_from(emit.advance(address, WORD * first), _words()))
            yield _Quad(quads, number - first)

    def multiply_quads(self, sums: ir.Value, pixels: Sequence[ir.Value], weights: _Quad) -> ir.Value:
        quads = vector.BitCastOp(sums.type, *pixels).result
        parts = zip(_registers(sums), _registers(quads), strict=True)
        element = f"4b[{weights.lane}]"
        return emit.concatenate(*(_dot(total, _as_bytes(each), weights.quads, element) for total, each in parts))


def _dot(sums: ir.Value, a: ir.Value, b: ir.Value, factor: str) -> ir.Value:
    """``sums`` and what ``sdot`` adds to them.

    Args:
        factor: what of ``b``: ``16b``, or a quad, ``4b[0]``.
    """
    # The compiler knows some processors by a name that promises less than they have.
    text = f".arch_extension dotprod\nsdot $0.4s, $2.16b, $3.{factor}"
    return llvm.InlineAsmOp(sums.type, [sums, a, b], text, "=w,0,w,w").res


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
