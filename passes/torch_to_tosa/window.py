"""Where windows of convolutions and pools lie, as TOSA wants them said."""

from __future__ import annotations

import dataclasses

from iree.compiler import ir

from dtmm_mlir.passes.base import PassError
from dtmm_mlir.passes.torch_to_tosa import build
from dtmm_mlir.passes.torch_to_tosa.operands import name_of, pair, python_value, shape_of

CONVOLUTIONS = ("aten.conv2d", "aten.conv2d.padding", "aten.convolution", "aten._convolution")
LINEARS = ("aten.linear", "aten.addmm", "aten.mm", "aten.matmul")
AVERAGE_POOLS = ("aten.avg_pool2d", "aten.adaptive_avg_pool2d", "aten._adaptive_avg_pool2d")


@dataclasses.dataclass(frozen=True)
class Window:
    """A window sliding over height and width.

    Attributes:
        kernel: height, width.
        stride: along H, W.
        dilation: along H, W.
        padding: top, bottom, left, right.
        output: height and width of the result.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]
    output: tuple[int, int] = (0, 0)


POINTWISE = Window((1, 1), (1, 1), (1, 1), (0, 0, 0, 0))
"""Of a linear layer seen as a 1x1 convolution."""


def fitted(op: ir.Operation, value: ir.Value, window: Window) -> tuple[ir.Value, Window]:
    """``value`` and ``window`` so that the last window ends exactly at the padded edge, as TOSA demands.

    Rows and columns that no window reads are taken from the trailing padding first, then sliced off.
    """
    size, padding, output = build.shape_of(value), list(window.padding), []
    for axis in (0, 1):
        reach = window.dilation[axis] * (window.kernel[axis] - 1) + 1
        span = size[1 + axis] + padding[2 * axis] + padding[2 * axis + 1] - reach
        if span < 0:
            raise PassError(op, f"the window of {reach} is larger than the padded input")
        padding[2 * axis + 1] -= span % window.stride[axis]
        size[1 + axis] += min(padding[2 * axis + 1], 0)
        padding[2 * axis + 1] = max(padding[2 * axis + 1], 0)
        output.append(span // window.stride[axis] + 1)
    cropped = build.slice_of(value, [0] * 4, size)
    top, bottom, left, right = padding
    return cropped, dataclasses.replace(window, padding=(top, bottom, left, right), output=(output[0], output[1]))


def convolution_window(op: ir.Operation) -> tuple[Window, int]:
    """Window and number of groups of a convolution.

    Raises:
        PassError: it is transposed, or not over two dimensions.
    """
    filters = shape_of(op.operands[1])
    if len(filters) != 4:
        raise PassError(op, f"a convolution over {len(filters) - 2} dimension(s); only two are supported")
    if name_of(op) in ("aten.convolution", "aten._convolution"):
        if python_value(op, 6):
            raise PassError(op, "transposed convolutions are not supported")
        groups = python_value(op, 8)
    else:
        groups = python_value(op, 6)
    kernel = (filters[2], filters[3])
    stride, dilation = pair(python_value(op, 3), (1, 1)), pair(python_value(op, 5), (1, 1))
    padding = _convolution_padding(python_value(op, 4), kernel, dilation)
    return Window(kernel, stride, dilation, padding), groups or 1


def _convolution_padding(
    padding: str | int | list[int] | None, kernel: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    if padding == "same":
        total = [step * (size - 1) for size, step in zip(kernel, dilation, strict=True)]
        return (total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2)
    vertical, horizontal = (0, 0) if isinstance(padding, str) else pair(padding, (0, 0))
    return (vertical, vertical, horizontal, horizontal)


def max_pool_window(op: ir.Operation) -> Window:
    """Window of ``aten.max_pool2d``.

    Raises:
        PassError: it is dilated, or rounds its output size up.
    """
    kernel = pair(python_value(op, 1), (1, 1))
    stride = pair(python_value(op, 2), kernel)
    vertical, horizontal = pair(python_value(op, 3), (0, 0))
    if pair(python_value(op, 4), (1, 1)) != (1, 1):
        raise PassError(op, "dilated pooling is not supported")
    window = Window(kernel, stride, (1, 1), (vertical, vertical, horizontal, horizontal))
    _reject_ceil_mode(op, window)
    return window


def average_pool_window(op: ir.Operation) -> tuple[Window, bool]:
    """Window of an average pool, and whether its padding counts as elements of value 0.

    Raises:
        PassError: ``ceil_mode``, ``divisor_override`` or an adaptive size that does not divide the input.
    """
    if name_of(op) != "aten.avg_pool2d":
        return _adaptive_window(op), False
    kernel = pair(python_value(op, 1), (1, 1))
    stride = pair(python_value(op, 2), kernel)
    vertical, horizontal = pair(python_value(op, 3), (0, 0))
    window = Window(kernel, stride, (1, 1), (vertical, vertical, horizontal, horizontal))
    _reject_ceil_mode(op, window)
    divisor = python_value(op, 6)
    if divisor not in (None, kernel[0] * kernel[1]):
        raise PassError(op, f"divisor_override={divisor} is not supported")
    counts = python_value(op, 5)
    return window, counts is None or bool(counts)


def _adaptive_window(op: ir.Operation) -> Window:
    size, output = shape_of(op.operands[0])[-2:], shape_of(op.results[0])[-2:]
    if any(inner % outer for inner, outer in zip(size, output, strict=True)):
        raise PassError(
            op,
            f"pools {size[0]}x{size[1]} to {output[0]}x{output[1]} with windows of several sizes; "
            "choose an output size that divides the input",
        )
    kernel = (size[0] // output[0], size[1] // output[1])
    return Window(kernel, kernel, (1, 1), (0, 0, 0, 0))


def _reject_ceil_mode(op: ir.Operation, window: Window) -> None:
    size, output = shape_of(op.operands[0])[-2:], shape_of(op.results[0])[-2:]
    for axis in (0, 1):
        padded = size[axis] + 2 * window.padding[2 * axis]
        if (padded - window.kernel[axis]) // window.stride[axis] + 1 != output[axis]:
            raise PassError(op, "ceil_mode=True makes windows that leave the input; it is not supported")
