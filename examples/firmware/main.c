/* Classifies the picture in sample.bin and prints the number of its class. */
#include "model.h"
#include "semihosting.h"

#define ALIGNED __attribute__((aligned(MODEL_ALIGNMENT)))

extern const int8_t sample[MODEL_INPUT_0_BYTES]; /* sample.S */

static uint8_t arena[MODEL_ARENA_BYTES] ALIGNED;
static int8_t scores[MODEL_OUTPUT_0_BYTES] ALIGNED;

int main(void) {
  const void *const inputs[] = {sample};
  void *const outputs[] = {scores};
  dtmm_status_t status = model_init(arena, sizeof arena);
  if (status == DTMM_OK) {
    status = model_run(arena, sizeof arena, inputs, outputs);
  }
  uint32_t best = 0;
  for (uint32_t i = 1; i < MODEL_OUTPUT_0_BYTES; ++i) {
    best = scores[i] > scores[best] ? i : best;
  }
  semihosting_print("class ");
  semihosting_print_number(best);
  semihosting_print("\n");
  return (int)status;
}
