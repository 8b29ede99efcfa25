/* Runs the schedule of a compiled model on bare metal.
 *
 * The compiler writes a model as a straight line of fills, copies and dispatches over a few resources (the
 * arena, the constants, the inputs, the outputs). The functions here are those three kinds of step and the
 * checks before the first of them. Nothing is allocated and nothing is kept between calls except in the arena.
 */
#ifndef DTMM_RUNTIME_H_
#define DTMM_RUNTIME_H_

#include "dtmm/executable_library.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes; dispatches are compiled for resources that start at a multiple of it. */
#define DTMM_ALIGNMENT 64u

/* Most bindings that a dispatch may have; the ABI's own limit. */
#define DTMM_MAX_BINDINGS 64u

typedef enum dtmm_status {
  DTMM_OK = 0,
  DTMM_ERROR_NULL_POINTER,     /* the arena, an input, an output or an array of them is null */
  DTMM_ERROR_MISALIGNED,       /* one of these does not start at a multiple of DTMM_ALIGNMENT */
  DTMM_ERROR_ARENA_TOO_SMALL,  /* arena_size is less than the model's arena bytes */
  DTMM_ERROR_LIBRARY_VERSION,  /* the library has another ABI version, or gave none */
  DTMM_ERROR_LIBRARY_NEEDS,    /* the library wants imports or constants of its environment */
  DTMM_ERROR_EXPORT_COUNT,     /* the library has another number of dispatches than the schedule knows */
  DTMM_ERROR_BINDING_COUNT,    /* a dispatch takes another number of bindings than the schedule gives */
  DTMM_ERROR_CONSTANT_COUNT,   /* a dispatch takes another number of constants than the schedule gives */
  DTMM_ERROR_LOCAL_MEMORY,     /* a dispatch wants more local memory than the arena reserves */
  DTMM_ERROR_NOT_INITIALIZED,  /* the model has initial steps, and its init function did not run on this arena */
  DTMM_ERROR_DISPATCH_FAILED,  /* a dispatch returned an error */
  DTMM_ERROR_CONSTANTS,        /* the constants are not those that the model was compiled with */
  DTMM_STATUS_COUNT
} dtmm_status_t;

/* A range of one of the model's resources, in bytes. */
typedef struct dtmm_range {
  uint32_t resource; /* index into dtmm_run_t.resources */
  uint32_t offset;
  uint32_t length;
} dtmm_range_t;

/* A dispatch of the schedule and what the schedule passes to it. */
typedef struct dtmm_dispatch {
  uint16_t ordinal; /* of the export in the library */
  uint16_t workgroup_count_z;
  uint32_t workgroup_count_x;
  uint32_t workgroup_count_y;
  uint8_t binding_count;
  uint8_t constant_count;
  uint16_t reserved;
  const dtmm_range_t *bindings;
  const uint32_t *constants;
} dtmm_dispatch_t;

/* What the schedule was compiled for. */
typedef struct dtmm_model {
  dtmm_library_query_t query;
  const dtmm_dispatch_t *dispatches;
  uint32_t dispatch_count;
  uint32_t export_count;
  uint32_t resource_count;
  uint32_t arena_bytes;         /* local memory included */
  uint32_t local_memory_offset; /* in the arena */
  uint32_t local_memory_bytes;
} dtmm_model_t;

/* A run in progress. The caller sets resources: the arena first, then the others in the schedule's order. */
typedef struct dtmm_run {
  const dtmm_model_t *model;
  const dtmm_library_t *library;         /* set by dtmm_begin */
  const dtmm_environment_t *environment; /* set by dtmm_begin */
  uint8_t *const *resources;
} dtmm_run_t;

/* Checks the library's version and counts, the arena's size and every resource's alignment.
 * To be called before the first step; on DTMM_OK the run's library and environment are set. */
dtmm_status_t dtmm_begin(dtmm_run_t *run, size_t arena_size);

/* Whether count words have the given sum, and sum of all partial sums, both modulo 2^32. */
dtmm_status_t dtmm_check(const uint32_t *words, uint32_t count, uint32_t sum, uint32_t sum_of_sums);

/* Repeats a pattern of pattern_bytes (1, 2, 4 or 8; the low bytes of pattern) over a range. */
dtmm_status_t dtmm_fill(const dtmm_run_t *run, const dtmm_range_t *target, uint64_t pattern, uint32_t pattern_bytes);

/* Copies source->length bytes to the start of target. The ranges do not overlap. */
dtmm_status_t dtmm_copy(const dtmm_run_t *run, const dtmm_range_t *source, const dtmm_range_t *target);

/* Calls all workgroups of a dispatch, one after the other. */
dtmm_status_t dtmm_call(const dtmm_run_t *run, const dtmm_dispatch_t *dispatch);

/* One line of English about a status, for messages. */
const char *dtmm_status_text(dtmm_status_t status);

#ifdef __cplusplus
}
#endif

#endif /* DTMM_RUNTIME_H_ */
