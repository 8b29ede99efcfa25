/* The input as bytes, in flash, aligned as the model wants it. */
  .section .rodata.sample, "a"
  .balign 64
  .global sample
sample:
  .incbin SAMPLE_FILE
