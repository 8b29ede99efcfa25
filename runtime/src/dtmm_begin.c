#include "dtmm/runtime.h"

/* The counts of one dispatch against those of the export it calls. */
static dtmm_status_t check_dispatch(const dtmm_dispatch_t *dispatch, const dtmm_model_t *model,
                                    const dtmm_library_t *library) {
  if (dispatch->ordinal >= library->exports.count) {
    return DTMM_ERROR_EXPORT_COUNT;
  }
  const dtmm_export_attributes_t *attributes = &library->exports.attributes[dispatch->ordinal];
  if (attributes->binding_count != dispatch->binding_count || dispatch->binding_count > DTMM_MAX_BINDINGS) {
    return DTMM_ERROR_BINDING_COUNT;
  }
  if (attributes->constant_count != dispatch->constant_count) {
    return DTMM_ERROR_CONSTANT_COUNT;
  }
  if (attributes->local_memory_pages * DTMM_LOCAL_MEMORY_PAGE_BYTES > model->local_memory_bytes) {
    return DTMM_ERROR_LOCAL_MEMORY;
  }
  return DTMM_OK;
}

static dtmm_status_t check_library(const dtmm_model_t *model, const dtmm_library_t *library) {
  if (library == NULL || library->header->version != DTMM_LIBRARY_VERSION) {
    return DTMM_ERROR_LIBRARY_VERSION;
  }
  if (library->imports.count != 0 || library->constants.count != 0) {
    return DTMM_ERROR_LIBRARY_NEEDS;
  }
  if (library->exports.count != model->export_count) {
    return DTMM_ERROR_EXPORT_COUNT;
  }
  for (uint32_t i = 0; i < model->dispatch_count; ++i) {
    const dtmm_status_t status = check_dispatch(&model->dispatches[i], model, library);
    if (status != DTMM_OK) {
      return status;
    }
  }
  return DTMM_OK;
}

dtmm_status_t dtmm_begin(dtmm_run_t *run, size_t arena_size) {
  const dtmm_model_t *model = run->model;
  for (uint32_t i = 0; i < model->resource_count; ++i) {
    if (run->resources[i] == NULL) {
      return DTMM_ERROR_NULL_POINTER;
    }
    if ((uintptr_t)run->resources[i] % DTMM_ALIGNMENT != 0) {
      return DTMM_ERROR_MISALIGNED;
    }
  }
  if (arena_size < model->arena_bytes) {
    return DTMM_ERROR_ARENA_TOO_SMALL;
  }
  static const dtmm_environment_t environment = {0};
  run->environment = &environment;
  run->library = (const dtmm_library_t *)(const void *)model->query(DTMM_LIBRARY_VERSION, &environment);
  return check_library(model, run->library);
}
