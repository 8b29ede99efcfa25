#include "stack.h"

uint32_t stack_used_bytes(void) {
  const uint32_t *word = __stack_limit;
  while (word != __stack_top && *word == STACK_PAINT) {
    ++word;
  }
  return (uint32_t)((uintptr_t)__stack_top - (uintptr_t)word);
}
