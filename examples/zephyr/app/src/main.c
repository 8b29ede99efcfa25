/* Runs the model on zeros and prints the number of the class with the highest score. */
#include <zephyr/kernel.h>

#include "model.h"

#define ALIGNED __attribute__((aligned(MODEL_ALIGNMENT)))

static uint8_t arena[MODEL_ARENA_BYTES] ALIGNED;
static int8_t picture[MODEL_INPUT_0_BYTES] ALIGNED;
static int8_t scores[MODEL_OUTPUT_0_BYTES] ALIGNED;

int main(void) {
  const void *const inputs[] = {picture};
  void *const outputs[] = {scores};
  dtmm_status_t status = model_init(arena, sizeof arena);
  if (status == DTMM_OK) {
    status = model_run(arena, sizeof arena, inputs, outputs);
  }
  uint32_t best = 0;
  for (uint32_t i = 1; i < MODEL_OUTPUT_0_BYTES; ++i) {
    best = scores[i] > scores[best] ? i : best;
  }
  printk("%s: class %u\n", dtmm_status_text(status), (unsigned)best);
  return (int)status;
}
