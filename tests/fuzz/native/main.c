/* The native guest: `values` and `events` read from standard input, `fuzz-values` and `fuzz-events` make their own.
 *
 *   native values PRELUDE…                   records (u32 size, bytes) → a line each: hex as it came back, or why not
 *   native starve PRELUDE…                   the same → how many allocations each has needed, having failed each
 *   native events WORKFLOW one|all PRELUDE…  a sequence of events → the output as it is in wasm; a fault is the exit code
 *   native fuzz-values|fuzz-events …         see fuzz.c
 *   native overflow|overrun                  does what its sanitizer must not let pass
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "native.h"

static int values(void) {
    uint32_t size;
    while (fread(&size, sizeof size, 1, stdin) == 1) {
        uint8_t *bytes = malloc(size ? size : 1);
        if (!bytes || fread(bytes, 1, size, stdin) != size)
            die("a record is cut off");
        struct round_trip got = value_round_trip(bytes, size);
        if (got.outcome == REFUSED)
            printf("refused");
        else if (got.outcome == CANNOT_CROSS)
            printf("cannot cross");
        for (size_t i = 0; i < got.produced; i++)
            printf("%02x", OUTPUT_WINDOW[i]);
        printf(" %zu\n", got.consumed);
        free(bytes);
    }
    return 0;
}

/* Each input once for every allocation of its round trip, with memory for all before that one. */
static int starve(void) {
    uint32_t size;
    while (fread(&size, sizeof size, 1, stdin) == 1) {
        uint8_t *bytes = malloc(size ? size : 1);
        if (!bytes || fread(bytes, 1, size, stdin) != size)
            die("a record is cut off");
        int times = 0;
        for (int status = 1; status; times++) {
            fflush(stdout);
            pid_t child = fork();
            if (!child) {
                allocations_left = times;
                value_round_trip(bytes, size);
                _exit(TURN->fault == FAULT_MEMORY ? 1 : 0);
            }
            if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) > 1)
                die("without memory it crashes");
        }
        printf("%d\n", times - 1);
        free(bytes);
    }
    return 0;
}

static void print(const uint8_t *bytes, size_t size) { fwrite(bytes, 1, size, stdout); }

static int events(int one_by_one) {
    size_t size = fread(INPUT_WINDOW, 1, WINDOW_BYTES, stdin);
    int fault = (one_by_one ? deliver_one_by_one : deliver_all)((uint32_t)size, print);
    fflush(stdout);
    return -fault;
}

static int overflow(void) {
    volatile int most = INT_MAX;
    return most + 1 == 0;
}

static int overrun(void) {
    volatile size_t size = 1;
    uint8_t *bytes = copy("", size);
    return bytes[size] == 0;
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strncmp(mode, "fuzz-", 5))
        return (!strcmp(mode, "fuzz-values") ? fuzz_values : fuzz_events)(argc - 2, argv + 2);
    if (!strcmp(mode, "overflow") || !strcmp(mode, "overrun"))
        return (mode[4] == 'f' ? overflow : overrun)();
    bool with_workflow = !strcmp(mode, "events");
    for (int i = with_workflow ? 4 : 2; i < argc; i++)
        run_prelude(argv[i]);
    if (!with_workflow)
        return !strcmp(mode, "starve") ? starve() : values();
    load_workflow(argv[2]);
    return events(!strcmp(argv[3], "one"));
}
