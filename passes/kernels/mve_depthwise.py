"""A depthwise convolution on MVE: products of eight channels are added as i16 as long as they fit, and then as i32.

MVE multiplies lane by lane without adding. Sums of i16 take half the instructions of sums of i32, and weights tell how
many products one may hold: ``128 * sum(abs(weights))`` fits up to 255.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dtmm_mlir.passes.kernels.mve_assembly import Rounding, move

LANES = 8
"""Channels, lanes of i16; their even and their odd ones become vectors of i32."""

PIXELS = 2
"""Whose sums fit into registers."""

LARGEST = 255
"""Sum of the magnitudes of weights whose products with any i8 fit into i16."""

WEIGHTS, PARAMETERS, DATA, OUTPUT = "r0", "r1", "r2", "r3"
"""Addresses: loads that make i16 of i8 have them in lower registers only."""

ZERO_POINT = "r4"

_TOTALS = (("q0", "q1"), ("q2", "q3"))
_SUMS = ("q4", "q5")
_WEIGHT, _INPUT = "q6", "q7"
_HALVES = ("b", "t")
_REACH = 127
_VECTOR = 16


@dataclass(frozen=True)
class Channels:
    """Eight channels at one or two pixels.

    Attributes:
        inputs: of each kernel position, bytes from the first pixel's first input to those of each pixel.
        together: how many positions' products are added as i16, one after the other, before they are added as i32.
        stride: bytes from pixel to pixel of the results.
        rounding: as of ``mve_assembly.Finish``.
        zero_point: of the results.
    """

    inputs: tuple[tuple[int, ...], ...]
    together: tuple[int, ...]
    stride: int
    rounding: Rounding
    zero_point: int

    @property
    def _pixels(self) -> range:
        return range(len(self.inputs[0]))

    def assembly(self) -> list[str]:
        """The instructions; ``DATA`` and ``OUTPUT`` are anywhere in the end.

        ``WEIGHTS`` and ``PARAMETERS`` move on to the next eight channels. Weights are eight of each position;
        parameters bias, multiplier and shift of the even channels, four words each, then of the odd ones.
        """
        return [*self._products(), *self._scaled(), *self._stored()]

    def _products(self) -> Iterator[str]:
        loads = self._loads()
        first = 0
        for count in self.together:
            for position in range(first, first + count):
                yield f"vldrb.s16 {_WEIGHT}, [{WEIGHTS}], #{LANES}"
                for pixel in self._pixels:
                    yield from next(loads)
                    if position == first:
                        yield f"vmul.i16 {_SUMS[pixel]}, {_INPUT}, {_WEIGHT}"
                    else:
                        yield f"vmul.i16 {_INPUT}, {_INPUT}, {_WEIGHT}"
                        yield f"vadd.i16 {_SUMS[pixel]}, {_SUMS[pixel]}, {_INPUT}"
            for pixel in self._pixels:
                yield from self._widened(pixel, begun=first > 0)
            first += count

    def _loads(self) -> Iterator[list[str]]:
        """Of each input in turn; the address moves on to the next one's."""
        offsets = [offset for position in self.inputs for offset in position]
        lines = move(DATA, offsets[0])
        for at, following in zip(offsets, [*offsets[1:], offsets[-1]], strict=True):
            step = following - at
            if abs(step) <= _REACH:
                lines += [f"vldrb.s16 {_INPUT}, [{DATA}], #{step}" if step else f"vldrb.s16 {_INPUT}, [{DATA}]"]
            else:
                lines += [f"vldrb.s16 {_INPUT}, [{DATA}]", *move(DATA, step)]
            yield lines
            lines = []

    def _widened(self, pixel: int, begun: bool) -> Iterator[str]:
        for half, total in zip(_HALVES, _TOTALS[pixel], strict=True):
            if begun:
                yield f"vmovl{half}.s16 {_INPUT}, {_SUMS[pixel]}"
                yield f"vadd.i32 {total}, {total}, {_INPUT}"
            else:
                yield f"vmovl{half}.s16 {total}, {_SUMS[pixel]}"

    def _scaled(self) -> Iterator[str]:
        bias, multiplier, shift, sign = "q4", "q5", "q6", "q7"
        for half in range(len(_HALVES)):
            for vector in (bias, multiplier, shift):
                yield f"vldrw.u32 {vector}, [{PARAMETERS}], #{_VECTOR}"
            for total in (_TOTALS[pixel][half] for pixel in self._pixels):
                yield f"vadd.i32 {total}, {total}, {bias}"
                if self.rounding == "double":
                    yield f"vshr.s32 {sign}, {total}, #31"
                yield f"{'vqdmulh' if self.rounding == 'single' else 'vqrdmulh'}.s32 {total}, {total}, {multiplier}"
                if self.rounding == "double":
                    yield f"vqadd.s32 {total}, {total}, {sign}"
                yield f"vrshl.s32 {total}, {total}, {shift}"

    def _stored(self) -> Iterator[str]:
        for pixel in self._pixels:
            result = _SUMS[pixel]
            for half, total in zip(_HALVES, _TOTALS[pixel], strict=True):
                yield f"vqmovn{half}.s32 {result}, {total}"
            if self.zero_point:
                yield f"vqadd.s16 {result}, {result}, {ZERO_POINT}"
            yield f"vqmovnb.s16 {result}, {result}"
            yield f"vstrb.16 {result}, [{OUTPUT}]"
            if pixel < len(self._pixels) - 1:
                yield from move(OUTPUT, self.stride)
