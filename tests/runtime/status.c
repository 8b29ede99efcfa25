/* Runs the runtime against a library made by hand, broken in one way per case; prints "CASE STATUS" lines. */
#include <stdio.h>
#include <string.h>

#include "dtmm/runtime.h"

static dtmm_library_header_t header;
static dtmm_export_attributes_t attributes[2];
static dtmm_library_t library;
static int calls, failing_call;

/* Adds its constant to its input; checks what a dispatch may rely on. */
static int add(const dtmm_environment_t *environment, const dtmm_dispatch_state_t *dispatch,
               const dtmm_workgroup_state_t *workgroup) {
  if (environment == NULL || dispatch->binding_count != 2 || dispatch->max_concurrency != 1) {
    return 2;
  }
  const uint8_t *input = dispatch->binding_pointers[0];
  uint8_t *output = dispatch->binding_pointers[1];
  const uint32_t x = workgroup->id_x + dispatch->workgroup_count_x * workgroup->id_y;
  output[x] = (uint8_t)(input[x] + dispatch->constants[0]);
  memset(workgroup->local_memory, 1, workgroup->local_memory_bytes);
  return ++calls == failing_call;
}

static int nothing(const dtmm_environment_t *environment, const dtmm_dispatch_state_t *dispatch,
                   const dtmm_workgroup_state_t *workgroup) {
  (void)environment, (void)dispatch, (void)workgroup;
  return 0;
}

static const dtmm_dispatch_function_t functions[2] = {add, nothing};
static int library_missing;

static const dtmm_library_header_t **query(uint32_t max_version, const dtmm_environment_t *environment) {
  (void)environment;
  return library_missing || max_version != 6 ? NULL : &library.header;
}

enum { ARENA, INPUT, OUTPUT, RESOURCE_COUNT };

static const dtmm_range_t ranges[2] = {{INPUT, 2, 6}, {OUTPUT, 0, 6}};
static const uint32_t constants[1] = {3};
static dtmm_dispatch_t dispatches[1] = {{.ordinal = 0,
                                         .workgroup_count_x = 3,
                                         .workgroup_count_y = 2,
                                         .workgroup_count_z = 1,
                                         .binding_count = 2,
                                         .constant_count = 1,
                                         .bindings = ranges,
                                         .constants = constants}};
static const dtmm_model_t model = {.query = query,
                                   .dispatches = dispatches,
                                   .dispatch_count = 1,
                                   .export_count = 2,
                                   .resource_count = RESOURCE_COUNT,
                                   .arena_bytes = 64 + 4096,
                                   .local_memory_offset = 64,
                                   .local_memory_bytes = 4096};

static _Alignas(64) uint8_t arena[64 + 4096 + 64], input[64], output[64];
static uint8_t *resources[RESOURCE_COUNT];
static size_t arena_size;

static void reset(void) {
  header = (dtmm_library_header_t){.version = 6, .name = "by hand"};
  memset(attributes, 0, sizeof attributes);
  attributes[0].binding_count = 2;
  attributes[0].constant_count = 1;
  attributes[0].local_memory_pages = 1;
  memset(&library, 0, sizeof library);
  library.header = &header;
  library.exports.count = 2;
  library.exports.functions = functions;
  library.exports.attributes = attributes;
  resources[ARENA] = arena;
  resources[INPUT] = input;
  resources[OUTPUT] = output;
  dispatches[0].ordinal = 0;
  arena_size = model.arena_bytes;
  calls = failing_call = library_missing = 0;
}

static dtmm_status_t run_model(void) {
  dtmm_run_t run = {.model = &model, .resources = resources};
  const dtmm_status_t status = dtmm_begin(&run, arena_size);
  return status == DTMM_OK ? dtmm_call(&run, &dispatches[0]) : status;
}

#define CASE(name, change)                                       \
  do {                                                           \
    reset();                                                     \
    change;                                                      \
    printf("%s %s\n", name, dtmm_status_text(run_model()));      \
  } while (0)

static void check_steps(void) {
  reset();
  dtmm_run_t run = {.model = &model, .resources = resources};
  const dtmm_range_t odd = {OUTPUT, 1, 6}, word = {OUTPUT, 8, 8}, copied = {ARENA, 5, 3}, from = {OUTPUT, 8, 3};
  memset(output, 0, sizeof output);
  dtmm_fill(&run, &odd, 0x1ff, 1);
  dtmm_fill(&run, &word, 0x04030201, 4);
  dtmm_copy(&run, &from, &copied);
  for (int i = 0; i < 17; ++i) {
    printf("%d ", output[i]);
  }
  printf("| %d %d %d\n", arena[5], arena[6], arena[7]);
}

static void check_sums(void) {
  const uint32_t words[3] = {1, 2, 3};
  printf("sums %s\n", dtmm_status_text(dtmm_check(words, 3, 6, 10)));
  printf("wrong_sum %s\n", dtmm_status_text(dtmm_check(words, 3, 7, 10)));
  printf("wrong_sum_of_sums %s\n", dtmm_status_text(dtmm_check(words, 3, 6, 11)));
}

int main(void) {
  for (int i = 0; i < 64; ++i) {
    input[i] = (uint8_t)i;
  }
  CASE("intact", (void)0);
  printf("outputs");
  for (int i = 0; i < 6; ++i) {
    printf(" %d", output[i]);
  }
  printf(" in %d calls\n", calls);
  CASE("null_arena", resources[ARENA] = NULL);
  CASE("null_output", resources[OUTPUT] = NULL);
  CASE("misaligned_arena", resources[ARENA] = arena + 16);
  CASE("misaligned_input", resources[INPUT] = input + 4);
  CASE("small_arena", arena_size -= 1);
  CASE("no_library", library_missing = 1);
  CASE("wrong_version", header.version = 5);
  CASE("imports", library.imports.count = 1);
  CASE("library_constants", library.constants.count = 1);
  CASE("export_count", library.exports.count = 3);
  CASE("ordinal", dispatches[0].ordinal = 2);
  CASE("binding_count", attributes[0].binding_count = 3);
  CASE("constant_count", attributes[0].constant_count = 0);
  CASE("local_memory", attributes[0].local_memory_pages = 2);
  CASE("failing_dispatch", failing_call = 4);
  printf("stopped after %d calls\n", calls);
  printf("unknown %s\n", dtmm_status_text((dtmm_status_t)99));
  check_sums();
  check_steps();
  return 0;
}
