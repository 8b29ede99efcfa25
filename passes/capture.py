"""``filterlet-capture``: finds the convolutions with constant weights, and int8 additions and pools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from iree.compiler import ir

from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.passes import capture_add, capture_linalg, capture_mean, capture_pool, capture_tosa
from dtmm_mlir.passes.base import Pass, remark, warn
from dtmm_mlir.passes.captured import Check, Conv, NotCapturedError, NotWorthwhileError
from dtmm_mlir.passes.cleanup import erase_unused
from dtmm_mlir.passes.worth import is_worthwhile
from dtmm_mlir.targets import get_target

_CAPTURES: dict[str, Callable[[ir.Operation, Check], None]] = (
    capture_tosa.CAPTURES
    | capture_linalg.CAPTURES
    | capture_add.CAPTURES
    | capture_pool.CAPTURES
    | capture_mean.CAPTURES
)


@dataclass
class CaptureConv(Pass):
    """Turns convolutions with constant weights, and int8 additions and pools, into ops of the filterlet dialect.

    Before ==> after::

        %1 = tosa.conv2d %x, %w, %b, %xz, %wz ... -> tensor<1x16x16x32xi32>
        %2 = tosa.rescale %1 ... -> tensor<1x16x16x32xi8>
        %3 = tosa.clamp %2 ...
        %3 = "filterlet.conv_2d"(%x, %weights, %bias) {rescale = {...}, clamp = [...], ...}

    Captures ``tosa.conv2d`` and ``tosa.depthwise_conv2d`` (i8 and f32), with the ``rescale`` and ``clamp`` that are
    their only users and the ``pad`` or ``slice`` before them; linalg's named 2-D convolutions (NHWC and NCHW, dense
    and depthwise, plain and quantized) with their ``tensor.pad`` and initial value. A ``tosa.add`` of two int8 tensors
    that were rescaled to i32, with the ``rescale`` to i8 and the ``clamp`` behind it, becomes ``filterlet.add``; int8
    ``tosa.max_pool2d`` and ``tosa.avg_pool2d`` become pools, and so does a mean over height and width.

    Does not handle: weights that are computed at run time, other element types, transposed and 3-D convolutions,
    ``linalg.generic``. These are left to IREE, and a warning says so. Silently left to it are additions that
    broadcast or are not of int8 tensors, average pools with padding, and what has no affine form in 32 bits.

    Attributes:
        only: ``all`` of them, or the ``worthwhile`` ones, which are estimated to be no slower than in stock IREE.
        target: name of the target that ``worthwhile`` is estimated for.

    Raises:
        PassError: the weights have a zero point: pruned weights would not be zeros.
    """

    name: ClassVar[str] = "filterlet-capture"
    only: Literal["all", "worthwhile"] = "all"
    target: str = "host"

    def run(self, module: ir.Module) -> None:
        target = get_target(self.target)

        def check(conv: Conv) -> None:
            if self.only == "worthwhile" and not is_worthwhile(conv, target):
                kept = f"{conv.kept.sum()} of {conv.kept.size} filterlets are kept"
                raise NotWorthwhileError(f"{kept}, and IREE's own kernel is estimated to be faster on {target.name}")

        for op in walk(module, *_CAPTURES):
            try:
                _CAPTURES[op.name](op, check)
            except NotWorthwhileError as reason:
                remark(op, f"not captured: {reason}")
            except NotCapturedError as reason:
                warn(op, f"not captured, so compiled by IREE's own kernels: {reason}")
        erase_unused(module)
