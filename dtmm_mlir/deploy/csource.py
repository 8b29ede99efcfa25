"""A schedule as C: ``NAME.h`` and ``NAME.c``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dtmm_mlir.deploy.library import Library
from dtmm_mlir.deploy.schedule import (
    ALIGNMENT,
    Copy,
    Dispatch,
    Fill,
    Kind,
    Range,
    Resource,
    Schedule,
    Step,
    Tensor,
    align,
)
from dtmm_mlir.errors import DtmmError

_MARK = 0x6D6D_7464
_MARK_BYTES = ALIGNMENT
_WORDS_PER_LINE = 8


class CSource:
    """Writes the C of one model.

    Args:
        name: what files, functions and (in capitals) macros start with.
        schedule: what to run.
        library: the compiled dispatches; its export table says which ordinal each has.

    Raises:
        DtmmError: the schedule and the library disagree.
    """

    def __init__(self, name: str, schedule: Schedule, library: Library) -> None:
        self.name = name
        self.prefix = name.upper()
        self.schedule = schedule
        self.library = library
        self._ranges: dict[tuple[Range, ...], str] = {}
        self._dispatches = schedule.dispatches
        for dispatch in self._dispatches:
            self._check(dispatch)

    def _check(self, dispatch: Dispatch) -> None:
        export = self.library.exports[self.library.ordinal(dispatch.name)]
        expected = (len(dispatch.bindings), len(dispatch.constants))
        if (export.binding_count, export.constant_count) != expected:
            raise DtmmError(
                f"function '{dispatch.name}' was compiled for {export.binding_count} bindings and "
                f"{export.constant_count} constants, but the schedule passes {expected[0]} and {expected[1]}."
            )

    @property
    def local_memory_bytes(self) -> int:
        """Scratch memory for the dispatch that asks for most."""
        asked = [self.library.exports[self.library.ordinal(d.name)].local_memory_bytes for d in self._dispatches]
        return max(asked, default=0)

    @property
    def _mark_offset(self) -> int:
        return self.schedule.arena_bytes

    @property
    def _local_memory_offset(self) -> int:
        return self._mark_offset + (_MARK_BYTES if self.schedule.initial_steps else 0)

    @property
    def arena_bytes(self) -> int:
        """The arena with everything in it; at least one alignment unit, as it may not be null."""
        return max(self._local_memory_offset + self.local_memory_bytes, ALIGNMENT)

    def header(self) -> str:
        """Contents of ``NAME.h``."""
        prefix, schedule = self.prefix, self.schedule
        constant_bytes = sum(len(constant) for constant in schedule.constants)
        lines = [
            f"/* Model '{self.name}': sizes and entry points. Written by dtmm-mlir. */",
            f"#ifndef DTMM_MODEL_{prefix}_H_",
            f"#define DTMM_MODEL_{prefix}_H_",
            "",
            '#include "dtmm/runtime.h"',
            "",
            "#ifdef __cplusplus",
            'extern "C" {',
            "#endif",
            "",
            "/* All sizes are in bytes. The arena, each input and each output start at a multiple of this. */",
            f"#define {prefix}_ALIGNMENT DTMM_ALIGNMENT",
            f"#define {prefix}_ARENA_BYTES {self.arena_bytes}u",
            f"#define {prefix}_CONSTANT_BYTES {constant_bytes}u",
            "",
            *self._tensor_macros("INPUT", schedule.inputs),
            "",
            *self._tensor_macros("OUTPUT", schedule.outputs),
            "",
            "/* Checks the library, the constants and the arena, and computes what later runs keep in the arena.",
            f" * Has to be called once before {self.name}_run if the arena is new. */",
            f"dtmm_status_t {self.name}_init(void *arena, size_t arena_size);",
            "",
            "/* One inference. Everything is checked again; outputs may not overlap inputs or the arena. */",
            *_prototype(
                f"dtmm_status_t {self.name}_run",
                "void *arena, size_t arena_size",
                "const void *const inputs[], void *const outputs[]",
            ),
            "",
            "#ifdef __cplusplus",
            "}",
            "#endif",
            "",
            f"#endif /* DTMM_MODEL_{prefix}_H_ */",
        ]
        return "\n".join(lines) + "\n"

    def _tensor_macros(self, kind: str, tensors: Sequence[Tensor]) -> list[str]:
        prefix = f"{self.prefix}_{kind}"
        lines = [f"#define {prefix}_COUNT {len(tensors)}"]
        for index, tensor in enumerate(tensors):
            shape = "x".join([*map(str, tensor.shape), tensor.element_type])
            lines.append(f"#define {prefix}_{index}_BYTES {tensor.bytes}u /* {shape} */")
        sizes = ", ".join(f"{prefix}_{index}_BYTES" for index in range(len(tensors)))
        lines.append(f"#define {prefix}_BYTES {{{sizes}}}")
        total = sum(align(tensor.bytes) for tensor in tensors)
        lines.append(f"#define {prefix}_TOTAL_BYTES {total}u /* each rounded up to the alignment */")
        return lines

    def source(self) -> str:
        """Contents of ``NAME.c``."""
        init, run = self._init_function(), self._run_function()
        table = self._dispatch_table()
        constants = self.schedule.constants
        lines = [
            f"/* Model '{self.name}': its schedule as straight-line code, its constants. Written by dtmm-mlir. */",
            f'#include "{self.name}.h"',
            "",
            "#include <string.h>",
            "",
            *_prototype(
                f"const dtmm_library_header_t **{self.library.query}",
                "uint32_t max_version",
                "const dtmm_environment_t *environment",
            ),
            "",
            *(f"static const uint32_t constants_{i}[{_words(data)}];" for i, data in enumerate(constants) if data),
            "",
            "enum {",
            *(f"  {name}," for name in [*map(_resource_name, self._resources()), "RESOURCE_COUNT"]),
            "};",
            "",
            *self._range_tables(),
            "",
            *table,
            "",
            *self._model_record(),
            "",
            "#define TRY(call)             \\",
            "  do {                        \\",
            "    status = (call);          \\",
            "    if (status != DTMM_OK) {  \\",
            "      return status;          \\",
            "    }                         \\",
            "  } while (0)",
            "",
            *init,
            "",
            *run,
        ]
        for index, data in enumerate(constants):
            if data:
                lines += ["", *_constant_array(index, data)]
        return "\n".join(lines) + "\n"

    def _resources(self) -> list[Resource]:
        schedule = self.schedule
        return [
            Resource(Kind.ARENA),
            *(Resource(Kind.CONSTANT, i) for i in range(len(schedule.constants))),
            *(Resource(Kind.INPUT, i) for i in range(len(schedule.inputs))),
            *(Resource(Kind.OUTPUT, i) for i in range(len(schedule.outputs))),
        ]

    def _range_name(self, *ranges: Range) -> str:
        """The array that holds ``ranges``; equal lists share one."""
        return self._ranges.setdefault(ranges, f"ranges_{len(self._ranges)}")

    def _range_tables(self) -> list[str]:
        lines = []
        for ranges, name in self._ranges.items():
            items = ", ".join(f"{{{_resource_name(r.resource)}, {r.offset}u, {r.length}u}}" for r in ranges)
            lines.append(f"static const dtmm_range_t {name}[] = {{{items}}};")
        return lines

    def _dispatch_table(self) -> list[str]:
        if not self._dispatches:
            return []
        tables, lines = [], ["static const dtmm_dispatch_t dispatches[] = {"]
        for index, dispatch in enumerate(self._dispatches):
            x, y, z = dispatch.workgroups
            constants = "NULL"
            if dispatch.constants:
                constants = f"dispatch_constants_{index}"
                values = ", ".join(f"{value}u" for value in dispatch.constants)
                tables.append(f"static const uint32_t {constants}[] = {{{values}}};")
            bindings = self._range_name(*dispatch.bindings) if dispatch.bindings else "NULL"
            lines += [
                f"    [{index}] = {{.ordinal = {self.library.ordinal(dispatch.name)}, "
                f".workgroup_count_x = {x}, .workgroup_count_y = {y}, .workgroup_count_z = {z},",
                f"            .binding_count = {len(dispatch.bindings)}, .constant_count = {len(dispatch.constants)}, "
                f".bindings = {bindings}, .constants = {constants}}},",
            ]
        return [*tables, *lines, "};"]

    def _model_record(self) -> list[str]:
        return [
            "static const dtmm_model_t model = {",
            f"    .query = {self.library.query},",
            f"    .dispatches = {'dispatches' if self._dispatches else 'NULL'},",
            f"    .dispatch_count = {len(self._dispatches)},",
            f"    .export_count = {len(self.library.exports)},",
            "    .resource_count = RESOURCE_COUNT,",
            f"    .arena_bytes = {self.prefix}_ARENA_BYTES,",
            f"    .local_memory_offset = {self._local_memory_offset},",
            f"    .local_memory_bytes = {self.local_memory_bytes},",
            "};",
        ]

    def _begin(self, pointers: dict[Kind, str]) -> list[str]:
        """Start of a function that runs steps: the resources and their checks."""
        lines = ["  uint8_t *const resources[RESOURCE_COUNT] = {"]
        for resource in self._resources():
            pointer = pointers[resource.kind].format(resource.index)
            if resource.kind is Kind.CONSTANT and not self.schedule.constants[resource.index]:
                pointer = pointers[Kind.ARENA]
            lines.append(f"      [{_resource_name(resource)}] = (uint8_t *)(uintptr_t){pointer},")
        return [
            *lines,
            "  };",
            "  dtmm_run_t run = {.model = &model, .resources = resources};",
            "  dtmm_status_t status;",
            "  TRY(dtmm_begin(&run, arena_size));",
        ]

    def _init_function(self) -> list[str]:
        # No initial step touches an input or output; the arena stands in for them.
        pointers = {Kind.ARENA: "arena", Kind.CONSTANT: "constants_{}", Kind.INPUT: "arena", Kind.OUTPUT: "arena"}
        lines = [
            f"dtmm_status_t {self.name}_init(void *arena, size_t arena_size) {{",
            *self._begin(pointers),
            *(_check(i, data) for i, data in enumerate(self.schedule.constants) if data),
            *self._calls(self.schedule.initial_steps, 0),
        ]
        if self.schedule.initial_steps:
            lines += [
                f"  const uint32_t mark = {_MARK:#x}u;",
                f"  memcpy((uint8_t *)arena + {self._mark_offset}, &mark, sizeof mark);",
            ]
        return [*lines, "  return DTMM_OK;", "}"]

    def _run_function(self) -> list[str]:
        pointers = {
            Kind.ARENA: "arena",
            Kind.CONSTANT: "constants_{}",
            Kind.INPUT: "inputs[{}]",
            Kind.OUTPUT: "outputs[{}]",
        }
        lines = [
            f"dtmm_status_t {self.name}_run(void *arena, size_t arena_size, const void *const inputs[], "
            "void *const outputs[]) {",
            "  if (inputs == NULL || outputs == NULL) {",
            "    return DTMM_ERROR_NULL_POINTER;",
            "  }",
            *self._begin(pointers),
        ]
        if self.schedule.initial_steps:
            lines += [
                f"  const uint32_t mark = {_MARK:#x}u;",
                f"  if (memcmp((const uint8_t *)arena + {self._mark_offset}, &mark, sizeof mark) != 0) {{",
                "    return DTMM_ERROR_NOT_INITIALIZED;",
                "  }",
            ]
        first = sum(isinstance(step, Dispatch) for step in self.schedule.initial_steps)
        return [*lines, *self._calls(self.schedule.steps, first), "  return DTMM_OK;", "}"]

    def _calls(self, steps: Iterable[Step], dispatch: int) -> list[str]:
        """One line per step; ``dispatch`` is the place of the first dispatch in the table."""
        lines = []
        for step in steps:
            if isinstance(step, Fill):
                target, pattern = self._range_name(step.target), int.from_bytes(step.pattern, "little")
                lines.append(f"  TRY(dtmm_fill(&run, {target}, {pattern:#x}ull, {len(step.pattern)}));")
            elif isinstance(step, Copy):
                source, target = self._range_name(step.source), self._range_name(step.target)
                lines.append(f"  TRY(dtmm_copy(&run, {source}, {target}));")
            else:
                lines.append(f"  TRY(dtmm_call(&run, &dispatches[{dispatch}])); /* {step.name} */")
                dispatch += 1
        return lines


def _prototype(name: str, *parameters: str) -> list[str]:
    """A declaration with each of ``parameters`` on a line."""
    separator = ",\n" + " " * (len(name) + 1)
    return f"{name}({separator.join(parameters)});".split("\n")


def _resource_name(resource: Resource) -> str:
    return "ARENA" if resource.kind is Kind.ARENA else f"{resource.kind.name}_{resource.index}"


def _words(data: bytes) -> int:
    return -(-len(data) // 4)


def _check(index: int, data: bytes) -> str:
    """The call that compares a constant's checksums."""
    words = _word_array(data)
    sums = np.cumsum(words, dtype=np.uint32)
    numbers = f"{len(words)}u, {int(sums[-1]):#x}u, {int(sums.sum(dtype=np.uint32)):#x}u"
    return f"  TRY(dtmm_check(constants_{index}, {numbers}));"


def _word_array(data: bytes) -> np.ndarray:
    return np.frombuffer(data.ljust(4 * _words(data), b"\0"), "<u4")


def _constant_array(index: int, data: bytes) -> list[str]:
    """Words rather than bytes: a C compiler reads them four times as fast. All targets are little-endian."""
    words = _word_array(data).tolist()
    rows = [words[start : start + _WORDS_PER_LINE] for start in range(0, len(words), _WORDS_PER_LINE)]
    return [
        f"static const uint32_t constants_{index}[{len(words)}] __attribute__((aligned(DTMM_ALIGNMENT))) = {{",
        *("    " + ", ".join(f"{word:#010x}" for word in row) + "," for row in rows),
        "};",
    ]
