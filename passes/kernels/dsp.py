"""Arm's DSP extension."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.dsp_assembly import DATA, SUMS, WEIGHTS, assembly, changed, held
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Prepared
from dtmm_mlir.passes.kernels.products import Product, Vectors
from dtmm_mlir.passes.kernels.scalar import Scalar
from dtmm_mlir.passes.kernels.scalar_assembly import THUMB2


class Dsp(Scalar):
    """Arm's DSP extension: two products of 16 bits per instruction.

    Row buffers hold i16. Four weights are a word whose bytes 0 and 2, and 1 and 3, are neighbours along the channels:
    ``sxtb16`` makes a pair of i16 of each.
    """

    accumulators = len(SUMS)
    straight = 400
    channel_core = THUMB2
    channel_positions = 64

    def begin(self) -> None:
        emit.only_on_arm()

    def row_bytes(self, element: str) -> int:
        return 2 if element == "i8" else super().row_bytes(element)

    def copy(self, source: ir.Value, at: Index, target: ir.Value, to: Index, lanes: int, alignment: int) -> None:
        if lanes == 4 and ir.MemRefType(target.type).element_type == ir.IntegerType.get_signless(16):
            even, odd = _pairs(emit.load_from(emit.pointer(source, at), emit.i32()))
            half, low, high = (emit.splat(number, emit.i32()) for number in (16, 0xFFFF, -0x10000))
            first = arith.ori(arith.andi(even, low), arith.shli(odd, half))
            second = arith.ori(arith.shrui(even, half), arith.andi(odd, high))
            for i, word in enumerate((first, second)):
                emit.store_once(word, target, emit.add(to, 2 * i), 2)
            return
        super().copy(source, at, target, to, lanes, alignment)

    def multiply(
        self,
        products: Sequence[Product],
        element: str,
        weights: Vectors,
        data: Vectors,
        length: int,
        sums: Sequence[ir.Value | None],
    ) -> tuple[ir.Value, list[ir.Value]]:
        if element != "i8" or len(sums) > len(SUMS):
            return super().multiply(products, element, weights, data, length, sums)
        totals = [(register, emit.i32(), total) for register, total in zip(SUMS, sums, strict=False)]
        addresses = [(register, v.address.type, v.address) for register, v in ((WEIGHTS, weights), (DATA, data))]
        lines = assembly(products, len(sums), data.alignment, length)
        end, _, *results = emit.assembly(lines, [*addresses, *totals], changed(len(sums)))
        return end, results

    def weights_held(self, sums: int) -> int | None:
        return held(sums) if sums <= len(SUMS) else None

    def load_data(self, address: ir.Value, element: str, alignment: int) -> Prepared:
        if element != "i8":
            return super().load_data(address, element, alignment)
        if alignment >= 4:
            return emit.load_two_words(address)
        return tuple(emit.load_from(emit.advance(address, 4 * i), emit.i32(), 2) for i in range(2))

    def load_weights(self, address: ir.Value, element: str, alignment: int) -> Prepared:
        if element != "i8":
            return super().load_weights(address, element, alignment)
        return _pairs(emit.load_from(address, emit.i32(), alignment))

    def load_pair(self, address: ir.Value) -> tuple[ir.Value, ir.Value]:
        return emit.load_two_words(address)

    def arrange(self, values: np.ndarray) -> np.ndarray:
        if values.dtype != np.int8:
            return values
        return values.reshape(-1, 4)[:, [0, 2, 1, 3]].reshape(values.shape)

    def mac(self, sums: ir.Value, a: Prepared, b: Prepared) -> ir.Value:
        if isinstance(sums.type, ir.F32Type):
            return super().mac(sums, a, b)
        for x, w in zip(a, b, strict=True):
            sums = emit.intrinsic(emit.i32(), "llvm.arm.smlad", x, w, sums)
        return sums

    @property
    def max_lanes(self) -> int:
        return 4

    def load_elements(self, source: ir.Value, at: Index, lanes: int) -> ir.Value:
        if lanes != 4:
            return super().load_elements(source, at, lanes)
        return emit.load_from(emit.pointer(source, at), emit.i32())

    def maximum(self, a: ir.Value, b: ir.Value, lanes: int) -> ir.Value:
        return emit.larger_bytes(a, b) if lanes == 4 else super().maximum(a, b, lanes)

    def store_elements(self, values: ir.Value, target: ir.Value, at: Index, lanes: int) -> None:
        if lanes != 4:
            super().store_elements(values, target, at, lanes)
        else:
            emit.store_to(values, emit.pointer(target, at))

    def upper_product(self, a: ir.Value, b: ir.Value, rounded: bool) -> ir.Value:
        product = arith.muli(arith.extsi(emit.i64(), a), arith.extsi(emit.i64(), b))
        if rounded:
            product = arith.addi(product, emit.splat(1 << 31, emit.i64()))
        upper = arith.trunci(emit.i32(), arith.shrui(product, emit.splat(32, emit.i64())))  # smmul, smmulr
        return emit.opaque(upper) if rounded else upper  # not a second multiplication that adds the sign


def _pairs(word: ir.Value) -> Prepared:
    """Bytes 0 and 2, and bytes 1 and 3, each as a pair of i16 in one register."""
    rotated = emit.intrinsic(emit.i32(), "llvm.fshr.i32", word, word, emit.splat(8, emit.i32()))
    return tuple(emit.intrinsic(emit.i32(), "llvm.arm.sxtb16", value) for value in (word, rotated))
