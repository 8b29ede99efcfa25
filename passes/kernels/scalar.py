"""Cores without vectors."""

from __future__ import annotations

from collections.abc import Sequence

from iree.compiler import ir
from iree.compiler.dialects import arith, vector

from dtmm_mlir.dialect.ops import Rescale
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Isa, Prepared, Requantization
from dtmm_mlir.passes.kernels.products import Product, Vectors
from dtmm_mlir.passes.kernels.scalar_assembly import Core, assembly, channel


class Scalar(Isa):
    """Cores without vectors: vectors are four values in a row, sums are in one register each."""

    core: Core | None = None
    """The instructions of int8 products; LLVM's where there is none."""
    channel_core: Core | None = None
    """Those of products of single channels, where LLVM is short of registers."""
    scalar_sums = True
    parts = True
    short_of_flash = True

    def __init__(self) -> None:
        super().__init__(vector_bytes=4)

    def pattern_lanes(self, results: int) -> int:
        return 1 if results % self.vector_bytes else self.vector_bytes

    def lanes(self, element: str) -> int:
        return 4 if element == "i8" else 1

    def channel_lanes(self, element: str) -> int:
        return 1

    @property
    def affine_lanes(self) -> int:
        return 1

    @property
    def sum_lanes(self) -> int:
        return 2

    @property
    def max_lanes(self) -> int:
        return 1

    def load_elements(self, source: ir.Value, at: Index, lanes: int) -> ir.Value:
        if lanes > 1:
            return super().load_elements(source, at, lanes)
        return arith.extsi(emit.i32(), emit.load_scalar(source, at))  # LLVM compares i8 of a loop as unsigned on RISC-V

    def store_elements(self, values: ir.Value, target: ir.Value, at: Index, lanes: int) -> None:
        if lanes == 1:
            values = arith.trunci(ir.IntegerType.get_signless(8), values)
        super().store_elements(values, target, at, lanes)

    def copy(self, source: ir.Value, at: Index, target: ir.Value, to: Index, lanes: int, alignment: int) -> None:
        i8 = ir.IntegerType.get_signless(8)
        if lanes == 4 and i8 == ir.MemRefType(source.type).element_type == ir.MemRefType(target.type).element_type:
            word = emit.load_from(emit.pointer(source, at), emit.i32(), alignment)
            emit.store_once(word, target, to, alignment)
        else:
            super().copy(source, at, target, to, lanes, alignment)

    def move_lanes(self, bytes: int) -> int:
        return 4 // bytes

    def store(self, values: ir.Value, target: ir.Value, to: Index, alignment: int) -> None:
        """Word by word: LLVM takes vectors apart into their elements."""
        type = ir.VectorType(values.type)
        per_word = 32 // type.element_type.width
        if type.shape[0] % per_word:
            emit.store_once(values, target, to, alignment)
            return
        words = emit.vector_type(type.shape[0] // per_word, emit.i32())
        values = vector.BitCastOp(words, values).result if words != type else values
        for i in range(words.shape[0]):
            emit.store_once(emit.lane(values, i), target, emit.add(to, i * per_word), alignment)

    def zero(self, element: str) -> ir.Value:
        return emit.splat(0, emit.i32() if element == "i8" else ir.F32Type.get())

    def prepare(self, values: ir.Value) -> Prepared:
        type = ir.VectorType(values.type)
        scalars = [emit.lane(values, i) for i in range(type.shape[0])]
        if type.element_type != ir.IntegerType.get_signless(8):
            return tuple(scalars)
        return tuple(arith.extsi(emit.i32(), scalar) for scalar in scalars)

    def weights_held(self, sums: int) -> int | None:
        return len(self.core.filters) if self.core and sums <= len(self.core.sums) else None

    def multiply(
        self,
        products: Sequence[Product],
        element: str,
        weights: Vectors,
        data: Vectors,
        length: int,
        sums: Sequence[ir.Value | None],
    ) -> tuple[ir.Value, list[ir.Value]]:
        core = self.core
        if core is None or element != "i8" or len(sums) > len(core.sums):
            return super().multiply(products, element, weights, data, length, sums)
        totals = [(register, emit.i32(), total) for register, total in zip(core.sums, sums, strict=False)]
        addresses = [(core.weights, weights.address), (core.data, data.address)]
        held = [(register, address.type, address) for register, address in addresses]
        end, _, *results = emit.assembly(assembly(core, products, length), [*held, *totals], core.changed)
        return end, results

    def multiply_channel(
        self, rows: Sequence[Sequence[int]], step: int, weights: ir.Value, data: ir.Value, sums: Sequence[ir.Value]
    ) -> list[ir.Value]:
        core = self.channel_core
        assert core
        totals = [(register, emit.i32(), total) for register, total in zip(core.sums, sums, strict=False)]
        held = [(register, a.type, a) for register, a in ((core.weights, weights), (core.data, data))]
        lines, changed = channel(core, rows, len(sums), step), core.for_sums(len(sums)).changed
        _, _, *results = emit.assembly(lines, [*held, *totals], changed)
        return results

    def mac(self, sums: ir.Value, a: Prepared, b: Prepared) -> ir.Value:
        real = isinstance(sums.type, ir.F32Type)
        for x, w in zip(a, b, strict=True):
            sums = arith.addf(sums, arith.mulf(x, w)) if real else arith.addi(sums, arith.muli(x, w))
        return sums

    def total(self, sums: ir.Value) -> ir.Value:
        return sums

    def _scale_far(self, sums: ir.Value, by: Requantization, rescale: Rescale) -> ir.Value:
        if not by.bounded or isinstance(by.multiplier.type, ir.VectorType):
            return super()._scale_far(sums, by, rescale)
        one, double = emit.splat(1, emit.i32()), rescale.rounding == "double"

        def scale(value: ir.Value) -> ir.Value:
            value = self.upper_product(arith.shli(value, one), by.multiplier, double)
            if double and not by.rectified:
                value = arith.addi(value, arith.shrsi(value, emit.splat(31, emit.i32())))
            return arith.shrsi(arith.addi(arith.shrsi(value, by.shift), one), one)

        lanes = ir.VectorType(sums.type).shape[0]
        return emit.from_lanes([scale(emit.lane(sums, i)) for i in range(lanes)])

    def upper_product(self, a: ir.Value, b: ir.Value, rounded: bool) -> ir.Value:
        """The upper half of the product of two i32; the second one is not negative."""
        product = arith.muli(arith.extsi(emit.i64(), a), arith.extsi(emit.i64(), b))
        upper = arith.trunci(emit.i32(), arith.shrui(product, emit.splat(32, emit.i64())))
        if not rounded:
            return upper
        return arith.addi(upper, arith.shrui(arith.trunci(emit.i32(), product), emit.splat(31, emit.i32())))
