"""``filterlet-capture``: finds the convolutions with constant weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.passes import capture_linalg, capture_tosa
from dtmm_mlir.passes.base import Pass, warn
from dtmm_mlir.passes.captured import NotCapturedError
from dtmm_mlir.passes.cleanup import erase_unused

_CAPTURES: dict[str, Callable[[ir.Operation], None]] = capture_tosa.CAPTURES | capture_linalg.CAPTURES


@dataclass
class CaptureConv(Pass):
    """Turns convolutions with constant weights, and what follows them, into ``filterlet.conv_2d``.

    Before ==> after::

        %1 = tosa.conv2d %x, %w, %b, %xz, %wz ... -> tensor<1x16x16x32xi32>
        %2 = tosa.rescale %1 ... -> tensor<1x16x16x32xi8>
        %3 = tosa.clamp %2 ...
        %3 = "filterlet.conv_2d"(%x, %weights, %bias) {rescale = {...}, clamp = [...], ...}

    Captures ``tosa.conv2d`` and ``tosa.depthwise_conv2d`` (i8 and f32), with the ``rescale`` and ``clamp`` that are
    their only users and the ``pad`` or ``slice`` before them; linalg's named 2-D convolutions (NHWC and NCHW, dense
    and depthwise, plain and quantized) with their ``tensor.pad`` and initial value.

    Does not handle: weights that are computed at run time, other element types, transposed and 3-D convolutions,
    ``linalg.generic``. These are left to IREE, and a warning says so.

    Raises:
        PassError: the weights have a zero point: pruned weights would not be zeros.
    """

    name: ClassVar[str] = "filterlet-capture"

    def run(self, module: ir.Module) -> None:
        for op in walk(module, *_CAPTURES):
            try:
                _CAPTURES[op.name](op)
            except NotCapturedError as reason:
                warn(op, f"not captured, so compiled by IREE's own kernels: {reason}")
        erase_unused(module)
