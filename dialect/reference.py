"""What the filterlet ops compute, in plain numpy: the yardstick of every kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dtmm_mlir.dialect.ops import Affine, Clamp, Geometry, Rescale


def convolve(x: np.ndarray, weights: np.ndarray, bias: np.ndarray, geometry: Geometry, zero_point: int) -> np.ndarray:
    """Sums of a grouped, strided, dilated, padded convolution.

    Args:
        x: [N, H, W, C] i8 or f32.
        weights: [F, KH, KW, C / groups], same dtype.
        bias: [F] i32 or f32.
        zero_point: of ``x``; padding holds it too. 0 for f32.

    Returns:
        [N, OH, OW, F]: i32, wrapping, for i8; f32, summed in f64, for f32.
    """
    g = geometry
    wide = np.int64 if x.dtype == np.int8 else np.float64
    top, bottom, left, right = g.pads
    padded = np.pad(x.astype(wide) - zero_point, ((0, 0), (top, bottom), (left, right), (0, 0)))
    sums = np.zeros(g.output_shape, wide)
    per_group = g.f // g.groups
    for ky in range(g.kh):
        for kx in range(g.kw):
            y0, x0 = ky * g.dilations[0], kx * g.dilations[1]
            rows = slice(y0, y0 + (g.oh - 1) * g.strides[0] + 1, g.strides[0])
            columns = slice(x0, x0 + (g.ow - 1) * g.strides[1] + 1, g.strides[1])
            window = padded[:, rows, columns].reshape(g.n, g.oh, g.ow, g.groups, g.group_channels)
            tap = weights[:, ky, kx].reshape(g.groups, per_group, g.group_channels).astype(wide)
            sums += np.einsum("nyxgc,gfc->nyxgf", window, tap).reshape(sums.shape)
    return (sums + bias).astype(bias.dtype)


def requantize(sums: np.ndarray, rescale: Rescale) -> np.ndarray:
    """[..., F] i32 sums to integers offset by the output's zero point, not yet saturated.

    Source: TOSA 1.0 specification, apply_scale_32.
    """
    value = sums.astype(np.int64)
    shift = rescale.shift.astype(np.int64)
    rounding = np.int64(1) << (shift - 1)
    if rescale.rounding == "double":
        rounding = rounding + np.where(shift > 31, np.where(value >= 0, 1 << 30, -(1 << 30)), 0)
    return ((value * rescale.multiplier.astype(np.int64) + rounding) >> shift) + rescale.output_zero_point


def conv_2d(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
    geometry: Geometry,
    zero_point: int = 0,
    rescale: Rescale | None = None,
    clamp: Clamp | None = None,
) -> np.ndarray:
    """``filterlet.conv_2d``: sums, then rescale to i8 if there is one, then clamp.

    Arguments and shapes as in :func:`convolve`; the result is [N, OH, OW, F] in i8, i32 or f32.
    """
    result = convolve(x, weights, bias, geometry, zero_point)
    if rescale is not None:
        result = np.clip(requantize(result, rescale), -128, 127)
    if clamp is not None:
        result = np.clip(result, *clamp)
    return result.astype(np.int8) if rescale is not None else result


def add(lhs: np.ndarray, rhs: np.ndarray, affine: Affine, clamp: Clamp | None = None) -> np.ndarray:
    """``filterlet.add`` of i8 arrays of equal shape, as i8."""
    result = apply_affine((lhs, rhs), affine)
    return result if clamp is None else np.clip(result, *clamp).astype(np.int8)


def max_pool_2d(x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """``filterlet.max_pool_2d``: [N, H, W, C] to [N, OH, OW, C], both i8."""
    return _windows(x, geometry, -128).max(axis=(-1, -2))


def avg_pool_2d(x: np.ndarray, geometry: Geometry, affine: Affine) -> np.ndarray:
    """``filterlet.avg_pool_2d``: [N, H, W, C] to [N, OH, OW, C], both i8."""
    return apply_affine((_windows(x, geometry, 0).sum(axis=(-1, -2), dtype=np.int64),), affine)


def apply_affine(integers: Sequence[np.ndarray], affine: Affine) -> np.ndarray:
    """The affine form of ``integers``, arrays of equal shape, as i8."""
    products = (m * x.astype(np.int64) for m, x in zip(affine.multipliers, integers, strict=True))
    return np.clip((sum(products) + affine.offset) >> affine.shift, -128, 127).astype(np.int8)


def _windows(x: np.ndarray, geometry: Geometry, padding: int) -> np.ndarray:
    """[N, OH, OW, C, KH, KW]: the windows of ``x``, around which lies ``padding``."""
    g, (top, bottom, left, right) = geometry, geometry.pads
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=padding)
    return np.lib.stride_tricks.sliding_window_view(padded, (g.kh, g.kw), (1, 2))[:, :: g.strides[0], :: g.strides[1]]
