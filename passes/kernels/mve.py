"""Arm's M-profile vector extension."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, llvm, vector

from dtmm_mlir.dialect.ops import Affine, Clamp, Rescale
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels import mve_depthwise as depthwise
from dtmm_mlir.passes.kernels import mve_input_stationary as stationary
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import (
    Channels,
    Isa,
    Prepared,
    Requantization,
    Results,
    Stored,
    is_far,
)
from dtmm_mlir.passes.kernels.mve_assembly import (
    DATA,
    HELD,
    LEFT,
    MASK,
    OFFSETS,
    OUTPUT,
    PARAMETERS,
    SUMS,
    VECTORS,
    WEIGHTS,
    Constants,
    Finish,
    FinishFour,
    assembly,
)
from dtmm_mlir.passes.kernels.products import Product, Vectors
from dtmm_mlir.passes.kernels.scaling import is_rectified


class Mve(Isa):
    """Arm M-profile vector extension (Helium), 128-bit vectors."""

    accumulators = 8

    scalar_sums = True
    short_of_flash = True
    first_product_is_free = True
    partial_vectors = True
    scatters_fours = True
    stationary_inputs = True
    half_lanes = depthwise.LANES
    byte_reach = 127
    word_reach = 508

    def __init__(self) -> None:
        super().__init__(vector_bytes=16)

    def begin(self) -> None:
        emit.only_on_arm()

    def channel_lanes(self, element: str) -> int:
        return 4

    def zero(self, element: str) -> ir.Value:
        return emit.splat(0, emit.i32()) if element == "i8" else super().zero(element)

    def prepare(self, values: ir.Value) -> Prepared:
        return (values,)

    def mac(self, sums: ir.Value, a: Prepared, b: Prepared) -> ir.Value:
        if isinstance(sums.type, ir.VectorType):
            return super().mac(sums, a, b)
        zero = emit.splat(0, emit.i32())
        return emit.intrinsic(emit.i32(), "llvm.arm.mve.vmldava.v16i8", zero, zero, zero, sums, *a, *b)

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
            begun = [emit.splat(0, emit.i32()) if total is None else total for total in sums]
            return super().multiply(products, element, weights, data, length, begun)
        alignments = {WEIGHTS: weights.alignment, DATA: data.alignment}
        lines = assembly(products, alignments, length, started=sums[0] is not None)
        pointer = weights.address.type
        addresses = [(WEIGHTS, pointer, weights.address), (DATA, pointer, data.address)]
        totals = [(register, emit.i32(), value) for register, value in zip(SUMS, sums, strict=False)]
        end, _, *results = emit.assembly(lines, [*addresses, *totals], VECTORS)
        return end, results

    def hold(self, address: ir.Value) -> ir.Value:
        (held,) = emit.assembly([], [(HELD, address.type, address)], [])
        return held

    def settle(self, weights: ir.Value, sums: Sequence[ir.Value]) -> tuple[ir.Value, list[ir.Value]]:
        if len(sums) > len(SUMS):
            return super().settle(weights, sums)
        totals = [(register, emit.i32(), total) for register, total in zip(SUMS, sums, strict=False)]
        weights, *settled = emit.assembly([], [(WEIGHTS, weights.type, weights), *totals], [])
        return weights, settled

    def finishes(self, pixels: int, filters: int) -> bool:
        return pixels * filters == len(SUMS) if filters <= 2 else filters == 4 and pixels <= 2

    def finish(
        self, sums: Sequence[ir.Value], parameters: ir.Value, output: ir.Value, results: Results
    ) -> tuple[ir.Value, ir.Value] | None:
        filters, rescale, stride = results.filters, results.rescale, results.stride
        pixels = len(sums) // filters
        usual = is_far(rescale) and results.clamp == (-128, 127)
        if not usual or not self.finishes(pixels, filters) or pixels * stride >= (1 << 12 if filters == 4 else 1 << 16):
            return None
        rectified = rescale.rounding == "double" and is_rectified(rescale, results.clamp)
        rounding = "rectified" if rectified else rescale.rounding
        biased, zero_point = not results.biased, rescale.output_zero_point
        addresses = [(register, a.type, a) for register, a in ((PARAMETERS, parameters), (OUTPUT, output))]
        held = [(register, emit.i32(), total) for register, total in zip(SUMS, sums, strict=False)]
        if filters == 4:
            lines = FinishFour(pixels, stride, biased, rounding, zero_point, results.packed).assembly()
            following, behind, *_ = emit.assembly(lines, [*addresses, *held], VECTORS[:7])
            return following, behind
        places = (np.arange(pixels) * stride + np.arange(filters)[:, None]).reshape(2, -1).T.reshape(-1)
        lines = Finish(filters, biased, rounding, zero_point, results.packed).assembly()
        following, behind, *_ = emit.assembly(lines, [*addresses, *held], VECTORS[:4], [(OFFSETS, _halves(places))])
        return following, behind

    def pass_filters(self, passes: stationary.Passes, list: ir.Value, start: ir.Value, data: ir.Value) -> None:
        moving = [
            (stationary.LIST, list.type, list),
            (stationary.START, start.type, start),
            (stationary.DATA, data.type, data),
        ]
        emit.assembly(passes.assembly(), moving, [*SUMS, *stationary.CHANGED, *VECTORS, "vpr"])

    def finish_stored(
        self,
        what: Stored,
        ends: ir.Value | None,
        parameters: ir.Value,
        biases: ir.Value,
        sums: ir.Value,
        output: ir.Value,
    ) -> tuple[ir.Value, ir.Value] | None:
        rescale, clamp = what.rescale, what.clamp
        if not is_far(rescale) or clamp != (-128, 127) or not _are_near(what.places):
            return None
        rectified = rescale.rounding == "double" and is_rectified(rescale, clamp)
        rounding = "rectified" if rectified else rescale.rounding
        zero_point, even = rescale.output_zero_point, not any(place % 2 for place in what.places)
        pixels, partial = len(what.places), ends is not None
        how = stationary.Finish(
            what.filters, pixels, rounding, zero_point, what.all, even, what.apart, what.missing_shift, partial
        )
        mask = emit.splat(how.mask(pixels), emit.i32())
        if ends is not None:
            mask = arith.select(ends, emit.splat(how.mask(what.fewer), emit.i32()), mask)
        places = _halves([what.places[pixel] for pixel in how.pixel_of_lane])
        moving = [
            (stationary.PARAMETERS, parameters.type, parameters),
            (stationary.OUTPUT, output.type, output),
            (stationary.STORED, sums.type, sums),
            (stationary.LEFT, emit.i32(), emit.splat(how.turns, emit.i32())),
            *([(stationary.BIASES, biases.type, biases)] if what.apart else []),
        ]
        still = [
            (stationary.MASK, mask),
            (stationary.ZERO_POINT, emit.splat(zero_point, emit.i32())),
            (stationary.OFFSETS, places),
        ]
        clobbered = [*stationary.TEMPORARY, *VECTORS[:7], "vpr"]
        following, behind, *_ = emit.assembly(how.assembly(), moving, clobbered, still)
        return following, behind

    def store_channels(
        self, what: Channels, weights: ir.Value, parameters: ir.Value, data: ir.Value, output: ir.Value
    ) -> tuple[ir.Value, ir.Value]:
        rounding = "rectified" if what.rescale.rounding == "double" and what.rectified else what.rescale.rounding
        zero_point = what.rescale.output_zero_point
        still = [(depthwise.ZERO_POINT, emit.splat(zero_point, emit.i32()))] if zero_point else []
        for first in range(0, len(what.inputs[0]), depthwise.PIXELS):
            inputs = tuple(position[first : first + depthwise.PIXELS] for position in what.inputs)
            how = depthwise.Channels(inputs, what.together, what.stride, rounding, zero_point)
            addresses = {
                depthwise.WEIGHTS: weights,
                depthwise.PARAMETERS: parameters,
                depthwise.DATA: data,
                depthwise.OUTPUT: emit.advance(output, first * what.stride),
            }
            moving = [(register, address.type, address) for register, address in addresses.items()]
            behind = emit.assembly(how.assembly(), moving, VECTORS, still)
        return behind[0], behind[1]

    def store_constants(self, count: int, places: Sequence[int], parameters: ir.Value, output: ir.Value) -> bool:
        if not count or not _are_near(places):
            return False
        how = Constants(len(places))
        moving = [(PARAMETERS, parameters.type, parameters), (OUTPUT, output.type, output)]
        moving += [(LEFT, emit.i32(), emit.splat(count, emit.i32()))]
        still = [
            (MASK, emit.splat(how.mask, emit.i32())),
            (OFFSETS, _halves(np.resize(places, 8))),
        ]
        emit.assembly(how.assembly(), moving, [*SUMS[:2], VECTORS[0], "vpr"], still)
        return True

    def load_pair(self, address: ir.Value) -> tuple[ir.Value, ir.Value]:
        return emit.load_two_words(address)

    def total(self, sums: ir.Value) -> ir.Value:
        return super().total(sums) if isinstance(sums.type, ir.VectorType) else sums

    def store(self, values: ir.Value, target: ir.Value, to: Index, alignment: int) -> None:
        emit.store_once(values, target, to, alignment)

    def store_strided(self, values: ir.Value, address: ir.Value, stride: int) -> None:
        type = ir.VectorType(values.type)
        if type.shape[0] != 4 or type.element_type != ir.IntegerType.get_signless(8):
            super().store_strided(values, address, stride)
        else:
            self._scatter(arith.extsi(emit.vector_type(4, emit.i32()), values), address, np.arange(4) * stride)

    def store_scaled(
        self, values: Sequence[tuple[int, ir.Value]], address: ir.Value, stride: int, rescale: Rescale, clamp: Clamp
    ) -> None:
        values = list(values)
        while len(values) > 1 and all(_is_narrow(value, at, stride) for at, value in values[:2]):
            (at, low), (other, high) = values[:2]
            lanes = np.arange(4) * stride
            offsets = np.stack([lanes, lanes + other - at], axis=1).reshape(-1)
            self._scatter(self._narrow_two(low, high, rescale, clamp), emit.advance(address, at), offsets)
            values = values[2:]
        super().store_scaled(values, address, stride, rescale, clamp)

    def _narrow_two(self, low: ir.Value, high: ir.Value, rescale: Rescale, clamp: Clamp) -> ir.Value:
        """Two vectors of four as one of eight, in the low byte of each i16; the first one's lanes at even places."""
        type = emit.vector_type(8, ir.IntegerType.get_signless(16))
        zero, one = emit.splat(0, emit.i32()), emit.splat(1, emit.i32())
        value = emit.splat(0, type)
        for source, place in ((low, zero), (high, one)):
            value = emit.intrinsic(type, "llvm.arm.mve.vqmovn.v8i16.v4i32", value, source, zero, zero, place)
        value = emit.intrinsic(type, "llvm.sadd.sat.v8i16", value, emit.splat(rescale.output_zero_point, type))
        if clamp == (-128, 127):
            bytes = emit.vector_type(16, ir.IntegerType.get_signless(8))
            name = "llvm.arm.mve.vqmovn.v16i8.v8i16"
            low = vector.BitCastOp(bytes, value).result  # what the other bytes hold does not matter
            return vector.BitCastOp(type, emit.intrinsic(bytes, name, low, value, zero, zero, zero)).result
        return emit.clamp(value, clamp)

    def narrow(self, value: ir.Value, rescale: Rescale, clamp: Clamp) -> ir.Value:
        narrow = super().narrow
        if ir.VectorType(value.type).shape[0] != 2:
            return narrow(value, rescale, clamp)
        # Of two lanes LLVM would make two of i64, which MVE has no arithmetic for.
        results = [narrow(emit.from_lanes([emit.lane(value, i)]), rescale, clamp) for i in range(2)]
        return emit.from_lanes([emit.lane(result, 0) for result in results])

    def load_elements(self, source: ir.Value, at: Index, lanes: int) -> ir.Value:
        return emit.load_first(source, at, lanes, 16)

    def store_elements(self, values: ir.Value, target: ir.Value, at: Index, lanes: int) -> None:
        emit.store_first(values, target, at, lanes)

    @property
    def affine_lanes(self) -> int:
        return 8

    def apply_affine(self, integers: Sequence[ir.Value], affine: Affine, clamp: Clamp | None) -> ir.Value:
        type, half = emit.vector_type(4, emit.i32()), emit.vector_type(8, ir.IntegerType.get_signless(16))
        if ir.VectorType(integers[0].type).shape[0] != 8 or ir.VectorType(integers[0].type).element_type == emit.i32():
            return super().apply_affine(integers, affine, clamp)
        pairs = [value if value.type == half else arith.extsi(half, value) for value in integers]
        words = [vector.BitCastOp(type, value).result for value in pairs]
        bits, last = emit.splat(16, type), min(8, affine.shift - 1)
        value = emit.splat(0, half)
        for top in (0, 1):
            sums = emit.splat(affine.offset, type)
            for multiplier, word in zip(affine.multipliers, words, strict=True):
                lane = arith.shrsi(word if top else arith.shli(word, bits), bits)
                sums = arith.addi(sums, arith.muli(lane, emit.splat(multiplier, type)))
            value = _narrow_half("v8i16.v4i32", value, sums, affine.shift - last, top)
        bytes = emit.vector_type(16, ir.IntegerType.get_signless(8))
        value = _narrow_half("v16i8.v8i16", vector.BitCastOp(bytes, value).result, value, last, 0)
        low, high = clamp or (-128, 127)
        if low > -128:
            value = arith.maxsi(value, emit.splat(low, bytes))
        if high < 127:
            value = arith.minsi(value, emit.splat(high, bytes))
        narrow = emit.vector_type(8, ir.IntegerType.get_signless(8))
        return arith.trunci(narrow, vector.BitCastOp(half, value).result)

    def _scatter(self, values: ir.Value, address: ir.Value, offsets: np.ndarray) -> None:
        """Stores the low byte of each lane at its offset, in bytes."""
        type = ir.VectorType(values.type)
        bits = ir.IntegerType(type.element_type).width
        numbers = offsets.astype(f"u{bits // 8}").view(f"i{bits // 8}")
        places = arith.ConstantOp(type, ir.DenseElementsAttr.get(numbers, type=type)).result
        name = f"llvm.arm.mve.vstr.scatter.offset.p0.v{type.shape[0]}i{bits}.v{type.shape[0]}i{bits}"
        operands = [address, places, values, emit.splat(8, emit.i32()), emit.splat(0, emit.i32())]
        llvm.CallIntrinsicOp(None, name, operands, [], [])

    def stored_shift(self, rescale: Rescale) -> np.ndarray:
        return 31 - rescale.shift.astype(np.int32) if is_far(rescale) else super().stored_shift(rescale)

    def _scale_far(self, sums: ir.Value, by: Requantization, rescale: Rescale) -> ir.Value:
        lanes = ir.VectorType(sums.type).shape[0]
        type = emit.vector_type(4, emit.i32())
        zero, one = emit.splat(0, emit.i32()), emit.splat(1, emit.i32())

        def whole(value: ir.Value) -> ir.Value:
            """A vector of fewer than four lanes filled up with zeros."""
            if lanes == 4:
                return value
            return emit.from_lanes([*(emit.lane(value, i) for i in range(lanes)), *[zero] * (4 - lanes)])

        sums, multiplier, shift = whole(sums), by.multiplier, by.shift
        if isinstance(multiplier.type, ir.VectorType):
            multiplier, shift = whole(multiplier), whole(shift)
        else:
            multiplier = emit.broadcast(multiplier, type)
        if rescale.rounding == "double":
            value = emit.intrinsic(type, "llvm.arm.mve.vqrdmulh.v4i32", sums, multiplier)
            if not by.rectified:
                sign = arith.shrsi(value, emit.splat(31, type))
                value = emit.intrinsic(type, "llvm.sadd.sat.v4i32", value, sign)
        else:
            value = emit.intrinsic(type, "llvm.arm.mve.vqdmulh.v4i32", sums, multiplier)
        kind = "vector.v4i32.v4i32" if isinstance(shift.type, ir.VectorType) else "scalar.v4i32"
        value = emit.intrinsic(type, f"llvm.arm.mve.vshl.{kind}", value, shift, zero, one, zero)
        return value if lanes == 4 else emit.from_lanes([emit.lane(value, i) for i in range(lanes)])


