"""Small helpers to write index arithmetic, loops and memory accesses at the current insertion point."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, llvm, memref, scf, vector

Index: TypeAlias = int | ir.Value
"""A number known while emitting, or an ``index`` value."""

_DYNAMIC = -(1 << 31)
"""Marks an index of ``llvm.getelementptr`` that is an operand."""


def index(value: Index) -> ir.Value:
    """``value`` as an ``index`` SSA value."""
    return arith.constant(ir.IndexType.get(), value) if isinstance(value, int) else value


def add(a: Index, b: Index) -> Index:
    """The sum; ``arith.addi`` only where it is not known."""
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    if isinstance(a, int) and a == 0:
        return b
    if isinstance(b, int) and b == 0:
        return a
    return arith.addi(index(a), index(b))


def sub(a: Index, b: Index) -> Index:
    """The difference; ``arith.subi`` only where it is not known."""
    if isinstance(a, int) and isinstance(b, int):
        return a - b
    return arith.subi(index(a), index(b))


def mul(a: Index, b: Index) -> Index:
    """The product; ``arith.muli`` only where it is not known."""
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    if (isinstance(a, int) and a == 0) or (isinstance(b, int) and b == 0):
        return 0
    if isinstance(a, int) and a == 1:
        return b
    if isinstance(b, int) and b == 1:
        return a
    return arith.muli(index(a), index(b))


def minimum(a: Index, b: Index) -> Index:
    """The smaller one, signed; ``arith.minsi`` only where it is not known."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return arith.minsi(index(a), index(b))


def loop(
    lower: Index,
    upper: Index,
    body: Callable[..., Sequence[ir.Value] | None],
    inits: Sequence[ir.Value] = (),
    step: int = 1,
    unroll: bool = True,
) -> list[ir.Value]:
    """``scf.for``; ``body(i, *carried)`` returns the next carried values. Returns the last ones.

    A loop of one iteration known while emitting becomes straight-line code.

    Args:
        unroll: whether LLVM may; it does not know how long assembly is.
    """
    if isinstance(lower, int) and isinstance(upper, int) and lower < upper <= lower + step:
        return list(body(lower, *inits) or ())
    end = index(upper)
    if not unroll:
        end = arith.index_cast(ir.IndexType.get(), opaque(arith.index_cast(i32(), end)))
    op = scf.ForOp(index(lower), end, index(step), list(inits))
    with ir.InsertionPoint(op.body):
        scf.YieldOp(list(body(op.induction_variable, *op.body.arguments[1:]) or ()))
    return list(op.results)


