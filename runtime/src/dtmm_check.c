#include "dtmm/runtime.h"

dtmm_status_t dtmm_check(const uint32_t *words, uint32_t count, uint32_t sum, uint32_t sum_of_sums) {
  uint32_t a = 0;
  uint32_t b = 0;
  for (uint32_t i = 0; i < count; ++i) {
    a += words[i];
    b += a;
  }
  return a == sum && b == sum_of_sums ? DTMM_OK : DTMM_ERROR_CONSTANTS;
}