def _are_near(places: Sequence[int]) -> bool:
    """Whether offsets, and those of a neighbour, are lanes of i16."""
    return max(places) < (1 << 16) - 1


def _halves(numbers: Sequence[int] | np.ndarray) -> ir.Value:
    """Eight numbers, unsigned, as a vector of i16."""
    type = emit.vector_type(8, ir.IntegerType.get_signless(16))
    values = np.array(numbers).astype(np.uint16).view(np.int16)
    return arith.ConstantOp(type, ir.DenseElementsAttr.get(values, type=type)).result


def _narrow_half(kinds: str, into: ir.Value, value: ir.Value, shift: int, top: int) -> ir.Value:
    """``value`` shifted right and saturated to half the size, in the lower or upper (``top``) lanes of ``into``."""
    numbers = [emit.splat(number, emit.i32()) for number in (shift, 1, 0, 0, 0, top)]
    return emit.intrinsic(into.type, f"llvm.arm.mve.vshrn.{kinds}", into, value, *numbers)


def _is_narrow(value: ir.Value, at: int, stride: int) -> bool:
    """Whether ``value`` may become part of a vector of i16 whose lanes are stored up to 64 KiB apart."""
    type = ir.VectorType(value.type)
    return type.shape[0] == 4 and type.element_type == emit.i32() and at + 3 * stride < 1 << 16
