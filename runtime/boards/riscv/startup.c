/* Reset and fault handlers of a RISC-V processor in machine mode. */
#include <stdint.h>

#include "csr.h"
#include "semihosting.h"
#include "stack.h"

#define EXIT_FAULT 99u
#define READ_EXECUTE_LOCKED 0x9du /* a naturally aligned power of two, for machine mode too */

extern uint32_t __bss_start[], __bss_end[], __data_start[], __data_end[], __data_load[];
extern uint32_t __flash_region[];

int main(void);
void Reset_Handler(void);
void Fault_Handler(void);
void start(void);

/* The first instructions of the image. */
__attribute__((naked, section(".vectors"))) void Reset_Handler(void) {
  __asm__ volatile(
      "la sp, __stack_top\n\t"
      "la tp, __tls_start\n\t" /* the C library's errno */
      "la t0, Fault_Handler\n\t"
      WITH_CSR("csrw mtvec, t0")
      "j start");
}

/* Writes to FLASH become faults, among them those of a stack that overflows into it. */
static void protect_flash(void) {
  CSR_WRITE("pmpaddr0", __flash_region);
  CSR_WRITE("pmpcfg0", READ_EXECUTE_LOCKED);
}

__attribute__((noreturn)) void start(void) {
  protect_flash();
  const uint32_t *source = __data_load;
  for (uint32_t *word = __data_start; word != __data_end; ++word) {
    *word = *source++;
  }
  for (uint32_t *word = __bss_start; word != __bss_end; ++word) {
    *word = 0;
  }
  const uint32_t *stack_pointer;
  __asm__ volatile("mv %0, sp" : "=r"(stack_pointer));
  for (uint32_t *word = __stack_limit; word < stack_pointer; ++word) {
    *word = STACK_PAINT;
  }
  semihosting_exit((uint32_t)main());
}

/* Prints what is known about a fault and ends the run. */
__attribute__((used)) static void report_fault(void) {
  semihosting_print("dtmm fault, mcause ");
  semihosting_print_number(CSR_READ("mcause"));
  semihosting_print(" mepc ");
  semihosting_print_number(CSR_READ("mepc"));
  semihosting_print(" mtval ");
  semihosting_print_number(CSR_READ("mtval"));
  semihosting_print("\n");
  semihosting_exit(EXIT_FAULT);
}

/* The stack may be exhausted: starts over at its top. */
__attribute__((naked, aligned(4))) void Fault_Handler(void) {
  __asm__ volatile("la sp, __stack_top\n\tj report_fault");
}
