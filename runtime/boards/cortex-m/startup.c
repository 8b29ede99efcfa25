/* Reset and fault handlers and the vector table of a Cortex-M. */
#include <stdint.h>

#include "semihosting.h"
#include "stack.h"

#define CPACR (*(volatile uint32_t *)0xe000ed88u) /* coprocessor access control */
#define CFSR (*(volatile uint32_t *)0xe000ed28u)  /* configurable fault status; zero on v6-M */
#define BFAR (*(volatile uint32_t *)0xe000ed38u)  /* address of a bus fault */

#define EXIT_FAULT 99u

extern uint32_t __bss_start[], __bss_end[], __data_start[], __data_end[], __data_load[];

int main(void);
void Reset_Handler(void);
void Fault_Handler(void);

/* Runs before the floating-point and vector unit is on, so it may not use their registers. */
__attribute__((target("general-regs-only"), noreturn)) void Reset_Handler(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  CPACR |= 0xf00000u; /* full access to coprocessors 10 and 11 */
  __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
#if __ARM_ARCH >= 8 && __ARM_ARCH_ISA_THUMB == 2
  __asm__ volatile("msr msplim, %0" ::"r"(__stack_limit)); /* a stack overflow becomes a fault */
#endif
  const uint32_t *source = __data_load;
  for (uint32_t *word = __data_start; word != __data_end; ++word) {
    *word = *source++;
  }
  for (uint32_t *word = __bss_start; word != __bss_end; ++word) {
    *word = 0;
  }
  const uint32_t *stack_pointer;
  __asm__ volatile("mov %0, sp" : "=r"(stack_pointer));
  for (uint32_t *word = __stack_limit; word < stack_pointer; ++word) {
    *word = STACK_PAINT;
  }
  semihosting_exit((uint32_t)main());
}

/* Prints what is known about a fault and ends the run. */
static void report_fault(void) {
  semihosting_print("dtmm fault, CFSR ");
  semihosting_print_number(CFSR);
  semihosting_print(" BFAR ");
  semihosting_print_number(BFAR);
  semihosting_print("\n");
  semihosting_exit(EXIT_FAULT);
}

/* The stack may be exhausted: starts over at its top. */
__attribute__((naked)) void Fault_Handler(void) {
  __asm__ volatile("ldr r0, =__stack_top\n\tmov sp, r0\n\tldr r0, =%c0\n\tbx r0" ::"i"(report_fault));
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    [0] = (void (*)(void))__stack_top,
    [1] = Reset_Handler,
    [2] = Fault_Handler,  /* NMI */
    [3] = Fault_Handler,  /* hard fault */
    [4] = Fault_Handler,  /* memory management */
    [5] = Fault_Handler,  /* bus fault */
    [6] = Fault_Handler,  /* usage fault */
    [7] = Fault_Handler,  /* secure fault */
    [11] = Fault_Handler, /* supervisor call */
    [12] = Fault_Handler, /* debug monitor */
    [14] = Fault_Handler, /* pending supervisor call */
    [15] = Fault_Handler, /* SysTick */
};