def branch(condition: ir.Value, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
    """``scf.if`` without results."""
    op = scf.IfOp(condition, has_else=True)
    for block, body in ((op.then_block, then), (op.else_block, otherwise)):
        with ir.InsertionPoint(block):
            body()
            scf.YieldOp([])


def i32() -> ir.Type:
    """The type ``i32``."""
    return ir.IntegerType.get_signless(32)


def i64() -> ir.Type:
    """The type ``i64``."""
    return ir.IntegerType.get_signless(64)


def vector_type(lanes: int, element: ir.Type) -> ir.VectorType:
    """``vector<LANESxELEMENT>``."""
    return ir.VectorType.get([lanes], element)


def splat(number: int | float, type: ir.Type) -> ir.Value:
    """A constant of ``type``, a scalar or a vector with equal lanes."""
    scalar = type.element_type if isinstance(type, ir.VectorType) else type
    kind = ir.FloatAttr.get(scalar, number) if isinstance(scalar, ir.F32Type) else ir.IntegerAttr.get(scalar, number)
    attribute = ir.DenseElementsAttr.get_splat(type, kind) if isinstance(type, ir.VectorType) else kind
    return arith.ConstantOp(type, attribute).result


def broadcast(scalar: ir.Value, type: ir.VectorType) -> ir.Value:
    """A vector whose lanes all are ``scalar``."""
    return vector.BroadcastOp(type, scalar).result


def load(buffer: ir.Value, at: Index, lanes: int) -> ir.Value:
    """``lanes`` neighbouring elements as a vector."""
    type = vector_type(lanes, ir.MemRefType(buffer.type).element_type)
    return vector.LoadOp(type, buffer, [index(at)]).result


def store(value: ir.Value, buffer: ir.Value, at: Index) -> None:
    """Stores a vector or a scalar."""
    if isinstance(value.type, ir.VectorType):
        vector.StoreOp(value, buffer, [index(at)])
    else:
        memref.StoreOp(value, buffer, [index(at)])


def load_first(buffer: ir.Value, at: Index, count: int, lanes: int) -> ir.Value:
    """``count`` neighbouring integers as the first ones of a vector of ``lanes``, whose others are zero."""
    if count == lanes:
        return load(buffer, at, lanes)
    type = vector_type(lanes, ir.MemRefType(buffer.type).element_type)
    return vector.MaskedLoadOp(type, buffer, [index(at)], _first(count, lanes), splat(0, type)).result


def store_first(value: ir.Value, buffer: ir.Value, at: Index, count: int) -> None:
    """Stores the first ``count`` lanes of a vector."""
    lanes = ir.VectorType(value.type).shape[0]
    if count == lanes:
        store(value, buffer, at)
    else:
        vector.MaskedStoreOp(buffer, [index(at)], _first(count, lanes), value)


def load_scalar(buffer: ir.Value, at: Index) -> ir.Value:
    """The element of a flat memref at an index."""
    return memref.LoadOp(buffer, [index(at)]).result


def lane(value: ir.Value, position: int) -> ir.Value:
    """One lane of a vector."""
    return vector.ExtractOp(value, [], [position]).result


def from_lanes(scalars: Sequence[ir.Value]) -> ir.Value:
    """A vector of the given scalars."""
    return vector.FromElementsOp(vector_type(len(scalars), scalars[0].type), list(scalars)).result


def intrinsic(result: ir.Type, name: str, *operands: ir.Value) -> ir.Value:
    """A call of an LLVM intrinsic."""
    return llvm.CallIntrinsicOp(result, name, list(operands), [], []).results_


def pointer(buffer: ir.Value, at: Index = 0) -> ir.Value:
    """The address of element ``at`` of a flat memref, as an ``!llvm.ptr``."""
    base = memref.ExtractAlignedPointerAsIndexOp(buffer).result
    address = llvm.IntToPtrOp(_pointer_type(), arith.index_cast(i64(), base)).result
    return advance(address, at, ir.MemRefType(buffer.type).element_type)


def advance(address: ir.Value, by: Index, element: ir.Type | None = None) -> ir.Value:
    """``address`` moved by ``by`` elements; bytes by default."""
    element = element or ir.IntegerType.get_signless(8)
    if isinstance(by, int):
        if by == 0:
            return address
        return llvm.GEPOp(_pointer_type(), address, [], [by], element, 0).result
    if isinstance(by.type, ir.IndexType):
        by = arith.index_cast(i64(), by)
    return llvm.GEPOp(_pointer_type(), address, [by], [_DYNAMIC], element, 0).result


def load_from(address: ir.Value, type: ir.Type, alignment: int = 1, volatile: bool = False) -> ir.Value:
    """A value of ``type`` at ``address``, which is a multiple of ``alignment`` bytes.

    Args:
        volatile: keep it one load.
    """
    return llvm.LoadOp(type, address, alignment=alignment, volatile_=volatile).result


def load_two_words(address: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Two neighbouring i32, loaded by one instruction where there is one."""
    both = load_from(address, i64(), 4, volatile=True)
    high = arith.shrui(both, splat(32, i64()))
    return arith.trunci(i32(), both), arith.trunci(i32(), high)


def store_once(value: ir.Value, buffer: ir.Value, at: Index, alignment: int) -> None:
    """Stores a vector or a scalar by itself, at an address that is a multiple of ``alignment`` bytes.

    Loops of such stores do not become calls of memset or memcpy: the library functions that IREE links on bare metal
    go byte by byte.
    """
    llvm.StoreOp(value, pointer(buffer, at), alignment=alignment, volatile_=True)


def store_to(value: ir.Value, address: ir.Value, alignment: int = 1) -> None:
    """Stores ``value`` at ``address``, which is a multiple of ``alignment`` bytes."""
    llvm.StoreOp(value, address, alignment=alignment)


def constant_vector(values: np.ndarray) -> ir.Value:
    """A vector constant of booleans or integers."""
    bits = 1 if values.dtype == bool else 8 * values.itemsize
    type = vector_type(len(values), ir.IntegerType.get_signless(bits))
    integers = [ir.IntegerAttr.get(type.element_type, int(value)) for value in values]
    return arith.ConstantOp(type, ir.DenseElementsAttr.get(integers, type)).result


def load_first_from(address: ir.Value, count: int, type: ir.VectorType) -> ir.Value:
    """The first ``count`` elements at an address, and zeros; no others are read."""
    lanes, element, result = type.shape[0], type.element_type, splat(0, type)
    for part in _powers_of_two(range(count)):
        values = load_from(advance(address, part.start, element), vector_type(len(part), element))
        widened = vector.ShuffleOp(values, values, [*range(len(part)), *[-1] * (lanes - len(part))]).result
        order = [lanes + lane - part.start if lane in part else lane for lane in range(lanes)]
        result = vector.ShuffleOp(result, widened, order).result
    return result


def store_lanes_to(value: ir.Value, address: ir.Value, lanes: range) -> None:
    """Stores some neighbouring elements of a vector, each at its place from ``address`` on."""
    element = ir.VectorType(value.type).element_type
    for part in _powers_of_two(lanes):
        store_to(vector.ShuffleOp(value, value, part).result, advance(address, part.start, element))


def _powers_of_two(lanes: range) -> Iterator[range]:
    """``lanes`` in parts, the longest first."""
    while lanes:
        count = 1 << len(lanes).bit_length() - 1
        yield lanes[:count]
        lanes = lanes[count:]


def load_masked(address: ir.Value, mask: ir.Value, type: ir.VectorType) -> ir.Value:
    """The elements at an address for which ``mask`` holds, and zeros; no others are read."""
    return llvm.MaskedLoadOp(type, address, mask, pass_thru=splat(0, type), alignment=1).result


def store_masked(value: ir.Value, address: ir.Value, mask: ir.Value) -> None:
    """Stores the elements of a vector for which ``mask`` holds, each at its place from ``address`` on."""
    llvm.MaskedStoreOp(value, address, mask, alignment=1)


def clamp(value: ir.Value, bounds: tuple[int, int]) -> ir.Value:
    """Signed integers, a scalar or a vector, within ``(least, most)``."""
    least, most = bounds
    return arith.minsi(arith.maxsi(value, splat(least, value.type)), splat(most, value.type))


def halves(value: ir.Value) -> list[ir.Value]:
    """The lower and the upper half of a vector."""
    lanes = range(ir.VectorType(value.type).shape[0])
    return [
        vector.ShuffleOp(value, value, part).result for part in (lanes[: len(lanes) // 2], lanes[len(lanes) // 2 :])
    ]


def concatenate(*values: ir.Value) -> ir.Value:
    """Vectors of the same type, two, four or more, in one."""
    while len(values) > 1:
        lanes = range(2 * ir.VectorType(values[0].type).shape[0])
        values = tuple(vector.ShuffleOp(a, b, lanes).result for a, b in zip(values[::2], values[1::2], strict=True))
    return values[0]


def opaque(value: ir.Value) -> ir.Value:
    """``value``, of which the compiler then knows nothing: it neither counts loops with it nor splits addresses."""
    return llvm.InlineAsmOp(value.type, [value], "", "=r,0").res


def at_once(values: Sequence[ir.Value]) -> list[ir.Value]:
    """The values, all of which are there before anything that follows is done with one of them."""
    if len(values) < 2:
        return list(values)
    struct = llvm.StructType.get_literal([value.type for value in values])
    constraints = ",".join([*["=r"] * len(values), *map(str, range(len(values))), "~{memory}"])
    op = llvm.InlineAsmOp(struct, list(values), "", constraints, has_side_effects=True)
    return [
        llvm.ExtractValueOp(value.type, op.res, ir.DenseI64ArrayAttr.get([i])).res for i, value in enumerate(values)
    ]


def larger_bytes(a: ir.Value, b: ir.Value) -> ir.Value:
    """The larger bytes, signed, of two words, with Arm's DSP extension; flags go from one instruction to the other."""
    return llvm.InlineAsmOp(a.type, [a, b], "ssub8 $0, $1, $2\nsel $0, $1, $2", "=&r,r,r").res


def assembly(
    lines: Sequence[str],
    results: Sequence[tuple[str, ir.Type, ir.Value | None]],
    clobbered: Sequence[str],
    inputs: Sequence[tuple[str, ir.Value]] = (),
) -> list[ir.Value]:
    """Instructions of the target that access memory.

    Args:
        results: register and type of each result, and what the register holds before, if that matters.
        inputs: registers that the instructions only read.
        clobbered: other registers that the instructions write.
    """
    struct = llvm.StructType.get_literal([type for _, type, _ in results])
    before = [(i, value) for i, (_, _, value) in enumerate(results) if value is not None]
    constraints = [
        *(f"={{{register}}}" for register, _, _ in results),
        *(str(i) for i, _ in before),
        *(f"{{{register}}}" for register, _ in inputs),
        *(f"~{{{register}}}" for register in clobbered),
        "~{memory}",
    ]
    op = llvm.InlineAsmOp(
        struct,
        [value for _, value in (*before, *inputs)],
        "\n".join(lines),
        ",".join(constraints),
        has_side_effects=True,
    )
    return [
        llvm.ExtractValueOp(type, op.res, ir.DenseI64ArrayAttr.get([i])).res for i, (_, type, _) in enumerate(results)
    ]


def only_on_arm() -> None:
    """A ``nop`` that only Arm's cores have.

    IREE evaluates kernels whose inputs are constants on the host. There this cannot be compiled, so that it fails;
    of assembly alone LLVM makes a kernel that computes nothing.
    """
    llvm.CallIntrinsicOp(None, "llvm.arm.hint", [splat(0, i32())], [], [])


def only_on_riscv() -> None:
    """A hint that only RISC-V cores have, for the reason of ``only_on_arm``."""
    llvm.CallIntrinsicOp(None, "llvm.riscv.pause", [], [], [])


def repeat(inits: Sequence[ir.Value], body: Callable[..., tuple[ir.Value, Sequence[ir.Value]]]) -> list[ir.Value]:
    """A loop that runs at least once: ``body(*carried)`` returns whether to go on and the next carried values."""
    types = [value.type for value in inits]
    op = scf.WhileOp(types, list(inits))
    before, after = (region.blocks.append(*types) for region in op.regions)
    with ir.InsertionPoint(before):
        again, values = body(*before.arguments)
        scf.ConditionOp(again, list(values))
    with ir.InsertionPoint(after):
        scf.YieldOp(list(after.arguments))
    return list(op.results)


def count_down(left: ir.Value) -> tuple[ir.Value, ir.Value]:
    """One turn less of ``left`` (i32, at least 1), and whether any is left; no hardware loop is made of it."""
    left = arith.subi(opaque(left), splat(1, i32()))
    return left, arith.cmpi(arith.CmpIPredicate.ne, left, splat(0, i32()))


def differ(a: ir.Value, b: ir.Value) -> ir.Value:
    """Whether two addresses differ."""
    return llvm.ICmpOp(1, a, b).result


def either(
    condition: ir.Value,
    types: Sequence[ir.Type],
    then: Callable[[], Sequence[ir.Value]],
    otherwise: Callable[[], Sequence[ir.Value]],
) -> list[ir.Value]:
    """The results of ``then`` where ``condition`` holds, and of ``otherwise`` where not; of ``types``."""
    op = scf.IfOp(condition, list(types), has_else=True)
    with ir.InsertionPoint(op.then_block):
        scf.YieldOp(list(then()))
    with ir.InsertionPoint(op.else_block):
        scf.YieldOp(list(otherwise()))
    return list(op.results)


def _first(count: int, lanes: int) -> ir.Value:
    """A mask of the first ``count`` lanes."""
    type = vector_type(lanes, ir.IntegerType.get_signless(1))
    return vector.CreateMaskOp(type, [index(count)]).result


def _pointer_type() -> ir.Type:
    return ir.Type.parse("!llvm.ptr")
