"""Kernels whose blocks are of filters that need not be neighbours."""

from __future__ import annotations

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.filters import UPPER
from dtmm_mlir.passes.kernels.table import TableKernel


class GatheredKernel(TableKernel):
    """The last parameter of a filter, but of a block's first, tells in its lower half how far its results are from
    those of that first one."""

    @property
    def _filters_of_blocks(self) -> np.ndarray:
        raise NotImplementedError

    @property
    def _words(self) -> np.ndarray:
        words, filters = super()._words, self._filters_of_blocks
        words[:, 1:] = filters[:, 1:] - filters[:, :1] & (1 << UPPER) - 1
        return words

    @property
    def _packed(self) -> bool:
        return self.filters > 1 or super()._packed

    def _result(self, b: int, parameters: ir.Value, output: ir.Value) -> tuple[ir.Value, int]:
        if b == 0:
            return output, 0
        i16 = ir.IntegerType.get_signless(16)
        distance = arith.extsi(emit.i32(), arith.trunci(i16, self._parameter(parameters, b, 3)))
        return emit.advance(output, arith.index_cast(ir.IndexType.get(), distance), self._output_type), 0
