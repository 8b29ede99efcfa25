"""Build files and instructions that lie beside a compiled model."""

from __future__ import annotations

from pathlib import Path
from string import Template

from dtmm_mlir.targets import Target

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wundef")
CFLAGS = ("-std=c11", "-Os", "-ffunction-sections", "-fdata-sections", *WARNINGS, "-Idtmm/include", "-I.")
LINK_FLAGS = ("-nostartfiles", "-Wl,--gc-sections,-z,noexecstack", "-Lboard", "-Tboard/link.ld")

RUNTIME = ("dtmm_begin", "dtmm_call", "dtmm_check", "dtmm_copy", "dtmm_fill", "dtmm_status_text")


def sources(out: Path, name: str) -> list[tuple[str, str]]:
    """C files of the image below ``out`` and the names of their object files.

    The linker script tells runtime, schedule and the rest apart by these names.
    """
    board = sorted(path.name for path in (out / "board").glob("*.c"))
    return [
        (f"{name}.c", f"{name}_schedule.o"),
        *((f"dtmm/src/{stem}.c", f"{stem}.o") for stem in RUNTIME),
        *((f"board/{file}", file.replace(".c", ".o")) for file in board),
    ]


def defines(name: str) -> list[str]:
    """Macros by which the harness finds the model."""
    return [f'-DDTMM_HEADER="{name}.h"', f"-DDTMM_NAME={name}", f"-DDTMM_PREFIX={name.upper()}"]


def write(out: Path, name: str, query: str, target: Target, compiler: str) -> None:
    """Writes ``Makefile``, ``NAME.cmake`` and ``README.md``."""
    assert target.board is not None
    words = {
        "name": name,
        "prefix": name.upper(),
        "query": query,
        "target": target.name,
        "machine": target.board.machine,
        "compiler": compiler,
        "core_flags": " ".join(target.board.gcc_flags),
        "cflags": " ".join(CFLAGS),
        "link_flags": " ".join(LINK_FLAGS),
        "runtime": " ".join(f"dtmm/src/{stem}.c" for stem in RUNTIME),
        "cmake_runtime": "\n  ".join(f"${{CMAKE_CURRENT_LIST_DIR}}/dtmm/src/{stem}.c" for stem in RUNTIME),
    }
    for path, template in (("Makefile", _MAKEFILE), (f"{name}.cmake", _CMAKE), ("README.md", _README)):
        (out / path).write_text(Template(template).substitute(words))


_MAKEFILE = """\
# Builds lib$name.a to link into a firmware, and firmware.elf, the test image for QEMU's $machine.
CC := $compiler
AR := $$(CC:gcc=ar)
CORE := $core_flags
CFLAGS := $cflags
DEFINES := -DDTMM_HEADER='"$name.h"' -DDTMM_NAME=$name -DDTMM_PREFIX=$prefix

RUNTIME := $$(patsubst dtmm/src/%.c,build/%.o,$runtime)
BOARD := $$(patsubst board/%.c,build/%.o,$$(wildcard board/*.c))
MODEL := build/${name}_schedule.o ${name}_library.o $$(RUNTIME)

all: lib$name.a firmware.elf

lib$name.a: $$(MODEL)
	$$(AR) rcs $$@ $$^

firmware.elf: $$(MODEL) $$(BOARD) board/link.ld board/sections.ld
	$$(CC) $$(CORE) $link_flags $$(MODEL) $$(BOARD) -lm -o $$@

build/${name}_schedule.o: $name.c $name.h | build
	$$(CC) $$(CORE) $$(CFLAGS) -c $$< -o $$@

build/%.o: dtmm/src/%.c | build
	$$(CC) $$(CORE) $$(CFLAGS) -c $$< -o $$@

build/%.o: board/%.c | build
	$$(CC) $$(CORE) $$(CFLAGS) $$(DEFINES) -c $$< -o $$@

build:
	mkdir -p $$@

clean:
	rm -rf build lib$name.a

.PHONY: all clean
"""

_CMAKE = """\
# include() this from a firmware's CMakeLists.txt, then target_link_libraries(firmware PRIVATE $name).
add_library($name STATIC
  $${CMAKE_CURRENT_LIST_DIR}/$name.c
  $${CMAKE_CURRENT_LIST_DIR}/${name}_library.o
  $cmake_runtime
)
set_source_files_properties($${CMAKE_CURRENT_LIST_DIR}/${name}_library.o
  PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
target_include_directories($name PUBLIC $${CMAKE_CURRENT_LIST_DIR} $${CMAKE_CURRENT_LIST_DIR}/dtmm/include)
target_compile_features($name PUBLIC c_std_11)
"""

_README = """\
# $name for $target

| file | what it is |
|---|---|
| `$name.h`, `$name.c` | entry points, sizes as macros, the schedule, the weights |
| `${name}_library.o` | the compiled dispatches (`${name}_library.h` is IREE's header for it) |
| `dtmm/` | the C runtime: no allocation, no variables of its own |
| `Makefile`, `$name.cmake` | build `lib$name.a`; or compile `$name.c` and `dtmm/src/*.c` with your own flags |
| `board/`, `firmware.elf` | a test image for QEMU's $machine that reads `inputs.bin` and writes `outputs.bin` |
| `$name.vmfb` | the same model for IREE's own runtime |

## In a firmware

```c
#include "$name.h"

static uint8_t arena[${prefix}_ARENA_BYTES] __attribute__((aligned(${prefix}_ALIGNMENT)));
static uint8_t input[${prefix}_INPUT_0_BYTES] __attribute__((aligned(${prefix}_ALIGNMENT)));
static uint8_t output[${prefix}_OUTPUT_0_BYTES] __attribute__((aligned(${prefix}_ALIGNMENT)));

dtmm_status_t infer(void) {
  const void *const inputs[] = {input};
  void *const outputs[] = {output};
  return ${name}_run(arena, sizeof arena, inputs, outputs);
}
```

Call `${name}_init(arena, sizeof arena)` once before. Both return a `dtmm_status_t`; `DTMM_OK` is 0. The floating-point
and vector unit has to be on. Compile C with the same core flags: `$core_flags`.

## With IREE's runtime

`$name.vmfb` calls the same dispatches through IREE's VM and HAL. Register the static library with a loader:

```c
#include "iree/hal/drivers/local_sync/sync_device.h"
#include "iree/hal/local/loaders/static_library_loader.h"
#include "${name}_library.h"

iree_status_t create_device(iree_allocator_t allocator, iree_hal_device_t **device) {
  const iree_hal_executable_library_query_fn_t libraries[] = {$query};
  iree_hal_executable_loader_t *loader = NULL;
  IREE_RETURN_IF_ERROR(iree_hal_static_library_loader_create(
      IREE_ARRAYSIZE(libraries), libraries, iree_hal_executable_import_provider_null(), allocator, &loader));
  /* then create a local-sync device with this loader, and a VM context with $name.vmfb */
  ...
}
```
"""
