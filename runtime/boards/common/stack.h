/* How much of the stack has been used since reset. */
#ifndef DTMM_STACK_H_
#define DTMM_STACK_H_

#include <stdint.h>

/* What the start-up code writes over the whole stack. */
#define STACK_PAINT 0xdeadbeefu

/* Linker symbols: lowest and one past the highest word. */
extern uint32_t __stack_limit[];
extern uint32_t __stack_top[];

/* Bytes between the top of the stack and the deepest word that was overwritten. */
uint32_t stack_used_bytes(void);

#endif /* DTMM_STACK_H_ */
