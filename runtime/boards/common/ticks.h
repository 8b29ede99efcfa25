/* The processor's timer, for where instructions cannot be counted from outside. */
#ifndef DTMM_TICKS_H_
#define DTMM_TICKS_H_

#include <stdint.h>

#define CALIBRATION_INSTRUCTIONS 1000000u

void ticks_start(void);

/* Ticks since ticks_start, or 0 if there were more than the timer can count. */
uint32_t ticks_read(void);

/* Ticks of a loop of CALIBRATION_INSTRUCTIONS; under -icount all instructions take equally long. */
uint32_t ticks_calibrate(void);

#endif /* DTMM_TICKS_H_ */
