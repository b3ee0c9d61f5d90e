/* The guest's C, compiled for the machine at hand: what the programs around it share.
 *
 * Everything of guest/js/src but libc.c is linked as it is, with QuickJS. The windows lie at a fixed address as they do in
 * wasm, and memory is taken through counted functions, so that what leaks is seen at once.
 */
#ifndef CLOCHE_NATIVE_H
#define CLOCHE_NATIVE_H

#include "guest.h"

/* main.c; in wasm these are exports. */
int32_t load(uint32_t size);
int32_t prelude(uint32_t size);
int64_t turn(uint32_t size);

/* ---- native.c ---- */

extern long live_allocations;
extern long allocations_left; /* then there is no memory any more; negative: there is always some */

void die(const char *what);
void *copy(const void *bytes, size_t size);

/* The whole of a file; the caller frees it. */
uint8_t *read_file(const char *path, size_t *size);
/* As `turn` begins, without one. */
void begin(void);
/* Puts text into the input window and evaluates it as a file of the prelude, or as the workflow. */
void run_prelude(const char *path);
void load_workflow(const char *path);

enum outcome { REFUSED, CAME_BACK, CANNOT_CROSS };
struct round_trip {
    enum outcome outcome;
    size_t consumed; /* of the input, unless it was refused */
    size_t produced; /* in the output window, if it came back */
};
/* Reads one value from exactly these bytes, writes it, and leaves nothing behind. */
struct round_trip value_round_trip(const uint8_t *bytes, size_t size);

/* Delivers all of the input window's `size` bytes: 0 or the fault. Output is handed to `take` turn by turn. */
int deliver_all(uint32_t size, void (*take)(const uint8_t *bytes, size_t size));
/* The same, one event in each turn. */
int deliver_one_by_one(uint32_t size, void (*take)(const uint8_t *bytes, size_t size));

/* ---- fuzz.c ---- */

int fuzz_values(int argc, char **argv);
int fuzz_events(int argc, char **argv);

#endif
