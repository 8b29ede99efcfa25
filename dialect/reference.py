"""What a filterlet convolution computes, in plain numpy: the yardstick of every kernel."""

from __future__ import annotations

import numpy as np

from dtmm_mlir.dialect.ops import Clamp, Geometry, Rescale


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
