/* The part of IREE's executable-library ABI, version 0.6, that the runtime uses.
 *
 * iree-compile emits a static library with one function, NAME_library_query, that returns a description of
 * the dispatch functions in it. This header declares that description's layout; it is a contract between
 * compiler and runtime, so every offset is asserted below for 32-bit and 64-bit pointers. Fields that the
 * runtime neither reads nor sets are declared as opaque pointers.
 */
#ifndef DTMM_EXECUTABLE_LIBRARY_H_
#define DTMM_EXECUTABLE_LIBRARY_H_

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The one version of the ABI that this header describes. */
#define DTMM_LIBRARY_VERSION 6u

/* Bytes of one page of dispatch-local memory. */
#define DTMM_LOCAL_MEMORY_PAGE_BYTES 4096u

/* First thing a library says about itself. */
typedef struct dtmm_library_header {
  uint32_t version;
  const char *name;
  uint32_t features;
  uint32_t sanitizer;
} dtmm_library_header_t;

/* What a library may use of its surroundings. The runtime offers nothing: all members are zero. */
typedef struct dtmm_environment {
  const uint32_t *constants;
  const void *import_thunk;
  const void *import_functions;
  const void *import_contexts;
  uint64_t processor[8];
} dtmm_environment_t;

/* The arguments of a dispatch, the same for all its workgroups. */
typedef struct dtmm_dispatch_state {
  uint32_t workgroup_size_x;
  uint32_t workgroup_size_y;
  uint16_t workgroup_size_z;
  uint16_t constant_count;
  uint32_t workgroup_count_x;
  uint32_t workgroup_count_y;
  uint16_t workgroup_count_z;
  uint8_t max_concurrency;
  uint8_t binding_count;
  const uint32_t *constants;
  void *const *binding_pointers;
  const size_t *binding_lengths; /* bytes */
} dtmm_dispatch_state_t;

/* What differs from one workgroup of a dispatch to the next. */
typedef struct dtmm_workgroup_state {
  uint32_t id_x;
  uint32_t id_y;
  uint16_t id_z;
  uint16_t reserved;
  uint32_t processor_id;
  void *local_memory;
  uint32_t local_memory_bytes;
} dtmm_workgroup_state_t;

/* A compiled dispatch; computes one workgroup and returns 0 on success. */
typedef int (*dtmm_dispatch_function_t)(const dtmm_environment_t *environment,
                                        const dtmm_dispatch_state_t *dispatch,
                                        const dtmm_workgroup_state_t *workgroup);

/* What a dispatch expects of its caller. */
typedef struct dtmm_export_attributes {
  uint64_t flags;
  uint16_t local_memory_pages;
  uint8_t constant_count;
  uint8_t binding_count;
  uint32_t workgroup_size_x;
  uint32_t workgroup_size_y;
  uint16_t workgroup_size_z;
  uint16_t parameter_count;
  uint64_t reserved[5];
} dtmm_export_attributes_t;

/* A library. Tables are indexed by export ordinal. */
typedef struct dtmm_library {
  const dtmm_library_header_t *header;
  struct {
    uint32_t count;
    const char *const *symbols;
  } imports;
  struct {
    uint32_t count;
    const dtmm_dispatch_function_t *functions;
    const dtmm_export_attributes_t *attributes;
    const void *parameters;
    const void *occupancy;
    const char *const *names;
    const void *tags;
    const void *parameter_names;
    const void *source_locations;
    const void *stage_locations;
  } exports;
  struct {
    uint32_t count;
  } constants;
  struct {
    uint32_t count;
    const void *files;
  } sources;
} dtmm_library_t;

/* NAME_library_query: the library if it has an ABI version of at most max_version, else null.
 * What it returns points to the first member of a dtmm_library_t. */
typedef const dtmm_library_header_t **(*dtmm_library_query_t)(uint32_t max_version,
                                                              const dtmm_environment_t *environment);

#ifndef __cplusplus
#define DTMM_ASSERT_OFFSET(type, member, on_32_bit, on_64_bit)                              \
  static_assert(offsetof(type, member) == (sizeof(void *) == 4 ? (on_32_bit) : (on_64_bit)), \
                #type "." #member " is misplaced")

static_assert(sizeof(void *) == 4 || sizeof(void *) == 8, "pointers of 32 or 64 bits");
DTMM_ASSERT_OFFSET(dtmm_library_header_t, name, 4, 8);
DTMM_ASSERT_OFFSET(dtmm_library_header_t, sanitizer, 12, 20);
DTMM_ASSERT_OFFSET(dtmm_environment_t, processor, 16, 32);
DTMM_ASSERT_OFFSET(dtmm_dispatch_state_t, constant_count, 10, 10);
DTMM_ASSERT_OFFSET(dtmm_dispatch_state_t, workgroup_count_x, 12, 12);
DTMM_ASSERT_OFFSET(dtmm_dispatch_state_t, binding_count, 23, 23);
DTMM_ASSERT_OFFSET(dtmm_dispatch_state_t, constants, 24, 24);
DTMM_ASSERT_OFFSET(dtmm_dispatch_state_t, binding_lengths, 32, 40);
DTMM_ASSERT_OFFSET(dtmm_workgroup_state_t, processor_id, 12, 12);
DTMM_ASSERT_OFFSET(dtmm_workgroup_state_t, local_memory_bytes, 20, 24);
DTMM_ASSERT_OFFSET(dtmm_export_attributes_t, binding_count, 11, 11);
DTMM_ASSERT_OFFSET(dtmm_export_attributes_t, reserved, 24, 24);
static_assert(sizeof(dtmm_export_attributes_t) == 64, "attributes are 64 bytes each");
DTMM_ASSERT_OFFSET(dtmm_library_t, imports, 4, 8);
DTMM_ASSERT_OFFSET(dtmm_library_t, exports, 12, 24);
DTMM_ASSERT_OFFSET(dtmm_library_t, exports.names, 32, 64);
DTMM_ASSERT_OFFSET(dtmm_library_t, constants, 52, 104);
DTMM_ASSERT_OFFSET(dtmm_library_t, sources, 56, 112);
#undef DTMM_ASSERT_OFFSET
#endif

#ifdef __cplusplus
}
#endif

#endif /* DTMM_EXECUTABLE_LIBRARY_H_ */
