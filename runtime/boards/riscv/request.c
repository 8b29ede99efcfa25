#include "semihosting.h"

/* The three instructions mark a request only if none is compressed and all lie in one page. */
__attribute__((noinline, aligned(16))) int semihosting_request(int operation, const void *arguments) {
  register int a0 __asm__("a0") = operation;
  register const void *a1 __asm__("a1") = arguments;
  __asm__ volatile(
      ".option push\n\t.option norvc\n\t.balign 16\n\t"
      "slli zero, zero, 0x1f\n\tebreak\n\tsrai zero, zero, 7\n\t"
      ".option pop"
      : "+r"(a0)
      : "r"(a1)
      : "memory");
  return a0;
}
