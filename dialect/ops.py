"""Typed views of the filterlet ops: what their operands and attributes mean, as Python values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import constant_array

CONV = "filterlet.conv_2d"
PACKED_CONV = "filterlet.packed_conv_2d"
ADD = "filterlet.add"
MAX_POOL = "filterlet.max_pool_2d"
AVG_POOL = "filterlet.avg_pool_2d"

Rounding = Literal["single", "double"]


@dataclass(frozen=True)
class Geometry:
    """Shape of a 2-D convolution in NHWC / OHWI.

    Attributes:
        n, h, w, c: input batch, height, width, channels.
        f: output channels (filters).
        kh, kw: kernel size.
        strides, dilations: (vertical, horizontal).
        pads: (top, bottom, left, right), in pixels of the input's zero point.
        groups: filter ``i`` reads the ``c / groups`` channels of group ``i // (f / groups)``.
    """

    n: int
    h: int
    w: int
    c: int
    f: int
    kh: int
    kw: int
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    groups: int

    @cached_property
    def oh(self) -> int:
        """Output height; trailing rows that no window fits into are not read."""
        return (self.h + self.pads[0] + self.pads[1] - self.dilations[0] * (self.kh - 1) - 1) // self.strides[0] + 1

    @cached_property
    def ow(self) -> int:
        """Output width."""
        return (self.w + self.pads[2] + self.pads[3] - self.dilations[1] * (self.kw - 1) - 1) // self.strides[1] + 1

    @property
    def group_channels(self) -> int:
        """Input channels of one group, the length of one filterlet."""
        return self.c // self.groups

    @property
    def is_depthwise(self) -> bool:
        """Each filter reads one channel, and there are as many filters as channels."""
        return self.groups == self.c == self.f and self.c > 1

    @property
    def takes_pixels_alone(self) -> bool:
        """Each output pixel depends on the one input pixel at the same place."""
        return (self.kh, self.kw, self.strides) == (1, 1, (1, 1)) and not any(self.pads)

    @property
    def input_pixels(self) -> int:
        """Those of all images of the batch."""
        return self.n * self.h * self.w

    def in_rows_of(self, pixels: int) -> Geometry:
        """The same with rows of so many input pixels, which divide all, where it takes pixels alone; one image."""
        return replace(self, n=1, h=self.input_pixels // pixels, w=pixels)

    def rows_inside(self, ky: int) -> int:
        """Output rows whose window has its row ``ky`` inside the input, not in the padding."""
        return self._rows_inside[ky]

    @cached_property
    def _rows_inside(self) -> list[int]:
        rows = np.arange(self.oh) * self.strides[0] - self.pads[0] + np.arange(self.kh)[:, None] * self.dilations[0]
        return ((rows >= 0) & (rows < self.h)).sum(axis=1).tolist()

    @cached_property
    def padded_rows(self) -> frozenset[int]:
        """Kernel rows that lie in the padding at some output rows."""
        return frozenset(ky for ky in range(self.kh) if self.rows_inside(ky) < self.oh)

    @cached_property
    def row_zones(self) -> list[tuple[int, range]]:
        """Where other kernel rows are inside the input than above: the output row, and these kernel rows."""
        zones: list[tuple[int, range]] = []
        for y in range(self.oh):
            rows = y * self.strides[0] - self.pads[0] + np.arange(self.kh) * self.dilations[0]
            inside = np.flatnonzero((rows >= 0) & (rows < self.h))
            found = range(int(inside[0]), int(inside[-1]) + 1) if inside.size else range(0)
            if not zones or zones[-1][1] != found:
                zones.append((y, found))
        return zones

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        return (self.n, self.oh, self.ow, self.f)


@dataclass(frozen=True)
class Rescale:
    """Requantization of i32 sums to i8, TOSA's ``rescale`` (TOSA 1.0, section "Rescale").

    ``result = ((sum * multiplier + round) >> shift) + output_zero_point``, saturated to i8; ``round`` is
    ``1 << (shift - 1)``, to which "double" adds 2^30 with the sign of ``sum`` where ``shift > 31``.

    Attributes:
        multiplier: [F] int32, non-negative.
        shift: [F] int8, 2 to 62.
        output_zero_point: int8.
        rounding: "double" is TFLite's arithmetic, "single" fits PyTorch's better.
    """

    multiplier: np.ndarray
    shift: np.ndarray
    output_zero_point: int
    rounding: Rounding

    def attribute(self) -> ir.DictAttr:
        """The dictionary attribute that ``read`` reads."""
        i32 = ir.IntegerType.get_signless(32)
        return ir.DictAttr.get(
            {
                "multiplier": ir.DenseI32ArrayAttr.get([int(v) for v in self.multiplier]),
                "shift": ir.DenseI8ArrayAttr.get([int(v) for v in self.shift]),
                "output_zero_point": ir.IntegerAttr.get(i32, self.output_zero_point),
                "rounding": ir.StringAttr.get(self.rounding),
            }
        )

    @staticmethod
    def read(attribute: ir.Attribute) -> Rescale | None:
        """The record behind a ``rescale`` attribute; ``None`` for ``unit`` (the sums are the result)."""
        if isinstance(attribute, ir.UnitAttr):
            return None
        entries = ir.DictAttr(attribute)
        return Rescale(
            np.array(list(ir.DenseI32ArrayAttr(entries["multiplier"])), np.int32),
            np.array(list(ir.DenseI8ArrayAttr(entries["shift"])), np.int8),
            ir.IntegerAttr(entries["output_zero_point"]).value,
            ir.StringAttr(entries["rounding"]).value,  # type: ignore[arg-type]
        )

    def of(self, filters: np.ndarray) -> Rescale:
        """That of some filters, by their numbers."""
        return replace(self, multiplier=self.multiplier[filters], shift=self.shift[filters])


@dataclass(frozen=True)
class Removed:
    """Filters and input channels that a convolution had in the model and nothing depends on.

    Attributes:
        filters, channels: their numbers in the model, ascending.
    """

    filters: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()

    def with_more(self, filters: Sequence[int], channels: Sequence[int]) -> Removed:
        """With those, too, that have these numbers in what is left."""
        return Removed(_with_more(self.filters, filters), _with_more(self.channels, channels))

    def attribute(self) -> ir.DictAttr:
        """The dictionary attribute that ``read`` reads."""
        return ir.DictAttr.get({name: ir.DenseI64ArrayAttr.get(numbers) for name, numbers in vars(self).items()})

    @staticmethod
    def read(attribute: ir.Attribute) -> Removed:
        """The record behind a ``removed`` attribute."""
        entries = ir.DictAttr(attribute)
        return Removed(*(tuple(ir.DenseI64ArrayAttr(entries[name])) for name in ("filters", "channels")))


@dataclass(frozen=True)
class Affine:
    """An affine form of integers in 32 bits: ``(sum of multiplier * integer + offset) >> shift``, saturated to i8.

    Attributes:
        multipliers: one per integer, i32.
        offset: i32.
        shift: 2 to 24.
    """

    multipliers: tuple[int, ...]
    offset: int
    shift: int

    def reach(self, largest: int) -> int:
        """Largest magnitude ahead of the shift, where that of the integers is ``largest``."""
        return largest * sum(map(abs, self.multipliers)) + abs(self.offset)

    def attribute(self) -> ir.DictAttr:
        """The dictionary attribute that ``read`` reads."""
        i32 = ir.IntegerType.get_signless(32)
        return ir.DictAttr.get(
            {
                "multipliers": ir.DenseI32ArrayAttr.get(self.multipliers),
                "offset": ir.IntegerAttr.get(i32, self.offset),
                "shift": ir.IntegerAttr.get(i32, self.shift),
            }
        )

    @staticmethod
    def read(attribute: ir.Attribute) -> Affine:
        """The record behind an ``affine`` attribute."""
        entries = ir.DictAttr(attribute)
        multipliers = tuple(ir.DenseI32ArrayAttr(entries["multipliers"]))
        return Affine(multipliers, ir.IntegerAttr(entries["offset"]).value, ir.IntegerAttr(entries["shift"]).value)


Clamp = tuple[int, int] | tuple[float, float]


def clamp_attribute(clamp: Clamp | None) -> ir.Attribute:
    """``[min, max]`` as i32 or f32 attributes; ``unit`` for no clamp."""
    if clamp is None:
        return ir.UnitAttr.get()
    if isinstance(clamp[0], float):
        return ir.ArrayAttr.get([ir.FloatAttr.get(ir.F32Type.get(), v) for v in clamp])
    i32 = ir.IntegerType.get_signless(32)
    return ir.ArrayAttr.get([ir.IntegerAttr.get(i32, int(v)) for v in clamp])


def read_clamp(attribute: ir.Attribute) -> Clamp | None:
    """The limits behind a ``clamp`` attribute; ``None`` for ``unit``."""
    if isinstance(attribute, ir.UnitAttr):
        return None
    low, high = ir.ArrayAttr(attribute)
    return (low.value, high.value)


def _with_more(removed: tuple[int, ...], more: Sequence[int]) -> tuple[int, ...]:
    left = np.setdiff1d(np.arange(len(removed) + max(more, default=0) + 1), removed)
    return tuple(sorted((*removed, *left[list(more)].tolist())))


def _ints(op: ir.Operation, name: str) -> tuple[int, ...]:
    return tuple(ir.DenseI64ArrayAttr(op.attributes[name]))


def _shape(value: ir.Value) -> tuple[int, ...]:
    return tuple(ir.RankedTensorType(value.type).shape)


class _ConvView:
    """What both convolution ops have in common. Assumes a verified op."""

    def __init__(self, op: ir.Operation) -> None:
        self.op = op.operation

    @property
    def input(self) -> ir.Value:
        return self.op.operands[0]

    @property
    def result_type(self) -> ir.RankedTensorType:
        return ir.RankedTensorType(self.op.result.type)

    @cached_property
    def element_type(self) -> str:
        """``i8`` or ``f32``: what the input and the weights are made of."""
        return str(ir.RankedTensorType(self.input.type).element_type)

    @property
    def output_type(self) -> str:
        """``i8`` (rescaled), ``i32`` (sums) or ``f32``."""
        return str(self.result_type.element_type)

    @property
    def input_zero_point(self) -> int:
        return ir.IntegerAttr(self.op.attributes["input_zero_point"]).value

    @property
    def rescale(self) -> Rescale | None:
        return Rescale.read(self.op.attributes["rescale"])

    @property
    def clamp(self) -> Clamp | None:
        return read_clamp(self.op.attributes["clamp"])

    @cached_property
    def geometry(self) -> Geometry:
        """Its shape."""
        raise NotImplementedError

    @property
    def removed(self) -> Removed:
        """What it lost of what it had in the model."""
        return Removed.read(self.op.attributes["removed"]) if "removed" in self.op.attributes else Removed()

    @property
    def model_geometry(self) -> Geometry:
        """Its shape in the model."""
        g, removed = self.geometry, self.removed
        c, f = g.c + len(removed.channels), g.f + len(removed.filters)
        return replace(g, c=c, f=f, groups=c if g.is_depthwise else g.groups)

    def _geometry(self, f: int, kh: int, kw: int) -> Geometry:
        n, h, w, c = _shape(self.input)
        strides, dilations = _ints(self.op, "strides"), _ints(self.op, "dilations")
        pads = _ints(self.op, "pads")
        groups = ir.IntegerAttr(self.op.attributes["groups"]).value
        return Geometry(n, h, w, c, f, kh, kw, strides, dilations, pads, groups)  # type: ignore[arg-type]


class ConvView(_ConvView):
    """View of ``filterlet.conv_2d``."""

    @cached_property
    def weights(self) -> np.ndarray:
        """[F, KH, KW, C / groups], i8 or f32."""
        return constant_array(self.op.operands[1])  # type: ignore[return-value]

    @cached_property
    def bias(self) -> np.ndarray:
        """[F], i32 or f32."""
        return constant_array(self.op.operands[2])  # type: ignore[return-value]

    @cached_property
    def kept(self) -> np.ndarray:
        """[F, KH, KW] bool: which filterlets have a weight that is not zero."""
        return np.asarray(self.weights.any(axis=3))

    @cached_property
    def geometry(self) -> Geometry:
        f, kh, kw, _ = _shape(self.op.operands[1])
        return self._geometry(f, kh, kw)


class PackedConvView(_ConvView):
    """View of ``filterlet.packed_conv_2d``."""

    @cached_property
    def values(self) -> np.ndarray:
        """[runs, length], i8 or f32: the stored weights of each run, filter after filter."""
        return constant_array(self.op.operands[1])  # type: ignore[return-value]

    @cached_property
    def positions(self) -> np.ndarray:
        """[runs] i16: ``ky * KW + kx`` of each run's first filterlet."""
        return constant_array(self.op.operands[2])  # type: ignore[return-value]

    @cached_property
    def counts(self) -> np.ndarray:
        """[F] i16: runs of each filter; [1] for a depthwise convolution, whose runs hold all channels."""
        return constant_array(self.op.operands[3])  # type: ignore[return-value]

    @cached_property
    def bias(self) -> np.ndarray:
        """[F] i32 or f32, with the input's zero point folded in."""
        return constant_array(self.op.operands[4])  # type: ignore[return-value]

    @cached_property
    def geometry(self) -> Geometry:
        kh, kw = _ints(self.op, "kernel")
        return self._geometry(self.result_type.shape[3], kh, kw)

    @property
    def kept(self) -> int:
        """Filterlets that survived pruning."""
        return ir.IntegerAttr(self.op.attributes["kept"]).value

    @property
    def total(self) -> int:
        """Filterlets before pruning."""
        return ir.IntegerAttr(self.op.attributes["total"]).value


