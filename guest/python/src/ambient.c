/* The outside as CPython sees it: a clock that stands at the event's time, seeded chance, an empty world.
 *
 * These take the place of WASI functions in the canonical ABI of components: `into` is where a result that is no number goes. All
 * other WASI functions are stubs that trap: the wall behind the world's refusals.
 */
#include <stdlib.h>

#include "guest.h"

#define ANSWER(name) __attribute__((export_name("cloche_answer_" #name))) answer_##name

struct moment {
    uint64_t seconds;
    uint32_t nanoseconds;
};

struct list {
    uint32_t at, size;
};

void ANSWER(wall_now)(struct moment *into) {
    int64_t ms = guest.now_ms > 0 ? guest.now_ms : 0; /* WASI's wall clock begins in 1970 */
    *into = (struct moment){(uint64_t)ms / 1000, (uint32_t)(ms % 1000) * 1000000};
}

void ANSWER(wall_resolution)(struct moment *into) { *into = (struct moment){0, 1000000}; }

uint64_t ANSWER(monotonic_now)(void) { return guest.now_ms > 0 ? (uint64_t)guest.now_ms * 1000000 : 0; }

uint64_t ANSWER(monotonic_resolution)(void) { return 1000000; }

void ANSWER(nothing)(struct list *into) { *into = (struct list){4, 0}; }

void ANSWER(random_bytes)(uint64_t size, struct list *into) {
    uint8_t *bytes = malloc((size_t)size + 1);
    if (!bytes)
        __builtin_trap();
    chance_fill(guest.random, bytes, (size_t)size);
    *into = (struct list){(uint32_t)(uintptr_t)bytes, (uint32_t)size};
}
