/* Runs a model over the inputs in a file, from inside a debugger that offers semihosting.
 *
 * Reads inputs.bin: for each inference all inputs of the model, one after the other without padding.
 * Writes outputs.bin in the same manner, and prints one line per figure:
 *   dtmm inferences N
 *   dtmm ticks N         timer ticks of the last inference; 0 if it outlasted the timer
 *   dtmm calibration N   timer ticks of a loop of CALIBRATION_INSTRUCTIONS
 *   dtmm stack N         deepest stack use in bytes
 * The model is chosen by three macros: DTMM_HEADER its header, DTMM_NAME and DTMM_PREFIX what its functions
 * and macros start with.
 */
#include DTMM_HEADER

#include <string.h>

#include "semihosting.h"
#include "stack.h"
#include "ticks.h"

#define PASTE_EXPANDED(a, b) a##b
#define PASTE(a, b) PASTE_EXPANDED(a, b)
#define MODEL_MACRO(name) PASTE(DTMM_PREFIX, name)
#define MODEL_FUNCTION(name) PASTE(DTMM_NAME, name)

#define INPUT_COUNT MODEL_MACRO(_INPUT_COUNT)
#define OUTPUT_COUNT MODEL_MACRO(_OUTPUT_COUNT)
#define ALIGN_UP(bytes) (((size_t)(bytes) + DTMM_ALIGNMENT - 1u) / DTMM_ALIGNMENT * DTMM_ALIGNMENT)
#define ALIGNED __attribute__((aligned(DTMM_ALIGNMENT)))

/* What memory holds before the first inference, which may be anything. */
#define GARBAGE 0xA5

static const uint32_t input_bytes[INPUT_COUNT] = MODEL_MACRO(_INPUT_BYTES);
static const uint32_t output_bytes[OUTPUT_COUNT] = MODEL_MACRO(_OUTPUT_BYTES);
static uint8_t arena[MODEL_MACRO(_ARENA_BYTES)] ALIGNED;
static uint8_t input_memory[MODEL_MACRO(_INPUT_TOTAL_BYTES)] ALIGNED;
static uint8_t output_memory[MODEL_MACRO(_OUTPUT_TOTAL_BYTES)] ALIGNED;

void dtmm_inference_begin(void);
void dtmm_inference_end(void);

/* What a counter looks for: executed just before and just after each inference. */
__attribute__((noinline)) void dtmm_inference_begin(void) { __asm__ volatile(""); }
__attribute__((noinline)) void dtmm_inference_end(void) { __asm__ volatile(""); }

_Noreturn static void fail(const char *text) {
  semihosting_print("dtmm error: ");
  semihosting_print(text);
  semihosting_print("\n");
  semihosting_exit(1);
}

static void check(dtmm_status_t status) {
  if (status != DTMM_OK) {
    fail(dtmm_status_text(status));
  }
}

static void report(const char *figure, uint32_t value) {
  semihosting_print("dtmm ");
  semihosting_print(figure);
  semihosting_print(" ");
  semihosting_print_number(value);
  semihosting_print("\n");
}

/* Lays buffers out in memory, each aligned; returns their bytes without padding. */
static uint32_t place(uint8_t *memory, const uint32_t *bytes, uint32_t count, uint8_t **buffers) {
  uint32_t total = 0;
  for (uint32_t i = 0; i < count; ++i) {
    buffers[i] = memory;
    memory += ALIGN_UP(bytes[i]);
    total += bytes[i];
  }
  return total;
}

static int open_or_fail(const char *name, uint32_t mode) {
  const int file = semihosting_open(name, mode);
  if (file < 0) {
    fail(name);
  }
  return file;
}

int main(void) {
  uint8_t *inputs[INPUT_COUNT];
  uint8_t *outputs[OUTPUT_COUNT];
  const uint32_t inference_bytes = place(input_memory, input_bytes, INPUT_COUNT, inputs);
  (void)place(output_memory, output_bytes, OUTPUT_COUNT, outputs);

  const int input_file = open_or_fail("inputs.bin", SEMIHOSTING_READ);
  const int output_file = open_or_fail("outputs.bin", SEMIHOSTING_WRITE);
  const uint32_t inferences = (uint32_t)semihosting_length(input_file) / inference_bytes;

  memset(arena, GARBAGE, sizeof arena);
  memset(output_memory, GARBAGE, sizeof output_memory);
  check(MODEL_FUNCTION(_init)(arena, sizeof arena));
  uint32_t ticks = 0;
  for (uint32_t n = 0; n < inferences; ++n) {
    for (uint32_t i = 0; i < INPUT_COUNT; ++i) {
      if (semihosting_read(input_file, inputs[i], input_bytes[i]) != 0) {
        fail("inputs.bin ends early");
      }
    }
    ticks_start();
    dtmm_inference_begin();
    const dtmm_status_t status =
        MODEL_FUNCTION(_run)(arena, sizeof arena, (const void *const *)inputs, (void *const *)outputs);
    dtmm_inference_end();
    ticks = ticks_read();
    check(status);
    for (uint32_t i = 0; i < OUTPUT_COUNT; ++i) {
      if (semihosting_write(output_file, outputs[i], output_bytes[i]) != 0) {
        fail("outputs.bin cannot be written");
      }
    }
  }
  semihosting_close(output_file);
  report("inferences", inferences);
  report("ticks", ticks);
  report("calibration", ticks_calibrate());
  report("stack", stack_used_bytes());
  return 0;
}