class AddView:
    """View of ``filterlet.add``. Assumes a verified op."""

    def __init__(self, op: ir.Operation) -> None:
        self.op = op.operation

    @property
    def affine(self) -> Affine:
        return Affine.read(self.op.attributes["affine"])

    @property
    def clamp(self) -> Clamp | None:
        return read_clamp(self.op.attributes["clamp"])

    @property
    def elements(self) -> int:
        """Of each operand and of the result."""
        return math.prod(_shape(self.op.result))


class PoolView:
    """View of ``filterlet.max_pool_2d`` and ``filterlet.avg_pool_2d``. Assumes a verified op."""

    def __init__(self, op: ir.Operation) -> None:
        self.op = op.operation

    @property
    def geometry(self) -> Geometry:
        """Of the depthwise convolution with the same windows; an average pool has no padding."""
        n, h, w, c = _shape(self.op.operands[0])
        kh, kw = _ints(self.op, "kernel")
        pads = _ints(self.op, "pads") if "pads" in self.op.attributes else (0, 0, 0, 0)
        return Geometry(n, h, w, c, c, kh, kw, _ints(self.op, "strides"), (1, 1), pads, c)  # type: ignore[arg-type]

    @property
    def affine(self) -> Affine:
        """What becomes of a window's sum, of an average pool."""
        return Affine.read(self.op.attributes["affine"])
