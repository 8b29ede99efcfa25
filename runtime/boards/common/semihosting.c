#include "semihosting.h"

#include <string.h>

enum {
  SYS_OPEN = 0x01,
  SYS_CLOSE = 0x02,
  SYS_WRITE0 = 0x04,
  SYS_WRITE = 0x05,
  SYS_READ = 0x06,
  SYS_FLEN = 0x0c,
  SYS_EXIT_EXTENDED = 0x20,
};

#define STOPPED_BY_APPLICATION 0x20026u

int semihosting_open(const char *name, uint32_t mode) {
  const uint32_t arguments[3] = {(uint32_t)name, mode, strlen(name)};
  return semihosting_request(SYS_OPEN, arguments);
}

void semihosting_close(int handle) {
  const uint32_t arguments[1] = {(uint32_t)handle};
  (void)semihosting_request(SYS_CLOSE, arguments);
}

int semihosting_length(int handle) {
  const uint32_t arguments[1] = {(uint32_t)handle};
  return semihosting_request(SYS_FLEN, arguments);
}

size_t semihosting_read(int handle, void *target, size_t bytes) {
  const uint32_t arguments[3] = {(uint32_t)handle, (uint32_t)target, bytes};
  return (size_t)semihosting_request(SYS_READ, arguments);
}

size_t semihosting_write(int handle, const void *source, size_t bytes) {
  const uint32_t arguments[3] = {(uint32_t)handle, (uint32_t)source, bytes};
  return (size_t)semihosting_request(SYS_WRITE, arguments);
}

void semihosting_print(const char *text) { (void)semihosting_request(SYS_WRITE0, text); }

void semihosting_print_number(uint32_t value) {
  char digits[11];
  char *first = &digits[10];
  *first = '\0';
  do {
    *--first = (char)('0' + value % 10u);
    value /= 10u;
  } while (value != 0);
  semihosting_print(first);
}

void semihosting_exit(uint32_t code) {
  const uint32_t arguments[2] = {STOPPED_BY_APPLICATION, code};
  (void)semihosting_request(SYS_EXIT_EXTENDED, arguments);
  for (;;) {
  }
}
