/* What a program otherwise finds around itself: memory, time and chance. Here all three are functions of the events. */
#include <errno.h>
#include <stdlib.h>
#include <malloc.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "guest.h"

/* ---- memory: an allocation that fails ends the turn, whatever workflow code makes of the exception ---- */

static void *or_fault(void *memory) {
    if (!memory)
        raise_fault(FAULT_MEMORY);
    return memory;
}

static void *allocate_zeroed(void *opaque, size_t count, size_t size) {
    (void)opaque;
    return or_fault(calloc(count, size));
}

static uint32_t allocations;

static void *allocate(void *opaque, size_t size) {
    (void)opaque;
    allocations++;
    return or_fault(malloc(size));
}

static void release(void *opaque, void *memory) {
    (void)opaque;
    free(memory);
}

static void *reallocate(void *opaque, void *memory, size_t size) {
    (void)opaque;
    return or_fault(realloc(memory, size));
}

static size_t usable_size(const void *memory) { return malloc_usable_size((void *)memory); }

const JSMallocFunctions allocator = {allocate_zeroed, allocate, release, reallocate, usable_size};

/* QuickJS cuts small blocks out of arenas of 4 KiB, one size in each, makes an arena when all of that size are full, and frees it
 * with its last block. Where the prelude happens to fill the last arena of a size, a workflow that takes and gives back one block
 * at a time would make and free an arena each time (a quarter of what an `await` costs). So every size gets some room to spare: a
 * block that stays for ever in an arena that is new. */
void spare_room(void) {
    enum { SIZES_STEP = 8, SMALL_MAX = 504, SPARE = 8 };
    void *blocks[SPARE];
    for (size_t size = SIZES_STEP; size <= SMALL_MAX; size += SIZES_STEP) {
        for (int i = 0; i < SPARE; i++) {
            uint32_t before = allocations;
            blocks[i] = js_malloc(guest.ctx, size);
            if (allocations != before)
                blocks[i] = NULL; /* the first of a new arena: it stays */
        }
        for (int i = 0; i < SPARE; i++)
            js_free(guest.ctx, blocks[i]);
    }
}

/* ---- time: these take the place of the C library's, which would ask the world ---- */

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    int64_t ms = (int64_t)guest.now_ms, seconds = ms / 1000 - (ms % 1000 < 0);
    time->tv_sec = seconds;
    time->tv_usec = (suseconds_t)((ms - seconds * 1000) * 1000);
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    struct timeval now;
    (void)clock;
    gettimeofday(&now, NULL);
    time->tv_sec = now.tv_sec;
    time->tv_nsec = (long)now.tv_usec * 1000;
    return 0;
}

/* QuickJS asks for the offset from UTC only: there is none. */
struct tm *localtime_r(const time_t *restrict time, struct tm *restrict broken_down) {
    (void)time;
    memset(broken_down, 0, sizeof *broken_down);
    return broken_down;
}

/* ---- chance ---- */

/* Libraries draw numbers while they are loaded, and want no more than that they look random: until a run starts they come
 * from this seed, the same for all. Whoever asks for unguessable bytes must not get those: every run would have the same. */
static const uint8_t seed_of_loading[17] = "before the start";

static int check_seeded(void) {
    static const char why[] = "there are no random bytes before the run starts, for they would be the same in every run: use "
                              "crypto inside the workflow function (Math.random is there, from a constant seed)";
    return guest.started ? 0 : throw_type_error(why, sizeof why - 1);
}

static JSValue random_number(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value, (void)argc, (void)argv;
    return JS_NewFloat64(ctx, (double)(chance_next(guest.random) >> 11) * 0x1p-53);
}

static JSValue random_values(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    static const char why[] = "getRandomValues fills an integer typed array of at most 65536 bytes";
    size_t offset, size, each, whole;
    int type = argc ? JS_GetTypedArrayType(argv[0]) : -1;
    (void)this_value;
    if (check_seeded())
        return JS_EXCEPTION;
    if (type < 0 || type >= JS_TYPED_ARRAY_FLOAT16) {
        throw_type_error(why, sizeof why - 1);
        return JS_EXCEPTION;
    }
    JSValue buffer = JS_GetTypedArrayBuffer(ctx, argv[0], &offset, &size, &each);
    if (JS_IsException(buffer))
        return JS_EXCEPTION;
    uint8_t *bytes = JS_GetArrayBuffer(ctx, &whole, buffer);
    JS_FreeValue(ctx, buffer); /* the typed array keeps it */
    if (!bytes)
        return JS_EXCEPTION;
    if (size > 65536 || offset + size > whole) {
        throw_type_error(why, sizeof why - 1);
        return JS_EXCEPTION;
    }
    chance_fill(guest.random, bytes + offset, size);
    return JS_DupValue(ctx, argv[0]);
}

static JSValue random_uuid(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    uint8_t bytes[16];
    char text[36];
    (void)this_value, (void)argc, (void)argv;
    if (check_seeded())
        return JS_EXCEPTION;
    chance_fill(guest.random, bytes, sizeof bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40; /* RFC 9562: version 4 */
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    for (int i = 0, at = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text[at++] = '-';
        text[at++] = "0123456789abcdef"[bytes[i] >> 4];
        text[at++] = "0123456789abcdef"[bytes[i] & 15];
    }
    return JS_NewStringLen(ctx, text, sizeof text);
}

static JSValue has_started(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)ctx, (void)this_value, (void)argc, (void)argv;
    return JS_NewBool(ctx, guest.started);
}

int ambient_define(void) {
    static const JSCFunctionListEntry functions[] = {
        JS_CFUNC_DEF("random", 0, random_number),
        JS_CFUNC_DEF("getRandomValues", 1, random_values),
        JS_CFUNC_DEF("randomUUID", 0, random_uuid),
        JS_CFUNC_DEF("hasStarted", 0, has_started),
    };
    chance_seed(guest.random, seed_of_loading);
    return JS_SetPropertyFunctionList(guest.ctx, guest.namespace_object, functions, 4);
}
