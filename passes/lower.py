"""``filterlet-lower``: emits one kernel per filterlet op, in the form that IREE compiles as it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, stream

from dtmm_mlir.dialect.constants import constant, walk
from dtmm_mlir.dialect.ops import ADD, AVG_POOL, MAX_POOL, PACKED_CONV, AddView, PackedConvView, PoolView
from dtmm_mlir.passes.base import Pass
from dtmm_mlir.passes.cleanup import erase_unused
from dtmm_mlir.passes.kernels.add import AddKernel
from dtmm_mlir.passes.kernels.isa import Isa
from dtmm_mlir.passes.kernels.pool import AvgPoolKernel, MaxPoolKernel
from dtmm_mlir.passes.kernels.select import isa_of, kernel_of
from dtmm_mlir.targets import get_target


@dataclass
class LowerToStream(Pass):
    """Turns packed convolutions, additions and pools into a ``stream.executable`` and a ``flow.dispatch`` of it each.

    Before ==> after::

        %y = "filterlet.packed_conv_2d"(%x, %values, %positions, %counts, %bias) {...}
        %r:2 = flow.dispatch @filterlet_0::@filterlet_0_table_3x3_64x32(%x, %values, %offsets, %parameters)

    The executable's function holds the loops (memref, scf, vector, intrinsics of the target). A convolution's second
    result is the memory it works in, which nobody reads; IREE gives it a place in the transient arena behind the first.

    Executables of convolutions are called ``filterlet_N``, as layer N of the manifest; others ``int8_N``.

    Does not handle: a ``filterlet.conv_2d`` (run ``filterlet-pack`` first).

    Attributes:
        target: name of the target that the kernels are for.
    """

    name: ClassVar[str] = "filterlet-lower"
    target: str = "host"

    def run(self, module: ir.Module) -> None:
        target = get_target(self.target)
        isa = isa_of(target.isa, target.vector_bytes)
        taken = {op.attributes["sym_name"].value for op in walk(module, "stream.executable")}
        for op in walk(module, *_LOWERINGS):
            kind = "filterlet" if op.name == PACKED_CONV else "int8"
            executable = next(name for n in count() if (name := f"{kind}_{n}") not in taken)
            taken.add(executable)
            _replace(module, op, executable, _LOWERINGS[op.name](op, isa))
        erase_unused(module)


@dataclass(frozen=True)
class _Call:
    """What an op is replaced by.

    Attributes:
        kernel: name of the kernel, the end of its function's name.
        inputs: operands of the op that the kernel reads.
        constants: further operands of the dispatch.
        memory: types of its results behind the op's own.
        replaced: which of ``inputs`` nobody else reads, so that the result takes its place; ``None`` for none.
        emit: writes the kernel's body, given the flat memrefs of all operands and results.
    """

    kernel: str
    emit: Callable[..., None]
    inputs: Sequence[ir.Value]
    constants: Sequence[np.ndarray] = ()
    memory: Sequence[ir.Type] = ()
    replaced: int | None = None


def _conv(op: ir.Operation, isa: Isa) -> _Call:
    kernel = kernel_of(PackedConvView(op), isa)
    g = kernel.geometry

    def emit(source: ir.Value, values: ir.Value, offsets: ir.Value, parameters: ir.Value, *results: ir.Value) -> None:
        kernel.emit(source, values, offsets, parameters, results[1] if memory else None, results[0])

    memory = [_tensor(kernel.buffer_size, kernel.row_type)] if kernel.buffer_size else []
    name = f"{kernel.plan.kernel}_{g.kh}x{g.kw}_{g.c}x{g.f}"
    return _Call(name, emit, op.operands[:1], (kernel.values, kernel.offsets, kernel.parameters), memory)


def _add(op: ir.Operation, isa: Isa) -> _Call:
    kernel = AddKernel(AddView(op), isa)
    mine = [i for i, value in enumerate(op.operands) if _is_read_once(value)]
    return _Call(f"add_{kernel.elements}", kernel.emit, op.operands, replaced=mine[0] if mine else None)


def _is_read_once(value: ir.Value) -> bool:
    """Whether a kernel computes ``value`` for one op alone, so that its place may be taken."""
    computed = not isinstance(value.owner, ir.Block) and value.owner.name == "flow.dispatch"
    return computed and len(list(value.uses)) == 1


def _pool(op: ir.Operation, isa: Isa) -> _Call:
    kernel = MaxPoolKernel(PoolView(op), isa) if op.name == MAX_POOL else AvgPoolKernel(PoolView(op), isa)
    g = kernel.geometry
    return _Call(f"{op.name.removeprefix('filterlet.')}_{g.kh}x{g.kw}_{g.c}", kernel.emit, op.operands)


_LOWERINGS: dict[str, Callable[[ir.Operation, Isa], _Call]] = {
    PACKED_CONV: _conv,
    ADD: _add,
    MAX_POOL: _pool,
    AVG_POOL: _pool,
}


def _replace(module: ir.Module, op: ir.Operation, executable: str, call: _Call) -> None:
    function = f"{executable}_{call.kernel}"
    with op.location:
        with ir.InsertionPoint(op):
            operands = [*call.inputs, *(constant(_varied(array)) for array in call.constants)]
        results = [op.result.type, *call.memory]
        tied = [] if call.replaced is None else [call.replaced]
        types = [*(value.type for value in operands), *results[len(tied) :]]
        with ir.InsertionPoint.at_block_begin(module.body):
            body = _executable(module, executable, function, len(types))
        with ir.InsertionPoint.at_block_begin(body):
            zero = arith.constant(ir.IndexType.get(), 0)
            buffers = [
                stream.BindingSubspanOp(ir.MemRefType.get([_elements(t)], _element(t)), binding, zero, []).result
                for t, binding in zip(types, body.arguments, strict=True)
            ]
            call.emit(*buffers, *(buffers[i] for i in tied))
        with ir.InsertionPoint(op):
            dispatch = ir.Operation.create(
                "flow.dispatch",
                results,
                operands,
                {
                    "entry_points": ir.ArrayAttr.get([ir.SymbolRefAttr.get([executable, function])]),
                    "operandSegmentSizes": ir.DenseI32ArrayAttr.get([0, len(operands), 0, 0]),
                    **({"tied_operands": ir.ArrayAttr.get([_index(i) for i in tied])} if tied else {}),
                },
            )
    op.result.replace_all_uses_with(dispatch.results[0])
    op.erase()


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


def _index(number: int) -> ir.Attribute:
    return ir.IntegerAttr.get(ir.IndexType.get(), number)


def _varied(array: np.ndarray) -> np.ndarray:
    """A table of nothing, or of equal numbers, with entries that nobody reads.

    IREE has no empty bindings, and what is equal throughout it writes to the transient arena at each inference.
    """
    flat = array.reshape(-1)
    return np.append(flat, [0, 1]).astype(array.dtype) if (flat == flat[:1]).all() else flat


def _tensor(size: int, element: ir.Type) -> ir.Type:
    return ir.RankedTensorType.get([size], element)


def _elements(type: ir.Type) -> int:
    return int(np.prod(ir.RankedTensorType(type).shape))


def _element(type: ir.Type) -> ir.Type:
    return ir.RankedTensorType(type).element_type
