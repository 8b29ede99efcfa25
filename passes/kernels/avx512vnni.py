"""x86-64 with AVX512 and VNNI."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from iree.compiler import ir

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.avxvnni import AvxVnni
from dtmm_mlir.passes.kernels.isa import QuadOfWeights
from dtmm_mlir.passes.kernels.quads import LANES

_NEAREST = 4
"""To round as the processor does by default: to the nearest, ties to even."""


class Avx512Vnni(AvxVnni):
    """512-bit vectors: 64 products of bytes, added up in fours, per instruction."""

    pixel_sums = 16
    sums_in_turn = 16
    quads = 16

    def load_first(self, address: ir.Value, count: int, type: ir.VectorType) -> ir.Value:
        return emit.load_masked(address, emit.constant_vector(np.arange(type.shape[0]) < count), type)

    def store_lanes(self, value: ir.Value, address: ir.Value, lanes: range) -> None:
        places = np.arange(ir.VectorType(value.type).shape[0])
        emit.store_masked(value, address, emit.constant_vector(np.isin(places, lanes)))

    def nearest_integers(self, value: ir.Value) -> ir.Value:
        integers, name = emit.vector_type(LANES, emit.i32()), "llvm.x86.avx512.mask.cvtps2dq.512"
        return emit.intrinsic(integers, name, value, emit.splat(0, integers), _all(), emit.splat(_NEAREST, emit.i32()))

    def saturate(self, value: ir.Value) -> ir.Value:
        bytes = emit.vector_type(LANES, ir.IntegerType.get_signless(8))
        return emit.intrinsic(bytes, "llvm.x86.avx512.mask.pmovs.db.512", value, emit.splat(0, bytes), _all())

    def multiply_quads(self, sums: ir.Value, pixels: Sequence[ir.Value], weights: QuadOfWeights) -> ir.Value:
        return emit.intrinsic(sums.type, "llvm.x86.avx512.vpdpbusd.512", sums, *pixels, *weights)


def _all() -> ir.Value:
    """The mask of all lanes."""
    return emit.splat(-1, ir.IntegerType.get_signless(16))
