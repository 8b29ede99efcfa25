#include "ticks.h"

#define SYST_CSR (*(volatile uint32_t *)0xe000e010u)
#define SYST_RVR (*(volatile uint32_t *)0xe000e014u)
#define SYST_CVR (*(volatile uint32_t *)0xe000e018u)
#define SYST_ENABLE 5u          /* counts the processor's clock, no interrupt */
#define SYST_WRAPPED 0x10000u /* since the counter was cleared */
#define SYST_MAXIMUM 0xffffffu

void ticks_start(void) {
  SYST_CSR = 0;
  SYST_RVR = SYST_MAXIMUM;
  SYST_CVR = 0;
  SYST_CSR = SYST_ENABLE;
}

uint32_t ticks_read(void) {
  const uint32_t ticks = (SYST_MAXIMUM - SYST_CVR) & SYST_MAXIMUM;
  return (SYST_CSR & SYST_WRAPPED) != 0 ? 0 : ticks;
}

uint32_t ticks_calibrate(void) {
  uint32_t loops = CALIBRATION_INSTRUCTIONS / 2u;
  ticks_start();
  __asm__ volatile(".syntax unified\n1: subs %0, %0, #1\n\tbne 1b" : "+l"(loops) : : "cc");
  return ticks_read();
}
