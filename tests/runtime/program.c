/* Runs a model on the host, each of its buffers exactly as long as it must be, and misuses it in every way there is.
 *
 * Reads the inputs from stdin, writes the outputs to stdout; "CASE STATUS" lines go to stderr.
 */
#define _POSIX_C_SOURCE 200112L /* posix_memalign */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

static const uint32_t input_bytes[MODEL_INPUT_COUNT] = MODEL_INPUT_BYTES;
static const uint32_t output_bytes[MODEL_OUTPUT_COUNT] = MODEL_OUTPUT_BYTES;

static void *buffer(size_t bytes) {
  void *memory = NULL;
  if (posix_memalign(&memory, MODEL_ALIGNMENT, bytes) != 0) {
    exit(2);
  }
  return memory;
}

static void tell(const char *name, dtmm_status_t status) { fprintf(stderr, "%s %s\n", name, dtmm_status_text(status)); }

int main(void) {
  void *inputs[MODEL_INPUT_COUNT], *outputs[MODEL_OUTPUT_COUNT];
  for (int i = 0; i < MODEL_INPUT_COUNT; ++i) {
    inputs[i] = buffer(input_bytes[i]);
    if (fread(inputs[i], 1, input_bytes[i], stdin) != input_bytes[i]) {
      return 3;
    }
  }
  for (int i = 0; i < MODEL_OUTPUT_COUNT; ++i) {
    outputs[i] = buffer(output_bytes[i]);
  }
  const void *const *in = (const void *const *)inputs;
  uint8_t *arena = buffer(MODEL_ARENA_BYTES);
  memset(arena, 0xa5, MODEL_ARENA_BYTES);
  tell("init", model_init(arena, MODEL_ARENA_BYTES));
  tell("run", model_run(arena, MODEL_ARENA_BYTES, in, outputs));
  for (int i = 0; i < MODEL_OUTPUT_COUNT; ++i) {
    fwrite(outputs[i], 1, output_bytes[i], stdout);
  }
  tell("small", model_run(arena, MODEL_ARENA_BYTES - 1, in, outputs));
  tell("empty", model_init(arena, 0));
  tell("misaligned", model_run(arena + 4, MODEL_ARENA_BYTES, in, outputs));
  tell("no_arena", model_run(NULL, MODEL_ARENA_BYTES, in, outputs));
  tell("no_inputs", model_run(arena, MODEL_ARENA_BYTES, NULL, outputs));
  tell("no_outputs", model_run(arena, MODEL_ARENA_BYTES, in, NULL));
  void *first = outputs[0];
  outputs[0] = NULL;
  tell("null_output", model_run(arena, MODEL_ARENA_BYTES, in, outputs));
  outputs[0] = (uint8_t *)first + 1;
  tell("misaligned_output", model_run(arena, MODEL_ARENA_BYTES, in, outputs));
  outputs[0] = first;
  tell("again", model_run(arena, MODEL_ARENA_BYTES, in, outputs));
  free(arena);
  for (int i = 0; i < MODEL_INPUT_COUNT; ++i) {
    free(inputs[i]);
  }
  for (int i = 0; i < MODEL_OUTPUT_COUNT; ++i) {
    free(outputs[i]);
  }
  return 0;
}
