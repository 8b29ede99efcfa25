"""Whether a kernel of ours is faster than stock IREE's."""

from __future__ import annotations

from dtmm_mlir.passes.cost import Convolution, costs_of, estimate, stock_estimate
from dtmm_mlir.passes.kernels.select import isa_of
from dtmm_mlir.passes.plan import choose
from dtmm_mlir.targets import Target


def is_worthwhile(conv: Convolution, target: Target) -> bool:
    """Whether ``conv`` is estimated to take no more instructions in our kernel than in stock IREE's.

    Integer convolutions are all taken: stock IREE requantizes in loops of its own, which no estimate here knows of. A
    float depthwise convolution is not: a filterlet is one weight there, and hardly a vector of channels has only pruned
    ones.
    """
    if conv.element_type == "i8":
        return True
    if conv.geometry.is_depthwise:
        return False
    isa, costs = isa_of(target.isa, target.vector_bytes), costs_of(target.isa, "f32")
    return estimate(conv, choose(conv, isa, costs), isa, costs) <= stock_estimate(conv, costs)
