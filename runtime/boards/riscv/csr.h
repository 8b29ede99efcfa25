/* Control and status registers; they are an extension of their own, Zicsr, which the core flags do not name. */
#ifndef DTMM_CSR_H_
#define DTMM_CSR_H_

#include <stdint.h>

#define WITH_CSR(instruction) ".option push\n\t.option arch, +zicsr\n\t" instruction "\n\t.option pop\n\t"

#define CSR_READ(name)                                                  \
  __extension__({                                                       \
    uint32_t value_;                                                    \
    __asm__ volatile(WITH_CSR("csrr %0, " name) : "=r"(value_));        \
    value_;                                                             \
  })

#define CSR_WRITE(name, value) __asm__ volatile(WITH_CSR("csrw " name ", %0")::"r"(value))

#endif /* DTMM_CSR_H_ */
