/* Semihosting as Arm defines it and RISC-V has it too: files, messages and exit through the debugger, here QEMU. */
#ifndef DTMM_SEMIHOSTING_H_
#define DTMM_SEMIHOSTING_H_

#include <stddef.h>
#include <stdint.h>

#define SEMIHOSTING_READ 1u  /* mode "rb" of semihosting_open */
#define SEMIHOSTING_WRITE 5u /* mode "wb" */

/* One request in the processor's own way; the functions below are made of it. */
int semihosting_request(int operation, const void *arguments);

/* A handle, or -1. */
int semihosting_open(const char *name, uint32_t mode);
void semihosting_close(int handle);

/* Bytes of an open file, or -1. */
int semihosting_length(int handle);

/* Both return the number of bytes that were NOT transferred. */
size_t semihosting_read(int handle, void *target, size_t bytes);
size_t semihosting_write(int handle, const void *source, size_t bytes);

void semihosting_print(const char *text);
void semihosting_print_number(uint32_t value);

_Noreturn void semihosting_exit(uint32_t code);

#endif /* DTMM_SEMIHOSTING_H_ */
