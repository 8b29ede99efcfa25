#include "dtmm/runtime.h"

#include <string.h>

dtmm_status_t dtmm_copy(const dtmm_run_t *run, const dtmm_range_t *source, const dtmm_range_t *target) {
  memcpy(run->resources[target->resource] + target->offset, run->resources[source->resource] + source->offset,
         source->length);
  return DTMM_OK;
}
