#include "dtmm/runtime.h"

/* Workgroups in the order x, y, z; stops at the first that fails. */
static dtmm_status_t call_workgroups(dtmm_dispatch_function_t function, const dtmm_environment_t *environment,
                                     const dtmm_dispatch_state_t *state, dtmm_workgroup_state_t *workgroup) {
  for (uint32_t z = 0; z < state->workgroup_count_z; ++z) {
    workgroup->id_z = (uint16_t)z;
    for (uint32_t y = 0; y < state->workgroup_count_y; ++y) {
      workgroup->id_y = y;
      for (uint32_t x = 0; x < state->workgroup_count_x; ++x) {
        workgroup->id_x = x;
        if (function(environment, state, workgroup) != 0) {
          return DTMM_ERROR_DISPATCH_FAILED;
        }
      }
    }
  }
  return DTMM_OK;
}

dtmm_status_t dtmm_call(const dtmm_run_t *run, const dtmm_dispatch_t *dispatch) {
  void *pointers[DTMM_MAX_BINDINGS];
  size_t lengths[DTMM_MAX_BINDINGS];
  const dtmm_range_t *range = dispatch->bindings;
  for (uint32_t i = 0; i < dispatch->binding_count; ++i, ++range) {
    pointers[i] = run->resources[range->resource] + range->offset;
    lengths[i] = range->length;
  }
  const dtmm_export_attributes_t *attributes = &run->library->exports.attributes[dispatch->ordinal];
  const dtmm_dispatch_state_t state = {
      .workgroup_size_x = attributes->workgroup_size_x,
      .workgroup_size_y = attributes->workgroup_size_y,
      .workgroup_size_z = attributes->workgroup_size_z,
      .constant_count = dispatch->constant_count,
      .workgroup_count_x = dispatch->workgroup_count_x,
      .workgroup_count_y = dispatch->workgroup_count_y,
      .workgroup_count_z = dispatch->workgroup_count_z,
      .max_concurrency = 1,
      .binding_count = dispatch->binding_count,
      .constants = dispatch->constants,
      .binding_pointers = pointers,
      .binding_lengths = lengths,
  };
  dtmm_workgroup_state_t workgroup; /* initialized, it would be cleared by memset first */
  workgroup.reserved = 0;
  workgroup.processor_id = 0;
  workgroup.local_memory = run->resources[0] + run->model->local_memory_offset;
  workgroup.local_memory_bytes = run->model->local_memory_bytes;
  const dtmm_dispatch_function_t function = run->library->exports.functions[dispatch->ordinal];
  return call_workgroups(function, run->environment, &state, &workgroup);
}
