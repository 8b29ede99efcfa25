/* A QEMU plugin that reports every access to memory outside given ranges, between two marked instructions.
 *
 * Arguments: begin=ADDRESS end=ADDRESS, read=LOW:HIGH and write=LOW:HIGH (any number of times; a range to write may be
 * read as well; HIGH is the first address behind it) and out=FILE, which gets a line "PC ADDRESS BYTES r|w" per access,
 * and at the end "accesses N" with the number of all.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))
#define MAX_RANGES 1024

typedef uint64_t plugin_id;
typedef uint32_t access_info;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

enum { NO_REGISTERS = 0, READS_AND_WRITES = 3 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*on_translation)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *instruction, void (*on_execution)(unsigned, void *),
                                            int registers, void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *instruction,
                                      void (*on_access)(unsigned, access_info, uint64_t, void *), int registers,
                                      int kinds, void *data);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*on_exit)(plugin_id, void *), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *instruction);
unsigned qemu_plugin_mem_size_shift(access_info info);
_Bool qemu_plugin_mem_is_store(access_info info);

EXPORTED int qemu_plugin_version = 1;
EXPORTED int qemu_plugin_install(plugin_id id, const void *info, int argument_count, char **arguments);

struct range {
  uint64_t low, high;
  int writable;
};

static struct range ranges[MAX_RANGES];
static size_t range_count;
static uint64_t begin, end, accesses;
static int active;
static FILE *output;

static void on_begin(unsigned cpu, void *data) {
  (void)cpu, (void)data;
  active = 1;
}

static void on_end(unsigned cpu, void *data) {
  (void)cpu, (void)data;
  active = 0;
}

static void on_access(unsigned cpu, access_info info, uint64_t address, void *pc) {
  (void)cpu;
  if (!active) {
    return;
  }
  ++accesses;
  const uint64_t bytes = (uint64_t)1 << qemu_plugin_mem_size_shift(info);
  const int store = qemu_plugin_mem_is_store(info);
  for (size_t i = 0; i < range_count; ++i) {
    if (address >= ranges[i].low && address + bytes <= ranges[i].high && (ranges[i].writable || !store)) {
      return;
    }
  }
  fprintf(output, "%" PRIx64 " %" PRIx64 " %" PRIu64 " %c\n", (uint64_t)(uintptr_t)pc, address, bytes, store ? 'w' : 'r');
}

static void on_translation(plugin_id id, struct qemu_plugin_tb *block) {
  (void)id;
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); ++i) {
    struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
    const uint64_t pc = qemu_plugin_insn_vaddr(instruction);
    if (pc == begin || pc == end) {
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, pc == begin ? on_begin : on_end, NO_REGISTERS, NULL);
    }
    qemu_plugin_register_vcpu_mem_cb(instruction, on_access, NO_REGISTERS, READS_AND_WRITES, (void *)(uintptr_t)pc);
  }
}

static void on_exit_of_qemu(plugin_id id, void *data) {
  (void)id, (void)data;
  fprintf(output, "accesses %" PRIu64 "\n", accesses);
  fclose(output);
}

int qemu_plugin_install(plugin_id id, const void *info, int argument_count, char **arguments) {
  (void)info;
  for (int i = 0; i < argument_count; ++i) {
    const char *value = strchr(arguments[i], '=');
    if (value == NULL) {
      return 1;
    }
    ++value;
    if (strncmp(arguments[i], "begin=", 6) == 0) {
      begin = strtoull(value, NULL, 0);
    } else if (strncmp(arguments[i], "end=", 4) == 0) {
      end = strtoull(value, NULL, 0);
    } else if (strncmp(arguments[i], "out=", 4) == 0) {
      output = fopen(value, "w");
    } else if (range_count == MAX_RANGES) {
      return 1;
    } else {
      char *rest;
      struct range *range = &ranges[range_count++];
      range->writable = arguments[i][0] == 'w';
      range->low = strtoull(value, &rest, 0);
      range->high = strtoull(rest + 1, NULL, 0);
    }
  }
  if (output == NULL) {
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
  return 0;
}
