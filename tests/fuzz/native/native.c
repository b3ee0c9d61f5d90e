/* Setting up the guest outside of wasm, and what it is asked to do there. */
#include "native.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0
#endif

long live_allocations;
long allocations_left = -1;

/* ambient.c is compiled with these in the place of the C library's. */
void *counted_malloc(size_t size);
void *counted_calloc(size_t count, size_t size);
void *counted_realloc(void *memory, size_t size);
void counted_free(void *memory);

static bool is_starved(void) { return allocations_left == 0 || (allocations_left > 0 && --allocations_left < 0); }

void *counted_malloc(size_t size) {
    void *memory = is_starved() ? NULL : malloc(size);
    live_allocations += memory != NULL;
    return memory;
}

void *counted_calloc(size_t count, size_t size) {
    void *memory = is_starved() ? NULL : calloc(count, size);
    live_allocations += memory != NULL;
    return memory;
}

void *counted_realloc(void *memory, size_t size) {
    void *moved = is_starved() ? NULL : realloc(memory, size);
    live_allocations += !memory && moved;
    return moved;
}

void counted_free(void *memory) {
    live_allocations -= memory != NULL;
    free(memory);
}

void die(const char *what) {
    fprintf(stderr, "native guest: %s\n", what);
    exit(2);
}

/* Before main.c makes its runtime: TURN must be there. */
__attribute__((constructor(101))) static void map_windows(void) {
    uint8_t *wanted = (uint8_t *)STACK_BYTES;
    size_t size = (size_t)STATE_ADDRESS - (size_t)STACK_BYTES;
    void *got = mmap(wanted, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (got != wanted)
        die("this system has no memory to give at the address of the windows");
}

void *copy(const void *bytes, size_t size) {
    void *made = malloc(size ? size : 1);
    if (!made)
        die("out of memory");
    if (size)
        memcpy(made, bytes, size);
    return made;
}

uint8_t *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(WINDOW_BYTES);
    if (!file || !bytes)
        die(path);
    *size = fread(bytes, 1, WINDOW_BYTES, file);
    fclose(file);
    return bytes;
}

static uint32_t put_file(const char *path) {
    size_t size;
    uint8_t *bytes = read_file(path, &size);
    memcpy(INPUT_WINDOW, bytes, size);
    free(bytes);
    return (uint32_t)size;
}

void run_prelude(const char *path) {
    if (prelude(put_file(path)))
        die(path);
}

void load_workflow(const char *path) {
    if (load(put_file(path)))
        die(path);
}

void begin(void) {
    *TURN = (struct turn){.at = OUTPUT_WINDOW, .limit = OUTPUT_WINDOW + EVENT_OUTPUT_MAX};
    JS_UpdateStackTop(guest.rt);
}

static struct round_trip refused(enum outcome outcome, size_t consumed) {
    JS_FreeValue(guest.ctx, JS_GetException(guest.ctx));
    return (struct round_trip){outcome, consumed, 0};
}

struct round_trip value_round_trip(const uint8_t *bytes, size_t size) {
    struct place root = ROOT("value");
    uint8_t *exact = copy(bytes, size); /* so that ASan sees a byte too many */
    struct reader r = {exact, exact + size};
    begin();
    JSValue value = read_value(&r, 0);
    size_t consumed = (size_t)(r.at - exact);
    free(exact);
    if (JS_IsException(value))
        return refused(REFUSED, 0);
    int failed = write_value(value, 0, &root);
    JS_FreeValue(guest.ctx, value);
    if (failed)
        return refused(CANNOT_CROSS, consumed);
    return (struct round_trip){CAME_BACK, consumed, (size_t)(TURN->at - OUTPUT_WINDOW)};
}

int deliver_all(uint32_t size, void (*take)(const uint8_t *bytes, size_t size)) {
    while (size) {
        int64_t answer = turn(size);
        if (answer < 0)
            return (int)answer;
        uint32_t consumed = (uint32_t)(answer >> 32);
        take(OUTPUT_WINDOW, (size_t)(answer & 0xffffffff));
        size -= consumed;
        memmove(INPUT_WINDOW, INPUT_WINDOW + consumed, size);
    }
    return 0;
}

int deliver_one_by_one(uint32_t size, void (*take)(const uint8_t *bytes, size_t size)) {
    struct reader r = {INPUT_WINDOW, INPUT_WINDOW + size};
    while (r.at < r.end) {
        begin();
        int fault = deliver(&r);
        if (fault)
            return fault;
        *TURN->at++ = 0xf6;
        take(OUTPUT_WINDOW, (size_t)(TURN->at - OUTPUT_WINDOW));
    }
    return 0;
}
