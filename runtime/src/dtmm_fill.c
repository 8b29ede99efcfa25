#include "dtmm/runtime.h"

#include <string.h>

dtmm_status_t dtmm_fill(const dtmm_run_t *run, const dtmm_range_t *target, uint64_t pattern, uint32_t pattern_bytes) {
  uint8_t *bytes = run->resources[target->resource] + target->offset;
  if (pattern_bytes == 1) {
    memset(bytes, (int)(pattern & 0xffu), target->length);
    return DTMM_OK;
  }
  for (uint32_t i = 0; i < target->length; ++i) {
    bytes[i] = (uint8_t)(pattern >> (8u * (i & (pattern_bytes - 1u))));
  }
  return DTMM_OK;
}
