"""The static schedule of a model, read from ``iree-compile --compile-to=executable-targets``.

At that phase IREE has decided everything: which dispatches run in which order, where each tensor lies in which
resource, and what the constants are. Reading is a small interpretation of the initializers and of the one
public function. An op that is not understood is an error that names it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from iree.compiler import ir

from dtmm_mlir.deploy.attributes import attribute_bytes
from dtmm_mlir.dialect.constants import defining_op, walk
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.passes.base import location_text

ALIGNMENT = 64
"""Bytes. IREE's dispatches assume that every resource starts at a multiple of it."""

_WRITE = 2  # bit of a dispatch's resource_accesses
_TOP_LEVEL = ("util.global", "hal.executable", "util.initializer", "util.func")


class Kind(enum.Enum):
    """Where a resource lives."""

    ARENA = "arena"
    CONSTANT = "constant"
    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True)
class Resource:
    """One of the buffers a run works on; there is one arena, and any number of the others."""

    kind: Kind
    index: int = 0


@dataclass(frozen=True)
class Range:
    """Part of a resource, in bytes."""

    resource: Resource
    offset: int
    length: int

    def part(self, offset: int, length: int) -> Range:
        """``length`` bytes from ``offset`` within this range."""
        if offset < 0 or offset + length > self.length:
            raise ValueError(f"bytes {offset} to {offset + length} of {self.length}")
        return Range(self.resource, self.offset + offset, length)


@dataclass(frozen=True)
class Fill:
    """Repeats ``pattern`` (as little-endian bytes) over ``target``."""

    target: Range
    pattern: bytes


@dataclass(frozen=True)
class Copy:
    """Copies ``source`` to ``target``, which is as long."""

    source: Range
    target: Range


@dataclass(frozen=True)
class Dispatch:
    """Calls one compiled function for every workgroup.

    Attributes:
        name: of the export in the static library.
        workgroups: how many in x, y and z.
        constants: 32-bit arguments.
        bindings: buffers in the order of the function's layout.
        accesses: of each binding: 1 it is read, 2 it is written, 3 both.
    """

    name: str
    workgroups: tuple[int, int, int]
    constants: tuple[int, ...]
    bindings: tuple[Range, ...]
    accesses: tuple[int, ...]


Step = Fill | Copy | Dispatch


@dataclass(frozen=True)
class Tensor:
    """Type of an input or output: ``shape``, MLIR element type (``i8``) and size in bytes."""

    shape: tuple[int, ...]
    element_type: str
    bytes: int


@dataclass
class Schedule:
    """Everything that running a model takes besides its dispatches' code.

    Attributes:
        function: name of the model's function.
        constants: contents of the constant resources.
        arena_bytes: size of the arena, without the local memory that the compiled library asks for.
        persistent_bytes: bytes at the arena's start that ``initial_steps`` fill for all later runs.
        inputs, outputs: in the order of the function's signature.
        initial_steps: run once before the first inference; usually none.
        steps: run at each inference.
    """

    function: str = ""
    constants: list[bytes] = field(default_factory=list)
    arena_bytes: int = 0
    persistent_bytes: int = 0
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    initial_steps: list[Step] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    @property
    def dispatches(self) -> list[Dispatch]:
        """All dispatches, initial ones first."""
        return [step for step in [*self.initial_steps, *self.steps] if isinstance(step, Dispatch)]


def read_schedule(module: ir.Module) -> Schedule:
    """The schedule of ``module``, which stopped after IREE's phase ``executable-targets``.

    Raises:
        DtmmError: the module holds something that cannot be scheduled statically; the message names the op.
    """
    return _Reader(module).read()


