/* A QEMU plugin that counts the instructions executed when marked addresses are reached.
 *
 * Arguments: mark=ADDRESS (any number of times) and out=FILE. Each time a marked instruction is about to run,
 * a line "ADDRESS COUNT" in hexadecimal and decimal is written, COUNT being all instructions before it.
 * The plugin interface's functions are declared here, as distributions do not package its header.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))
#define MAX_MARKS 16

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

enum { NO_REGISTERS = 0, INLINE_ADD_U64 = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*on_translation)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *instruction, void (*on_execution)(unsigned, void *),
                                            int registers, void *data);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *instruction, int operation, void *target,
                                                uint64_t value);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*on_exit)(plugin_id, void *), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *instruction);

EXPORTED int qemu_plugin_version = 1;
EXPORTED int qemu_plugin_install(plugin_id id, const void *info, int argument_count, char **arguments);

static uint64_t executed;
static uint64_t marks[MAX_MARKS];
static size_t mark_count;
static FILE *output;

static uint64_t *find_mark(uint64_t address) {
  for (size_t i = 0; i < mark_count; ++i) {
    if (marks[i] == address) {
      return &marks[i];
    }
  }
  return NULL;
}

static void on_mark(unsigned cpu, void *mark) {
  (void)cpu;
  fprintf(output, "%" PRIx64 " %" PRIu64 "\n", *(const uint64_t *)mark, executed);
}

/* A translation block runs from its first to its last instruction, so it is counted with one addition at its
 * start; a mark inside splits it. Callbacks run in the order in which they are registered. */
static void on_translation(plugin_id id, struct qemu_plugin_tb *block) {
  (void)id;
  const size_t count = qemu_plugin_tb_n_insns(block);
  size_t start = 0;
  while (start < count) {
    struct qemu_plugin_insn *first = qemu_plugin_tb_get_insn(block, start);
    uint64_t *mark = find_mark(qemu_plugin_insn_vaddr(first));
    if (mark != NULL) {
      qemu_plugin_register_vcpu_insn_exec_cb(first, on_mark, NO_REGISTERS, mark);
    }
    size_t end = start + 1;
    while (end < count && find_mark(qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(block, end))) == NULL) {
      ++end;
    }
    qemu_plugin_register_vcpu_insn_exec_inline(first, INLINE_ADD_U64, &executed, end - start);
    start = end;
  }
}

static void on_exit_of_qemu(plugin_id id, void *data) {
  (void)id;
  (void)data;
  fclose(output);
}

int qemu_plugin_install(plugin_id id, const void *info, int argument_count, char **arguments) {
  (void)info;
  for (int i = 0; i < argument_count; ++i) {
    if (strncmp(arguments[i], "mark=", 5) == 0 && mark_count < MAX_MARKS) {
      marks[mark_count++] = strtoull(arguments[i] + 5, NULL, 0);
    } else if (strncmp(arguments[i], "out=", 4) == 0) {
      output = fopen(arguments[i] + 4, "w");
    } else {
      fprintf(stderr, "count plugin: unknown argument %s\n", arguments[i]);
      return 1;
    }
  }
  if (output == NULL) {
    fprintf(stderr, "count plugin: out=FILE is missing or cannot be written\n");
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
  return 0;
}
