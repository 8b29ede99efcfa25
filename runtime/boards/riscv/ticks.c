#include "ticks.h"

#include "csr.h"

static uint64_t start;

/* The 64 bits of minstret, read again where the lower half overflowed in between. */
static uint64_t retired(void) {
  uint32_t high, low;
  do {
    high = CSR_READ("minstreth");
    low = CSR_READ("minstret");
  } while (high != CSR_READ("minstreth"));
  return (uint64_t)high << 32u | low;
}

void ticks_start(void) { start = retired(); }

uint32_t ticks_read(void) {
  const uint64_t ticks = retired() - start;
  return ticks > UINT32_MAX ? 0 : (uint32_t)ticks;
}

uint32_t ticks_calibrate(void) {
  uint32_t loops = CALIBRATION_INSTRUCTIONS / 2u;
  ticks_start();
  __asm__ volatile("1: addi %0, %0, -1\n\tbnez %0, 1b" : "+r"(loops));
  return ticks_read();
}