def align(size: int) -> int:
    """``size`` rounded up to the alignment of resources."""
    return -(-size // ALIGNMENT) * ALIGNMENT


class _Arena:
    """Places allocations at the lowest free offset; they are freed in any order."""

    def __init__(self) -> None:
        self._live: list[tuple[int, int]] = []
        self.peak = 0

    def allocate(self, size: int) -> int:
        offset = 0
        for start, end in sorted(self._live):
            if offset + size <= start:
                break
            offset = max(offset, align(end))
        self._live.append((offset, offset + size))
        self.peak = max(self.peak, align(offset + size))
        return offset

    def free(self, offset: int, size: int) -> None:
        self._live.remove((offset, offset + size))

    @property
    def live_end(self) -> int:
        """First byte after everything that is still allocated."""
        return align(max((end for _, end in self._live), default=0))


@dataclass(frozen=True)
class _Argument:
    """An argument of the function before it is imported as a tensor."""

    index: int


@dataclass(frozen=True)
class _Exported:
    """A result of the function."""

    source: Range
    tensor: Tensor


class _Timepoint:
    """A point in time. Steps run one after the other, so all have come when they are awaited."""


_TIMEPOINT = _Timepoint()


def _error(op: ir.Operation, message: str) -> DtmmError:
    return DtmmError(f"'{op.name}': {message}", location_text(op.location))


class _Reader:
    """Interprets the module's initializers and its function; values are ints, bytes, ranges or the above."""

    def __init__(self, module: ir.Module) -> None:
        self.module = module
        self.schedule = Schedule()
        self.values: dict[ir.Value, Any] = {}
        self.globals: dict[str, Any] = {}
        self.exports: dict[tuple[str, ...], ir.Operation] = {}
        self.arena = _Arena()
        self.constants: list[bytearray] = []
        self.steps: list[Step] = []
        self.outputs: dict[ir.Value, Resource] = {}
        self.initializing = False

    def read(self) -> Schedule:
        ops: dict[str, list[ir.Operation]] = {name: [] for name in _TOP_LEVEL}
        for view in self.module.body.operations:
            op = view.operation
            if op.name not in ops:
                raise _error(op, "this op has no place in a static schedule.")
            ops[op.name].append(op)
        for op in ops["util.global"]:
            self._declare_global(op)
        for op in ops["hal.executable"]:
            self._declare_executable(op)
        for op in ops["util.initializer"]:
            self._run_initializer(op)
        self.schedule.initial_steps, self.steps = self.steps, []
        self.schedule.persistent_bytes = self.arena.live_end
        public = [op for op in ops["util.func"] if _string(op, "sym_visibility", "public") == "public"]
        if len(public) != 1:
            names = ", ".join(_string(op, "sym_name") for op in public) or "none"
            raise DtmmError(f"the model must have exactly one public function; it has {names}.")
        self._run_function(public[0])
        self.schedule.steps = self.steps
        if not self.schedule.dispatches:
            raise DtmmError("the model computes nothing: its results are inputs or constants.")
        self.schedule.constants = [bytes(constant) for constant in self.constants]
        self.schedule.arena_bytes = self.arena.peak
        return self.schedule

    def _declare_global(self, op: ir.Operation) -> None:
        if "initial_value" in op.attributes:
            self.globals[_string(op, "sym_name")] = op.attributes["initial_value"]

    def _declare_executable(self, op: ir.Operation) -> None:
        for variant in _ops_named(op, "hal.executable.variant"):
            for export in _ops_named(variant, "hal.executable.export"):
                key = tuple(_string(inner, "sym_name") for inner in (op, variant, export))
                self.exports[key] = export

    def _run_initializer(self, op: ir.Operation) -> None:
        self.initializing = not any(walk(op, "stream.cmd.dispatch"))
        self._run_blocks(op)
        self.initializing = False

    def _run_function(self, op: ir.Operation) -> None:
        self.schedule.function = _string(op, "sym_name")
        block = op.regions[0].blocks[0]
        inputs: list[Tensor | None] = [None] * len(block.arguments)
        for index, argument in enumerate(block.arguments):
            self.values[argument] = _Argument(index)
            for use in argument.uses:
                user = use.owner.operation
                if user.name == "stream.tensor.import":
                    inputs[index] = self._tensor(user, "result_encoding")
        self.schedule.inputs = [
            self._declared_input(op, index) if tensor is None else tensor for index, tensor in enumerate(inputs)
        ]
        self._claim_outputs(op)
        for index, exported in enumerate(self._run_blocks(op)):
            if isinstance(exported, _Argument):  # handed through
                exported = self._exported_argument(exported)
            if not isinstance(exported, _Exported):
                raise _error(op, f"result {index} is not a tensor.")
            self.schedule.outputs.append(exported.tensor)
            target = Range(Resource(Kind.OUTPUT, index), 0, exported.tensor.bytes)
            if exported.source != target:
                self.steps.append(Copy(exported.source.part(0, exported.tensor.bytes), target))

    def _declared_input(self, op: ir.Operation, index: int) -> Tensor:
        """The type of an argument that is never read, from the signature IREE keeps as text."""
        reflection = ir.DictAttr(op.attributes["iree.reflection"]) if "iree.reflection" in op.attributes else {}
        text = ir.StringAttr(reflection["iree.abi.declaration"]).value if "iree.abi.declaration" in reflection else ""
        match = re.search(rf"%input{index}: (tensor<[^>]*>)", text)
        if match is None:
            raise _error(op, f"argument {index} is not a tensor.")
        return self._tensor_of(op, ir.Type.parse(match.group(1), op.context))

    def _exported_argument(self, argument: _Argument) -> _Exported:
        tensor = self.schedule.inputs[argument.index]
        return _Exported(Range(Resource(Kind.INPUT, argument.index), 0, tensor.bytes), tensor)

    def _claim_outputs(self, function: ir.Operation) -> None:
        """Lets allocations that are returned whole lie in the caller's buffers instead of the arena."""
        for returned in _ops_named(function, "util.return"):
            for index, value in enumerate(returned.operands):
                export = defining_op(value)
                if export is None or export.name != "stream.tensor.export":
                    continue
                source = _look_through_await(export.operands[0])
                alloca = defining_op(source)
                if alloca is not None and alloca.name == "stream.resource.alloca" and source not in self.outputs:
                    whole = self._constant(alloca.operands[0]) == self._tensor(export, "source_encoding").bytes
                    if whole:
                        self.outputs[source] = Resource(Kind.OUTPUT, index)

    def _constant(self, value: ir.Value) -> int | None:
        """An integer known before the interpretation reaches it."""
        op = defining_op(value)
        return _integer(op) if op is not None and op.name == "arith.constant" else None

    def _run_blocks(self, op: ir.Operation) -> list[Any]:
        """Runs the first region of ``op`` from its entry block; returns what it returns."""
        block = op.regions[0].blocks[0]
        while True:
            for view in block.operations:
                inner = view.operation
                if inner.name in ("util.return", "stream.yield", "hal.return"):
                    return [self._value(inner, operand) for operand in inner.operands]
                if inner.name in ("cf.br", "cf.cond_br"):
                    block = self._branch(inner)
                    break
                self._run_op(inner)
            else:
                raise _error(op, "a block of it does not end in a return or a branch.")

    def _branch(self, op: ir.Operation) -> ir.Block:
        """The block that a branch goes to, with its arguments set. The condition must be known."""
        if op.name == "cf.br":
            target, arguments = op.successors[0], list(op.operands)
        else:
            _, when_true, when_false = _segments(op)
            taken = bool(self._value(op, op.operands[0]))
            target, arguments = op.successors[0 if taken else 1], when_true if taken else when_false
        values = [self._value(op, argument) for argument in arguments]
        self.values.update(zip(target.arguments, values, strict=True))
        return target

    def _run_op(self, op: ir.Operation) -> None:
        handler = _HANDLERS.get(op.name)
        if handler is None:
            raise _error(op, "this op is not understood by the static scheduler.")
        results = handler(self, op)
        if results is None:
            results = []
        for result, value in zip(op.results, results, strict=True):
            self.values[result] = value

    def _value(self, op: ir.Operation, value: ir.Value) -> Any:
        try:
            return self.values[value]
        except KeyError:
            raise _error(op, "an operand of it is not known at compile time.") from None

    def _int(self, op: ir.Operation, value: ir.Value) -> int:
        known = self._value(op, value)
        if not isinstance(known, int):
            raise _error(op, "an operand of it is not an integer that is known at compile time.")
        return known

    def _range(self, op: ir.Operation, value: ir.Value) -> Range:
        known = self._value(op, value)
        if not isinstance(known, Range):
            raise _error(op, "an operand of it is not a resource in memory, or was deallocated.")
        return known

    def _part(self, op: ir.Operation, resource: ir.Value, offset: ir.Value, length: ir.Value) -> Range:
        try:
            return self._range(op, resource).part(self._int(op, offset), self._int(op, length))
        except ValueError as error:
            raise _error(op, f"it reaches outside its resource: {error}.") from None

    def _tensor(self, op: ir.Operation, attribute: str) -> Tensor:
        """The type in an encoding attribute of an import or export."""
        return self._tensor_of(op, ir.TypeAttr(op.attributes[attribute]).value)

    def _tensor_of(self, op: ir.Operation, encoding: ir.Type) -> Tensor:
        if not isinstance(encoding, ir.RankedTensorType) or not encoding.has_static_shape:
            raise _error(op, f"{encoding} is no tensor of static shape; give every dimension a size.")
        shape, element_type = tuple(encoding.shape), str(encoding.element_type)
        bits = {"i1": 8, "index": 0}.get(element_type, getattr(encoding.element_type, "width", 0))
        if bits % 8 != 0 or bits == 0:
            raise _error(op, f"elements of type {element_type} are not supported at a model's boundary.")
        return Tensor(shape, element_type, bits // 8 * int(np.prod(shape, dtype=np.int64)))

    # Values

    def _arith_constant(self, op: ir.Operation) -> list[Any]:
        return [_integer(op)]

    def _buffer_constant(self, op: ir.Operation) -> list[Any]:
        try:
            return [attribute_bytes(op.attributes["value"])]
        except ValueError as error:
            raise _error(op, f"{error}.") from None

    def _global_load(self, op: ir.Operation) -> list[Any]:
        name = ir.FlatSymbolRefAttr(op.attributes["global"]).value
        known = self.globals.get(name)
        if isinstance(known, ir.IntegerAttr):
            known = known.value
        if not isinstance(known, (int, Range)):
            raise _error(op, f"global @{name} is not known at compile time.")
        return [known]

    def _global_store(self, op: ir.Operation) -> None:
        self.globals[ir.FlatSymbolRefAttr(op.attributes["global"]).value] = self._value(op, op.operands[0])

    def _timepoint(self, op: ir.Operation) -> list[Any]:
        return [_TIMEPOINT]

    def _await(self, op: ir.Operation) -> list[Any]:
        resources, _, _ = _segments(op)
        return [self._value(op, resource) for resource in resources]

    def _nothing(self, op: ir.Operation) -> list[Any]:
        return [None] * len(op.results)

    # Resources

    def _try_map(self, op: ir.Operation) -> list[Any]:
        """Mapping a constant always works: it is read where it lies."""
        data, offset, size = (self._value(op, operand) for operand in op.operands)
        return [1, self._add_constant(data[offset : offset + size])]

    def _add_constant(self, data: bytes | bytearray) -> Range:
        self.constants.append(bytearray(data))
        return Range(Resource(Kind.CONSTANT, len(self.constants) - 1), 0, len(data))

    def _alloc(self, op: ir.Operation) -> list[Any]:
        return [self._allocate(op)]

    def _alloca(self, op: ir.Operation) -> list[Any]:
        return [self._allocate(op), _TIMEPOINT]

    def _allocate(self, op: ir.Operation) -> Range:
        size = self._int(op, op.operands[0])
        if self.initializing:
            return self._add_constant(bytes(size))
        if op.results[0] in self.outputs:
            return Range(self.outputs[op.results[0]], 0, size)
        return Range(Resource(Kind.ARENA), self.arena.allocate(size), size)

    def _dealloca(self, op: ir.Operation) -> list[Any]:
        freed = self._range(op, op.operands[0])
        if freed.resource.kind is Kind.ARENA:
            self.arena.free(freed.offset, freed.length)
            self.values[op.operands[0]] = None
        return [_TIMEPOINT]

    def _size(self, op: ir.Operation) -> list[Any]:
        return [self._range(op, op.operands[0]).length]

    def _subview(self, op: ir.Operation) -> list[Any]:
        source, _, offset, size = op.operands
        return [self._part(op, source, offset, size)]

    def _import(self, op: ir.Operation) -> list[Any]:
        argument = self._value(op, op.operands[0])
        if not isinstance(argument, _Argument):
            raise _error(op, "it imports something that is not an argument of the function.")
        return [Range(Resource(Kind.INPUT, argument.index), 0, self.schedule.inputs[argument.index].bytes)]

    def _export(self, op: ir.Operation) -> list[Any]:
        return [_Exported(self._range(op, op.operands[0]), self._tensor(op, "source_encoding"))]

    # Steps

    def _execute(self, op: ir.Operation) -> list[Any]:
        resources, _, _ = _segments(op)
        arguments = op.regions[0].blocks[0].arguments
        for argument, resource in zip(arguments, resources, strict=True):
            self.values[argument] = self._range(op, resource)
        self._run_blocks(op)
        return [_TIMEPOINT]

    def _nested(self, op: ir.Operation) -> None:
        self._run_blocks(op)

    def _add(self, op: ir.Operation, step: Step) -> None:
        """Appends a step, or carries it out now if all it does is to set up a constant."""
        if self.initializing:
            if isinstance(step, Dispatch):
                raise _error(op, "a dispatch cannot run at compile time.")
            self._evaluate(op, step)
        else:
            self.steps.append(step)

    def _check_writable(self, op: ir.Operation, target: Range) -> None:
        kinds = {Kind.INPUT} if self.initializing else {Kind.INPUT, Kind.CONSTANT}
        if target.resource.kind in kinds:
            raise _error(op, f"it writes to {target.resource.kind.value} {target.resource.index}, which is read-only.")

    def _evaluate(self, op: ir.Operation, step: Fill | Copy) -> None:
        if isinstance(step, Fill):
            data = step.pattern * (step.target.length // len(step.pattern))
        elif step.source.resource.kind is Kind.CONSTANT:
            source = self.constants[step.source.resource.index]
            data = bytes(source[step.source.offset : step.source.offset + step.source.length])
        else:
            raise _error(op, "its source is not known at compile time.")
        target = self.constants[step.target.resource.index]
        target[step.target.offset : step.target.offset + step.target.length] = data

    def _fill(self, op: ir.Operation) -> None:
        resource, _, offset, length, value = op.operands
        target = self._part(op, resource, offset, length)
        self._check_writable(op, target)
        bits = 8 if str(value.type) == "i1" else getattr(value.type, "width", 0)
        if bits not in (8, 16, 32, 64) or target.length % (bits // 8) != 0:
            raise _error(op, f"a pattern of type {value.type} over {target.length} bytes is not supported.")
        pattern = self._int(op, value) & ((1 << bits) - 1)
        self._add(op, Fill(target, pattern.to_bytes(bits // 8, "little")))

    def _copy(self, op: ir.Operation) -> None:
        source, _, source_offset, target, _, target_offset, length = op.operands
        to = self._part(op, target, target_offset, length)
        self._check_writable(op, to)
        self._add(op, Copy(self._part(op, source, source_offset, length), to))

    def _file_constant(self, op: ir.Operation) -> list[Any]:
        data, _, offset, length = (self._value(op, operand) for operand in op.operands)
        return [bytes(data[offset : offset + length])]

    def _file_read(self, op: ir.Operation) -> list[Any]:
        data, file_offset, target, _, target_offset, length = (self._value(op, o) for o in list(op.operands)[:6])
        part = target.part(target_offset, length)
        self._check_writable(op, part)
        self._add(op, Copy(self._add_constant(data[file_offset : file_offset + length]), part))
        return [_TIMEPOINT]

    def _dispatch(self, op: ir.Operation) -> None:
        workload, uniforms, resources, _, offsets, lengths = _segments(op)
        accesses = [ir.IntegerAttr(access).value for access in ir.ArrayAttr(op.attributes["resource_accesses"])]
        entry_points = list(ir.ArrayAttr(op.attributes["entry_points"]))
        if len(entry_points) != 1:
            raise _error(op, "it has several variants; compile for one target.")
        export = self.exports[tuple(ir.SymbolRefAttr(entry_points[0]).value)]
        bindings = []
        for resource, offset, length, access in zip(resources, offsets, lengths, accesses, strict=True):
            binding = self._part(op, resource, offset, length)
            if access & _WRITE:
                self._check_writable(op, binding)
            bindings.append(binding)
        for uniform in uniforms:
            if str(uniform.type) != "i32":
                raise _error(op, f"its constant of type {uniform.type} is not an i32.")
        constants = tuple(self._int(op, uniform) & 0xFFFF_FFFF for uniform in uniforms)
        dispatch = Dispatch(
            _string(export, "sym_name"),
            self._workgroups(export, [self._int(op, value) for value in workload]),
            constants,
            tuple(bindings),
            tuple(accesses),
        )
        self._add(op, dispatch)

    def _workgroups(self, export: ir.Operation, workload: Sequence[int]) -> tuple[int, int, int]:
        """Evaluates the export's workgroup count for a workload."""
        regions = [region for region in export.regions if len(list(region.blocks)) > 0]
        if len(regions) != 1:
            raise _error(export, "it needs one region that computes its workgroup count and no condition.")
        block = regions[0].blocks[0]
        for argument, value in zip(list(block.arguments)[1:], workload, strict=True):
            self.values[argument] = value
        for view in block.operations:
            op = view.operation
            if op.name == "hal.return":
                x, y, z = (self._int(op, operand) for operand in op.operands)
                return x, y, z
            self._run_op(op)
        raise _error(export, "its workgroup count is not returned.")

    def _binary(self, op: ir.Operation) -> list[Any]:
        left, right = (self._int(op, operand) for operand in op.operands)
        return [_ARITHMETIC[op.name](left, right)]


def _string(op: ir.Operation, name: str, default: str = "") -> str:
    return ir.StringAttr(op.attributes[name]).value if name in op.attributes else default


def _integer(op: ir.Operation) -> int:
    """The value of an ``arith.constant``; a float as its bits, a boolean as 0 or 1."""
    attribute = op.attributes["value"]
    if isinstance(attribute, ir.BoolAttr):
        return int(attribute.value)
    if isinstance(attribute, ir.IntegerAttr):
        return attribute.value
    if isinstance(attribute, ir.FloatAttr) and str(attribute.type) in ("f32", "f64"):
        width = {"f32": np.float32, "f64": np.float64}[str(attribute.type)]
        return int.from_bytes(np.array(attribute.value, width).tobytes(), "little")
    raise _error(op, f"a constant of type {op.results[0].type} is not supported.")


def _ops_named(op: ir.Operation, name: str) -> list[ir.Operation]:
    """Direct children of ``op`` called ``name``."""
    return [
        inner.operation
        for region in op.regions
        for block in region
        for inner in block.operations
        if inner.operation.name == name
    ]


def _look_through_await(value: ir.Value) -> ir.Value:
    """The resource that ``stream.timepoint.await`` passes on."""
    op = defining_op(value)
    if op is None or op.name != "stream.timepoint.await":
        return value
    return op.operands[list(op.results).index(value)]


def _segments(op: ir.Operation) -> list[list[ir.Value]]:
    """Operands grouped as ``operandSegmentSizes`` says."""
    sizes = list(ir.DenseI32ArrayAttr(op.attributes["operandSegmentSizes"]))
    operands = list(op.operands)
    groups = []
    for size in sizes:
        groups.append(operands[:size])
        operands = operands[size:]
    return groups


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "arith.addi": lambda a, b: a + b,
    "arith.subi": lambda a, b: a - b,
    "arith.muli": lambda a, b: a * b,
    "arith.divui": lambda a, b: a // b,
    "arith.ceildivui": lambda a, b: -(-a // b),
    "arith.remui": lambda a, b: a % b,
    "arith.minui": min,
    "arith.maxui": max,
}

_HANDLERS: dict[str, Callable[[_Reader, ir.Operation], list[Any] | None]] = {
    "arith.constant": _Reader._arith_constant,
    "util.buffer.constant": _Reader._buffer_constant,
    "util.global.load": _Reader._global_load,
    "util.global.store": _Reader._global_store,
    "hal.buffer_view.assert": _Reader._nothing,
    "hal.element_type": _Reader._nothing,
    "hal.encoding_type": _Reader._nothing,
    "stream.timepoint.immediate": _Reader._timepoint,
    "stream.timepoint.join": _Reader._timepoint,
    "stream.timepoint.await": _Reader._await,
    "stream.resource.try_map": _Reader._try_map,
    "stream.resource.alloc": _Reader._alloc,
    "stream.resource.alloca": _Reader._alloca,
    "stream.resource.dealloca": _Reader._dealloca,
    "stream.resource.size": _Reader._size,
    "stream.resource.subview": _Reader._subview,
    "stream.file.constant": _Reader._file_constant,
    "stream.file.read": _Reader._file_read,
    "stream.tensor.import": _Reader._import,
    "stream.tensor.export": _Reader._export,
    "stream.cmd.execute": _Reader._execute,
    "stream.cmd.serial": _Reader._nested,
    "stream.cmd.concurrent": _Reader._nested,
    "stream.cmd.flush": _Reader._nothing,
    "stream.cmd.invalidate": _Reader._nothing,
    "stream.cmd.discard": _Reader._nothing,
    "stream.cmd.fill": _Reader._fill,
    "stream.cmd.copy": _Reader._copy,
    "stream.cmd.dispatch": _Reader._dispatch,
    **dict.fromkeys(_ARITHMETIC, _Reader._binary),
}
