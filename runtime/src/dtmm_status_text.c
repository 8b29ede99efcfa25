#include "dtmm/runtime.h"

const char *dtmm_status_text(dtmm_status_t status) {
  static const char *const texts[DTMM_STATUS_COUNT] = {
      [DTMM_OK] = "ok",
      [DTMM_ERROR_NULL_POINTER] = "the arena, an input or an output is null",
      [DTMM_ERROR_MISALIGNED] = "the arena, an input or an output is not aligned to 64 bytes",
      [DTMM_ERROR_ARENA_TOO_SMALL] = "the arena is too small",
      [DTMM_ERROR_LIBRARY_VERSION] = "the library has another ABI version than 6",
      [DTMM_ERROR_LIBRARY_NEEDS] = "the library needs imports or constants",
      [DTMM_ERROR_EXPORT_COUNT] = "the library has another number of dispatches than the schedule",
      [DTMM_ERROR_BINDING_COUNT] = "a dispatch takes another number of bindings than the schedule gives",
      [DTMM_ERROR_CONSTANT_COUNT] = "a dispatch takes another number of constants than the schedule gives",
      [DTMM_ERROR_LOCAL_MEMORY] = "a dispatch wants more local memory than the arena reserves",
      [DTMM_ERROR_NOT_INITIALIZED] = "the model's init function did not run on this arena",
      [DTMM_ERROR_DISPATCH_FAILED] = "a dispatch failed",
      [DTMM_ERROR_CONSTANTS] = "the constants are damaged",
  };
  return (unsigned)status < (unsigned)DTMM_STATUS_COUNT ? texts[status] : "unknown status";
}
