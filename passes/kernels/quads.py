"""Between pixels with their channels side by side, and vectors of 16 pixels with four channels each."""

from __future__ import annotations

from collections.abc import Sequence

from iree.compiler import ir
from iree.compiler.dialects import vector

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Isa

LANES = 16
"""Pixels of a vector."""

QUAD = 4
"""Channels of a pixel in one lane, as bytes."""

CHANNELS = 16
"""Bytes of a pixel that are loaded and stored at once."""

_BYTES = LANES * QUAD
"""Of a vector of quads."""

_ANY = -1
"""In the order of a shuffle: an element that does not matter."""


def vector_of_quads() -> ir.VectorType:
    """``vector<16xi32>``: a quad of each pixel."""
    return emit.vector_type(LANES, emit.i32())


def load(isa: Isa, source: ir.Value, pixels: Sequence[Index], bytes: int, before: int = 0) -> list[ir.Value]:
    """Vectors of quads, as many as there are in ``bytes``, of up to 16 pixels.

    Args:
        source: flat memref of i8.
        pixels: where each one's bytes begin.
        bytes: of each pixel, at most 16.
        before: bytes before those that may be read; none after them are.
    """
    unwanted = CHANNELS - bytes if before >= CHANNELS - bytes else 0
    row = emit.vector_type(CHANNELS, _i8())
    rows = [isa.load_first(emit.pointer(source, emit.sub(at, unwanted)), bytes + unwanted, row) for at in pixels]
    rows += [emit.splat(0, row)] * (LANES - len(rows))
    parts = [emit.concatenate(*(rows[QUAD * part + i] for part in range(QUAD))) for i in range(QUAD)]
    if unwanted:
        order = [
            r + i if i < CHANNELS else _ANY
            for r in range(0, _BYTES, CHANNELS)
            for i in range(unwanted, unwanted + CHANNELS)
        ]
        parts = [vector.ShuffleOp(part, part, order).result for part in parts]
    return transpose([vector.BitCastOp(vector_of_quads(), part).result for part in parts])[: -(-bytes // QUAD)]


def load_dense(isa: Isa, source: ir.Value, at: Index, pixels: int, channels: int) -> ir.Value:
    """One vector of quads as ``load`` makes it, of neighbouring pixels with at most four channels each."""
    row = isa.load_first(emit.pointer(source, at), pixels * channels, emit.vector_type(_BYTES, _i8()))
    order = [lane * channels + i if i < channels else _ANY for lane in range(LANES) for i in range(QUAD)]
    return vector.BitCastOp(vector_of_quads(), vector.ShuffleOp(row, row, order).result).result


def _i8() -> ir.Type:
    return ir.IntegerType.get_signless(8)


def store(isa: Isa, pixels: Sequence[ir.Value], target: ir.Value, stride: int, bytes: int) -> None:
    """Stores the first bytes of each pixel, ``stride`` bytes from one to the next.

    Args:
        pixels: i8x16 each.
        target: address of the first.
    """
    for number, pixel in enumerate(pixels):
        isa.store_lanes(pixel, emit.advance(target, number * stride), range(bytes))


def pixels_of_quads(values: Sequence[ir.Value]) -> list[ir.Value]:
    """16 pixels as i8x16, of four vectors of their quads."""
    pixels = [_rows(part) for part in transpose(values)]
    return [pixels[p % QUAD][p // QUAD] for p in range(LANES)]


def pixels_of_channels(values: Sequence[ir.Value]) -> list[ir.Value]:
    """16 pixels as i8x16, of four i8x64 with 16 pixels of each of four channels."""
    words = emit.vector_type(_BYTES // 2, ir.IntegerType.get_signless(16))
    first, second = (
        [vector.BitCastOp(words, _interleave(a, b, 1, high)).result for high in (0, 1)]
        for a, b in (values[:2], values[2:])
    )
    pixels = list[ir.Value]()
    for low, high in zip(first, second, strict=True):
        for upper in (0, 1):  # four pixels: in each row of 16 bytes four channels of each, four apart
            four = vector.BitCastOp(vector_of_quads(), _interleave(low, high, 1, upper)).result
            four = vector.ShuffleOp(four, four, [QUAD * row + p for p in range(QUAD) for row in range(QUAD)]).result
            pixels += [_in_order(row) for row in _rows(four)]
    return pixels


def _in_order(pixel: ir.Value) -> ir.Value:
    """A pixel's channels 0, 4, 8, 12, 1, 5, ... one after the other."""
    return vector.ShuffleOp(pixel, pixel, [QUAD * (c % QUAD) + c // QUAD for c in range(CHANNELS)]).result


def _rows(part: ir.Value) -> list[ir.Value]:
    """The four i8x16 of a vector."""
    bytes = vector.BitCastOp(emit.vector_type(_BYTES, _i8()), part).result
    starts = range(0, _BYTES, CHANNELS)
    return [vector.ShuffleOp(bytes, bytes, list(range(at, at + CHANNELS))).result for at in starts]


def transpose(values: Sequence[ir.Value]) -> list[ir.Value]:
    """Four vectors of four rows of four: element ``j`` of row ``r`` of vector ``i`` becomes ``i`` of ``r`` of ``j``."""
    a, b, c, d = values
    ab, cd = [[_interleave(x, y, 1, high) for high in (0, 1)] for x, y in ((a, b), (c, d))]
    return [_interleave(ab[half], cd[half], 2, high) for half in (0, 1) for high in (0, 1)]


def _interleave(a: ir.Value, b: ir.Value, width: int, high: int) -> ir.Value:
    """Within each row of 16 bytes: ``width`` elements of ``a`` and of ``b`` in turn, of its lower or upper half."""
    lanes = ir.VectorType(a.type).shape[0]
    row = lanes // QUAD
    order = []
    for start in range(0, lanes, row):
        for k in range(row // 2 * high, row // 2 * (high + 1), width):
            order += [start + k + i for i in range(width)] + [lanes + start + k + i for i in range(width)]
    return vector.ShuffleOp(a, b, order).result
