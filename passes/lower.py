"""``filterlet-lower``: emits one kernel per packed convolution, in the form that IREE compiles as it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, stream

from dtmm_mlir.dialect.constants import constant, walk
from dtmm_mlir.dialect.ops import PACKED_CONV, PackedConvView
from dtmm_mlir.passes.base import Pass
from dtmm_mlir.passes.cleanup import erase_unused
from dtmm_mlir.passes.kernels.conv import ConvKernel
from dtmm_mlir.passes.kernels.select import isa_of, kernel_of
from dtmm_mlir.targets import get_target


@dataclass
class LowerToStream(Pass):
    """Turns every ``filterlet.packed_conv_2d`` into a ``stream.executable`` and a ``flow.dispatch`` of it.

    Before ==> after::

        %y = "filterlet.packed_conv_2d"(%x, %values, %positions, %counts, %bias) {...}
        %r:2 = flow.dispatch @filterlet_0::@filterlet_0_table_3x3_64x32(%x, %values, %offsets, %parameters)

    The executable's function holds the loops (memref, scf, vector, intrinsics of the target). Its second result is the
    memory it works in, which nobody reads; IREE gives it a place in the transient arena, behind the first one's.

    Attributes:
        target: name of the target that the kernels are for.
    """

    name: ClassVar[str] = "filterlet-lower"
    target: str = "host"

    def run(self, module: ir.Module) -> None:
        target = get_target(self.target)
        isa = isa_of(target.isa, target.vector_bytes)
        taken = {op.attributes["sym_name"].value for op in walk(module, "stream.executable")}
        number = 0
        for op in walk(module, PACKED_CONV):
            while f"filterlet_{number}" in taken:
                number += 1
            _lower(module, PackedConvView(op), kernel_of(PackedConvView(op), isa), number)
            number += 1
        erase_unused(module)


def _lower(module: ir.Module, conv: PackedConvView, kernel: ConvKernel, number: int) -> None:
    g = conv.geometry
    executable = f"filterlet_{number}"
    function = f"{executable}_{kernel.plan.kernel}_{g.kh}x{g.kw}_{g.c}x{g.f}"
    row_buffer = [_tensor(kernel.buffer_size, kernel.row_type)] if kernel.buffer_size else []
    with conv.op.location:
        with ir.InsertionPoint(conv.op):
            constants = [constant(_not_empty(a)) for a in (kernel.values, kernel.offsets, kernel.parameters)]
        operands = [conv.input, *constants]
        results = [conv.result_type, *row_buffer]
        sizes = [(_elements(v.type), _element(v.type)) for v in operands] + [
            (_elements(t), _element(t)) for t in results
        ]
        with ir.InsertionPoint.at_block_begin(module.body):
            body = _executable(module, executable, function, len(sizes))
        with ir.InsertionPoint.at_block_begin(body):
            zero = arith.constant(ir.IndexType.get(), 0)
            buffers = [
                stream.BindingSubspanOp(ir.MemRefType.get([size], element), binding, zero, []).result
                for (size, element), binding in zip(sizes, body.arguments, strict=True)
            ]
            kernel.emit(*buffers[:4], rows=buffers[5] if row_buffer else None, output=buffers[4])
        with ir.InsertionPoint(conv.op):
            dispatch = ir.Operation.create(
                "flow.dispatch",
                results,
                operands,
                {
                    "entry_points": ir.ArrayAttr.get([ir.SymbolRefAttr.get([executable, function])]),
                    "operandSegmentSizes": ir.DenseI32ArrayAttr.get([0, len(operands), 0, 0]),
                },
            )
    conv.op.result.replace_all_uses_with(dispatch.results[0])
    conv.op.erase()


def _executable(module: ir.Module, name: str, function: str, bindings: int) -> ir.Block:
    """Inserts an executable with an empty function of ``bindings`` bindings; returns the function's block."""
    arguments = ", ".join(f"%b{i}: !stream.binding" for i in range(bindings))
    parsed = ir.Module.parse(f"""
      stream.executable private @{name} {{
        stream.executable.export public @{function} workgroups() -> (index, index, index) {{
          %one = arith.constant 1 : index
          stream.return %one, %one, %one : index, index, index
        }}
        builtin.module {{
          func.func @{function}({arguments}) attributes {{
            translation_info = #iree_codegen.translation_info<pipeline = #iree_codegen.no_pipeline>
          }} {{
            return
          }}
        }}
      }}""")
    executable = parsed.body.operations[0].operation.clone()
    (body,) = (op.regions[0].blocks[0] for op in walk(executable, "func.func"))
    return body


def _not_empty(array: np.ndarray) -> np.ndarray:
    """IREE has no empty bindings: a table of nothing gets one entry that nobody reads."""
    return array.reshape(-1) if array.size else np.zeros(1, array.dtype)


def _tensor(size: int, element: ir.Type) -> ir.Type:
    return ir.RankedTensorType.get([size], element)


def _elements(type: ir.Type) -> int:
    return int(np.prod(ir.RankedTensorType(type).shape))


def _element(type: ir.Type) -> ir.Type:
    return ir.RankedTensorType(type).element_type
