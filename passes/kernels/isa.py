"""What differs between instruction sets: multiply-accumulate and requantization."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, vector

from dtmm_mlir.dialect.ops import Affine, Clamp, Rescale
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.mve_input_stationary import Passes
from dtmm_mlir.passes.kernels.products import Product, Vectors
from dtmm_mlir.passes.kernels.scaling import Scaling

Prepared: TypeAlias = tuple[ir.Value, ...]
"""A vector ready to be multiplied, in as many registers as that takes."""

QuadOfWeights: TypeAlias = Any
"""A quad of weights for all pixels, in the form that ``Isa.multiply_quads`` takes."""

WORD = 4
"""Bytes of a parameter, of a sum, and of a quad."""

I16: Clamp = (-(1 << 15), (1 << 15) - 1)
"""Bounds of i16, far beyond those of i8."""


@dataclass(frozen=True)
class Results:
    """What the i32 sums of a block of filters become, and where.

    Attributes:
        filters: of the block.
        stride: bytes from pixel to pixel of the results.
        biased: whether the sums have the bias in them.
        rescale: to i8.
        clamp: (min, max) within i8.
        packed: whether the last filter's last parameter says in its upper half how far the next block's results are,
            and in its lower half, as those of the filters before, how far its own are from the first one's.
    """

    filters: int
    stride: int
    biased: bool
    rescale: Rescale
    clamp: Clamp
    packed: bool = False


@dataclass(frozen=True)
class Stored:
    """Sums in memory that become i8 results.

    Attributes:
        filters: how many; each has whole vectors of sums.
        places: of each pixel's results, bytes behind the first pixel's.
        all: whether these are all of a pixel's results, which lie one behind the other then.
        apart: words of each filter in a table of their own: biases, or what ``missing_shift`` tells; 0 if there is
            none, and biases are the first of the parameters.
        missing_shift: bits by which the table's i16, one for each sum, are shifted before biases are added; None for
            biases.
        fewer: how many of ``places`` have a result in blocks that end below the output, the first ones; 0 if there are
            no such blocks.
        rescale: to i8.
        clamp: (min, max) within i8.
    """

    filters: int
    places: tuple[int, ...]
    all: bool
    apart: int
    missing_shift: int | None
    fewer: int
    rescale: Rescale
    clamp: Clamp


@dataclass(frozen=True)
class Channels:
    """What a depthwise convolution computes for ``Isa.half_lanes`` channels at neighbouring pixels.

    Attributes:
        inputs: of each kernel position, bytes from the first pixel's first input to those of each pixel.
        together: how many positions' products fit into sums of i16, one group after the other.
        stride: bytes from pixel to pixel of the results.
        rescale: to i8; all shifts are beyond 31.
        rectified: as of ``Requantization``.
    """

    inputs: tuple[tuple[int, ...], ...]
    together: tuple[int, ...]
    stride: int
    rescale: Rescale
    rectified: bool


@dataclass
class Requantization:
    """The scale of some sums: one filter's as scalars, or a vector of channels'.

    Attributes:
        multiplier: i32 or vector of i32.
        shift: i32 or vector of i32, as ``Isa.stored_shift`` made it.
        bounded: whether all sums are known to be below 2^30 in magnitude.
        rectified: whether results below zero end as zero, as a ReLU's do: then it does not matter how they round.
    """

    multiplier: ir.Value
    shift: ir.Value
    bounded: bool = False
    rectified: bool = False


class Isa:
    """Portable vector IR: LLVM picks the instructions. Subclasses name better ones.

    Args:
        vector_bytes: size of one SIMD register.
    """

    accumulators = 6
    """Sums that stay in registers."""
    scalar_sums = False
    """Whether an accumulator of i8 products is one i32."""
    first_product_is_free = False
    """Whether a sum of i8 products that begins with its first one takes no instruction to begin."""
    partial_vectors = False
    """Whether a part of a vector is loaded and stored as easily as the whole."""
    parts = False
    """Whether the ``pairs`` and ``mixed`` kernels serve."""
    scatters_fours = False
    """Whether ``finish`` stores results of four filters that are not neighbours."""
    stationary_inputs = False
    """Whether there is ``pass_filters``."""
    half_lanes = 0
    """Channels that ``store_channels`` computes; 0 where there is none."""
    channel_positions = 0
    """Kernel positions that ``multiply_channel`` takes at most; 0 where there is none."""
    pixel_sums = 0
    """Vectors of 16 pixels' sums that stay in registers beside what ``multiply_quads`` takes; 0 where there is none."""
    sums_in_turn = 1
    """Vectors of 16 pixels' sums that ``multiply_quads`` should add to in turn, as each takes its time."""
    quad_vectors = 1
    """Vectors that ``planes_of`` makes of one."""
    planes_offset = 0
    """What ``planes_of`` adds to each input."""
    straight = 1000
    """Instructions, about, of straight-line code in ``balanced`` plans; few where that gains little over turns of a
    loop, or takes many bytes."""
    short_of_flash = False
    """Whether bytes count: a microcontroller's."""
    byte_reach: int | None = None
    """Largest offset of a load of a vector whose address is any; ``None`` where it does not matter."""
    word_reach: int | None = None
    """The same for addresses that are multiples of four."""

    def __init__(self, vector_bytes: int) -> None:
        self.vector_bytes = vector_bytes

    def begin(self) -> None:
        """What a kernel begins with, by default nothing."""

    def lanes(self, element: str) -> int:
        """Elements (``i8`` or ``f32``) multiplied at once along the channels."""
        return 16 if element == "i8" else self.vector_bytes // 4

    def channel_lanes(self, element: str) -> int:
        """Channels that a depthwise convolution computes at once."""
        return 16 if element == "i8" else self.vector_bytes // 4

    def zero(self, element: str) -> ir.Value:
        """The accumulator ``mac`` starts from."""
        type = ir.F32Type.get() if element == "f32" else emit.i32()
        return emit.splat(0, emit.vector_type(self.lanes(element), type))

    def row_bytes(self, element: str) -> int:
        """Size of a row buffer's elements for inputs of ``element``; i8 may be kept as i16, widened once for all."""
        return 1 if element == "i8" else 4

    def row_type(self, element: str) -> ir.Type:
        """Type of a row buffer's elements for inputs of ``element``."""
        return ir.IntegerType.get_signless(8 * self.row_bytes(element)) if element == "i8" else ir.F32Type.get()

    def copy(self, source: ir.Value, at: Index, target: ir.Value, to: Index, lanes: int, alignment: int) -> None:
        """Copies ``lanes`` elements of an input, a memref, into a row buffer.

        Args:
            alignment: bytes that the addresses of i8 are multiples of.
        """
        values, row_type = emit.load(source, at, lanes), ir.MemRefType(target.type).element_type
        if row_type != ir.VectorType(values.type).element_type:
            values = arith.extsi(emit.vector_type(lanes, row_type), values)
        self.store(values, target, to, ir.MemRefType(target.type).element_type.width // 8)

    def store(self, values: ir.Value, target: ir.Value, to: Index, alignment: int) -> None:
        """Stores a vector into a row buffer, at an address that is a multiple of ``alignment`` bytes."""
        emit.store(values, target, to)

    def move_lanes(self, bytes: int) -> int:
        """Elements of ``bytes`` each that are moved at once within a row buffer."""
        return 16 // bytes

    def load_data(self, address: ir.Value, element: str, alignment: int) -> Prepared:
        """One vector of a row buffer, or of an input that serves as one, ready to be multiplied."""
        return self.prepare(
            emit.load_from(address, emit.vector_type(self.lanes(element), self.row_type(element)), alignment)
        )

    def load_weights(self, address: ir.Value, element: str, alignment: int) -> Prepared:
        """One vector of weights, ready to be multiplied."""
        type = emit.vector_type(self.lanes(element), ir.Type.parse(element))
        return self.prepare(emit.load_from(address, type, alignment))

    def weights_held(self, sums: int) -> int | None:
        """Vectors of i8 weights that wait in registers beside so many sums for inputs that are loaded once for them;
        ``None`` where that is left to the compiler."""
        return None

    def multiply(
        self,
        products: Sequence[Product],
        element: str,
        weights: Vectors,
        data: Vectors,
        length: int,
        sums: Sequence[ir.Value | None],
    ) -> tuple[ir.Value, list[ir.Value]]:
        """Adds products to sums.

        Args:
            element: ``i8`` or ``f32``.
            length: bytes of the weights.
            sums: ``None`` for sums that begin with their first product, see ``first_product_is_free``.

        Returns:
            the address behind the weights, and the sums.
        """
        weights, data = (Vectors(emit.opaque(v.address), v.alignment) for v in (weights, data))
        results = list(sums)
        loaded_weights: dict[int, Prepared] = {}
        loaded_data: dict[int, Prepared] = {}
        for p in products:
            if p.weights not in loaded_weights:
                address = emit.advance(weights.address, p.weights)
                loaded_weights[p.weights] = self.load_weights(address, element, weights.alignment)
            if p.data not in loaded_data:
                loaded_data[p.data] = self.load_data(emit.advance(data.address, p.data), element, data.alignment)
            results[p.sum] = self.mac(results[p.sum], loaded_data[p.data], loaded_weights[p.weights])
        return emit.advance(weights.address, length), results

    def load_pair(self, address: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Two neighbouring i32."""
        first, second = (emit.load_from(emit.advance(address, at), emit.i32(), 4) for at in (0, 4))
        return first, second

    def arrange(self, values: np.ndarray) -> np.ndarray:
        """The weights, whole vectors along the last axis, in the order in which ``load_weights`` wants them."""
        return values

    def prepare(self, values: ir.Value) -> Prepared:
        """A loaded vector of i8 or f32 in the form that ``mac`` multiplies; shared by all its multiplications."""
        type = ir.VectorType(values.type)
        if isinstance(type.element_type, ir.F32Type):
            return (values,)
        return (arith.extsi(emit.vector_type(type.shape[0], emit.i32()), values),)

    def mac(self, sums: ir.Value, a: Prepared, b: Prepared) -> ir.Value:
        """``sums += a * b``, lane by lane or all lanes into one."""
        if isinstance(ir.VectorType(a[0].type).element_type, ir.F32Type):
            return vector.FMAOp(a[0], b[0], sums).result
        return arith.addi(sums, arith.muli(a[0], b[0]))

    def hold(self, address: ir.Value) -> ir.Value:
        """An address where ``multiply`` and ``finish`` leave it alone."""
        return address

    def settle(self, weights: ir.Value, sums: Sequence[ir.Value]) -> tuple[ir.Value, list[ir.Value]]:
        """The address of weights and sums where ``multiply`` would leave them."""
        return weights, list(sums)

    def finishes(self, pixels: int, filters: int) -> bool:
        """Whether ``finish`` serves blocks of this size, where the quantization is the usual one."""
        return False

    def finish(
        self, sums: Sequence[ir.Value], parameters: ir.Value, output: ir.Value, results: Results
    ) -> tuple[ir.Value, ir.Value] | None:
        """Requantizes and stores the sums of a block of filters in a way of its own.

        Args:
            sums: of each pixel of the first filter, then of the next.
            parameters: address of the block's parameters, see ``FilterKernel.parameters``.
            output: address of the first result.

        Returns:
            the addresses of the next block's parameters and results, or ``None`` where there is no such way.
        """
        return None

    def pass_filters(self, passes: Passes, list: ir.Value, start: ir.Value, data: ir.Value) -> None:
        """Multiplies the inputs of a block of pixels by all filters, as a list of passes says; adds to their sums.

        Args:
            list, data: addresses of the first entry, and of the first pixel's inputs ahead of it.
            start: ``Passes.start`` of the first entry, i32.
        """
        raise NotImplementedError

    def finish_stored(
        self,
        what: Stored,
        ends: ir.Value | None,
        parameters: ir.Value,
        biases: ir.Value,
        sums: ir.Value,
        output: ir.Value,
    ) -> tuple[ir.Value, ir.Value] | None:
        """Requantizes sums in memory, stores the results, and leaves the biases there.

        Args:
            ends: whether this is a block of ``what.fewer``; None if there are none.
            parameters, biases, sums, output: addresses of the first filter's.

        Returns:
            addresses behind the parameters, and where the last parameter says; ``None`` if it cannot.
        """
        return None

    def pattern_lanes(self, results: int) -> int:
        """Results of a pixel, of so many in all, that are stored at once, at whatever address they have there."""
        return self.vector_bytes

    def store_constants(self, count: int, places: Sequence[int], parameters: ir.Value, output: ir.Value) -> bool:
        """Stores results that are the same at each of some pixels; whether it can.

        Args:
            count: results of each pixel.
            places: of each pixel's results, bytes behind the first pixel's.
            parameters: address of [count, 2] i32: result, and bytes to where the next one is stored.
            output: address of the first result of the first pixel.
        """
        return False

    def load_first(self, address: ir.Value, count: int, type: ir.VectorType) -> ir.Value:
        """The first ``count`` elements at an address, and zeros; no others are read."""
        return emit.load_first_from(address, count, type)

    def store_lanes(self, value: ir.Value, address: ir.Value, lanes: range) -> None:
        """Stores some neighbouring elements of a vector, each at its place from ``address`` on."""
        emit.store_lanes_to(value, address, lanes)

    def planes_of(self, quads: ir.Value) -> list[ir.Value]:
        """i32x16, four i8 of each of 16 pixels, in the form that ``multiply_quads`` takes: ``quad_vectors`` i32x16."""
        raise NotImplementedError

    def base_of_loads(self, address: ir.Value) -> ir.Value:
        """``address``, near which some vectors are loaded."""
        return address

    def load_quads(self, address: ir.Value, count: int) -> Iterator[QuadOfWeights]:
        """So many quads of weights from an address on, each loaded when it is asked for."""
        for number in range(count):
            yield self.prepare_quad(emit.load_from(emit.advance(address, WORD * number), emit.i32()))

    def prepare_quad(self, weights: ir.Value) -> QuadOfWeights:
        """i32, four i8 in it, in the form that ``multiply_quads`` takes."""
        raise NotImplementedError

    def multiply_quads(self, sums: ir.Value, pixels: Sequence[ir.Value], weights: QuadOfWeights) -> ir.Value:
        """``sums + pixels . weights``, wrapping: i32x16 of 16 pixels, each plus the four products of a quad.

        Args:
            pixels: i8x64 each, what ``planes_of`` made.
            weights: for all pixels, of ``load_quads``.
        """
        raise NotImplementedError

    def finish_pixels(self, sums: Sequence[ir.Value], scale: ir.Value, scaling: Scaling) -> list[ir.Value]:
        """i32x16 each of one filter -> i8x16: TOSA's rescale, clamped.

        Args:
            scale: address of the filter's row of ``pixel_scales``.
        """
        by = Requantization(*self.load_pair(scale), scaling.bounded, scaling.rectified)
        return [self.requantize(each, by, scaling.rescale, scaling.clamp) for each in sums]

    def pixel_scales(self, scaling: Scaling) -> np.ndarray:
        """[F, words] i32: what ``finish_pixels`` wants of each filter."""
        rescale = scaling.rescale
        return np.stack([rescale.multiplier.astype(np.int32), self.stored_shift(rescale)], axis=1)

    def total(self, sums: ir.Value) -> ir.Value:
        """The accumulator's lanes added up: i32 or f32."""
        element = ir.VectorType(sums.type).element_type
        return vector.ReductionOp(element, vector.CombiningKind.ADD, sums).result

    def multiply_channel(
        self, rows: Sequence[Sequence[int]], step: int, weights: ir.Value, data: ir.Value, sums: Sequence[ir.Value]
    ) -> list[ir.Value]:
        """The sums of one channel of a depthwise convolution at neighbouring pixels.

        Args:
            rows: of each kernel position, by row of the kernel, bytes from ``data`` to the first pixel's input.
            step: bytes from pixel to pixel of the inputs.
            weights: address of one i8 for each position.
            data: address of i8.
            sums: i32, what is added to.
        """
        raise NotImplementedError

    def store_channels(
        self, what: Channels, weights: ir.Value, parameters: ir.Value, data: ir.Value, output: ir.Value
    ) -> tuple[ir.Value, ir.Value]:
        """Stores the results of some channels of a depthwise convolution.

        Args:
            weights: address of i8, those of each position by channel.
            parameters: address of i32, see ``DepthwiseKernel.parameters``.
            data: address of the first pixel's inputs.
            output: address of the first pixel's results.

        Returns:
            addresses behind weights and parameters.
        """
        raise NotImplementedError

    def store_strided(self, values: ir.Value, address: ir.Value, stride: int) -> None:
        """Stores lane ``i`` of ``values`` ``i * stride`` elements behind ``address``."""
        type = ir.VectorType(values.type)
        for i in range(type.shape[0]):
            emit.store_to(emit.lane(values, i), emit.advance(address, i * stride, type.element_type))

    def stored_shift(self, rescale: Rescale) -> np.ndarray:
        """[F] int32: the shifts in the form that ``requantize`` wants them."""
        shift = rescale.shift.astype(np.int32)
        return shift - 32 if is_far(rescale) else shift

    def requantize(self, sums: ir.Value, by: Requantization, rescale: Rescale, clamp: Clamp) -> ir.Value:
        """i32 vector -> i8 vector with TOSA's arithmetic, offset by the zero point and clamped.

        Args:
            by: scalars or vectors of the sums' length.
            clamp: (min, max) within i8.
        """
        return self.narrow(self.scale(sums, by, rescale), rescale, clamp)

    def scale(self, sums: ir.Value, by: Requantization, rescale: Rescale) -> ir.Value:
        """i32 vector -> integer vector of the same length: TOSA's rescale before the zero point."""
        return self._scale_far(sums, by, rescale) if is_far(rescale) else _scale_any(sums, by, rescale)

    def narrow(self, value: ir.Value, rescale: Rescale, clamp: Clamp) -> ir.Value:
        """What ``scale`` returned as i8, offset by the zero point and clamped."""
        type = ir.VectorType(value.type)
        value = arith.addi(value, emit.splat(rescale.output_zero_point, type))
        value = emit.clamp(value, clamp)
        return arith.trunci(emit.vector_type(type.shape[0], ir.IntegerType.get_signless(8)), value)

    @property
    def affine_lanes(self) -> int:
        """Integers that ``apply_affine`` is given at once."""
        return self.lanes("i8")

    def apply_affine(self, integers: Sequence[ir.Value], affine: Affine, clamp: Clamp | None) -> ir.Value:
        """The affine form of vectors of integers, clamped within i8, as a vector of i8."""
        type = emit.vector_type(ir.VectorType(integers[0].type).shape[0], emit.i32())
        sums = emit.splat(affine.offset, type)
        for multiplier, value in zip(affine.multipliers, integers, strict=True):
            wide = value if value.type == type else arith.extsi(type, value)
            sums = arith.addi(sums, arith.muli(wide, emit.splat(multiplier, type)))
        value = arith.shrsi(sums, emit.splat(affine.shift, type))
        value = emit.clamp(value, clamp or (-128, 127))
        return arith.trunci(emit.vector_type(type.shape[0], ir.IntegerType.get_signless(8)), value)

    @property
    def sum_lanes(self) -> int:
        """Elements of i8 that a pool adds at once."""
        return self.affine_lanes

    @property
    def max_lanes(self) -> int:
        """Elements of i8 that ``maximum`` compares at once."""
        return self.vector_bytes

    def load_elements(self, source: ir.Value, at: Index, lanes: int) -> ir.Value:
        """``lanes`` neighbouring i8 in the form that ``maximum`` compares."""
        return emit.load(source, at, lanes)

    def maximum(self, a: ir.Value, b: ir.Value, lanes: int) -> ir.Value:
        """The larger ones of two times ``lanes`` i8."""
        return arith.maxsi(a, b)

    def store_elements(self, values: ir.Value, target: ir.Value, at: Index, lanes: int) -> None:
        """Stores what ``maximum`` returned."""
        emit.store(values, target, at)

    def store_scaled(
        self, values: Sequence[tuple[int, ir.Value]], address: ir.Value, stride: int, rescale: Rescale, clamp: Clamp
    ) -> None:
        """Narrows what ``scale`` returned and stores lane ``i`` of each value at its element plus ``i * stride``.

        Args:
            values: elements behind ``address``, and vectors.
        """
        for at, value in values:
            self.store_strided(self.narrow(value, rescale, clamp), emit.advance(address, at), stride)

    def _scale_far(self, sums: ir.Value, by: Requantization, rescale: Rescale) -> ir.Value:
        """``sums`` scaled where every shift goes beyond 31, in i32 after one wide multiplication.

        Single rounding truncates the product to its upper half and rounds in the shift. Double rounding also rounds
        the product, and takes one off a negative one, which makes the shift's ties go away from zero.
        """
        lanes = ir.VectorType(sums.type).shape[0]
        narrow, wide = emit.vector_type(lanes, emit.i32()), emit.vector_type(lanes, emit.i64())
        product = arith.muli(_widen(sums, wide), _widen(by.multiplier, wide))
        if rescale.rounding == "double":
            product = arith.addi(product, emit.splat(1 << 30, wide))
        value = arith.trunci(narrow, arith.shrui(product, emit.splat(31, wide)))
        if rescale.rounding == "double" and not by.rectified:
            value = arith.addi(value, arith.shrsi(value, emit.splat(31, narrow)))
        shift = by.shift if isinstance(by.shift.type, ir.VectorType) else emit.broadcast(by.shift, narrow)
        one = emit.splat(1, narrow)
        return arith.shrsi(arith.addi(arith.shrsi(value, shift), one), one)


def is_far(rescale: Rescale) -> bool:
    """Whether every shift goes beyond 31: the upper half of ``2 * sum * multiplier`` is all that is needed."""
    return bool((rescale.shift > 31).all())


def _scale_any(sums: ir.Value, by: Requantization, rescale: Rescale) -> ir.Value:
    """``sums`` scaled with any shifts, in i64: TOSA's formula as it stands."""
    wide = emit.vector_type(ir.VectorType(sums.type).shape[0], emit.i64())
    value, multiplier, shift = (_widen(v, wide) for v in (sums, by.multiplier, by.shift))
    one = emit.splat(1, wide)
    rounding = arith.shli(one, arith.subi(shift, one))
    if rescale.rounding == "double":
        positive = arith.cmpi(arith.CmpIPredicate.sge, value, emit.splat(0, wide))
        extra = arith.select(positive, emit.splat(1 << 30, wide), emit.splat(-(1 << 30), wide))
        far = arith.cmpi(arith.CmpIPredicate.sgt, shift, emit.splat(31, wide))
        rounding = arith.addi(rounding, arith.select(far, extra, emit.splat(0, wide)))
    return arith.shrsi(arith.addi(arith.muli(value, multiplier), rounding), shift)


def _widen(value: ir.Value, wide: ir.VectorType) -> ir.Value:
    """A scalar or vector of i32 as a vector of i64."""
    if isinstance(value.type, ir.VectorType):
        return arith.extsi(wide, value)
    return emit.broadcast(arith.extsi(emit.i64(), value), wide)
