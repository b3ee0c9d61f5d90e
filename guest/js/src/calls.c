/* The open calls: a table with open addressing by id, linear probing, and deletion that closes the gap.
 *
 * It grows and shrinks with what is open, so that memory and checkpoints do not follow what has happened.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

enum { CAPACITY_MIN = 16 };

static struct {
    struct call *slots;
    uint32_t capacity; /* 0 or a power of two */
    uint32_t count;
    uint32_t last_id;
} calls;

uint32_t calls_next_id(void) { return calls.last_id + 1; }

/* Fibonacci hashing (Knuth, 6.4). The id's own low bits would fill the table in one run without gaps, and every deletion
 * would walk it to the end. */
static uint32_t home(uint32_t id) { return (id * 2654435769u >> 16 ^ id * 2654435769u) & (calls.capacity - 1); }

static struct call *probe(uint32_t id) {
    uint32_t i = home(id);
    while (calls.slots[i].id && calls.slots[i].id != id)
        i = (i + 1) & (calls.capacity - 1);
    return &calls.slots[i];
}

static int resize(uint32_t capacity) {
    struct call *old = calls.slots, *slots = js_mallocz(guest.ctx, capacity * sizeof *slots);
    uint32_t old_capacity = calls.capacity;
    if (!slots)
        return -1;
    calls.slots = slots;
    calls.capacity = capacity;
    for (uint32_t i = 0; i < old_capacity; i++)
        if (old[i].id)
            *probe(old[i].id) = old[i];
    js_free(guest.ctx, old);
    return 0;
}

int calls_add(const struct call *call) {
    if (calls.count * 2 >= calls.capacity && resize(calls.capacity ? calls.capacity * 2 : CAPACITY_MIN))
        return -1;
    *probe(call->id) = *call;
    calls.last_id = call->id;
    calls.count++;
    return 0;
}

struct call *calls_find(uint64_t id) {
    if (!calls.capacity || !id || id > calls.last_id)
        return NULL;
    struct call *slot = probe((uint32_t)id);
    return slot->id ? slot : NULL;
}

/* A scan: only `abandon` asks, and it is rare. */
struct call *calls_find_promise(JSValueConst promise) {
    for (uint32_t i = 0; i < calls.capacity; i++)
        if (calls.slots[i].id && !calls.slots[i].abandoned &&
            JS_VALUE_GET_PTR(calls.slots[i].promise) == JS_VALUE_GET_PTR(promise))
            return &calls.slots[i];
    return NULL;
}

JSValue call_path(const struct call *call) {
    if (call->number <= 1)
        return JS_DupValue(guest.ctx, call->path);
    size_t size;
    const char *name = JS_ToCStringLen(guest.ctx, &size, call->path);
    char *path = name ? js_malloc(guest.ctx, size + 12) : NULL;
    JSValue made = JS_EXCEPTION;
    if (path) {
        memcpy(path, name, size);
        made = JS_NewStringLen(guest.ctx, path, size + (size_t)snprintf(path + size, 12, "#%u", (unsigned)call->number));
    }
    js_free(guest.ctx, path);
    JS_FreeCString(guest.ctx, name);
    return made;
}

static int by_id(const void *left, const void *right) {
    uint32_t a = (*(struct call *const *)left)->id, b = (*(struct call *const *)right)->id;
    return a < b ? -1 : a > b;
}

JSValue calls_list(void) {
    struct call **open = js_malloc(guest.ctx, (calls.count + 1) * sizeof *open); /* one more: never of no size */
    uint32_t count = 0;
    if (!open)
        return JS_EXCEPTION;
    for (uint32_t i = 0; i < calls.capacity; i++)
        if (calls.slots[i].id && !calls.slots[i].abandoned)
            open[count++] = &calls.slots[i];
    qsort(open, count, sizeof *open, by_id);
    JSValue list = JS_NewArray(guest.ctx);
    for (uint32_t i = 0; i < count; i++) {
        JS_DefinePropertyValueUint32(guest.ctx, list, 2 * i, JS_NewUint32(guest.ctx, open[i]->id), JS_PROP_C_W_E);
        JS_DefinePropertyValueUint32(guest.ctx, list, 2 * i + 1, call_path(open[i]), JS_PROP_C_W_E);
    }
    js_free(guest.ctx, open);
    return list;
}

struct call calls_take(struct call *call) {
    struct call taken = *call;
    uint32_t mask = calls.capacity - 1, gap = (uint32_t)(call - calls.slots);
    for (uint32_t i = (gap + 1) & mask; calls.slots[i].id; i = (i + 1) & mask) {
        /* Move back what may stand in the gap: its home is not between the gap and where it is. */
        if (((i - home(calls.slots[i].id)) & mask) >= ((i - gap) & mask)) {
            calls.slots[gap] = calls.slots[i];
            gap = i;
        }
    }
    calls.slots[gap] = (struct call){0};
    calls.count--;
    if (calls.capacity > CAPACITY_MIN && calls.count * 8 < calls.capacity)
        (void)resize(calls.capacity / 2); /* no memory: it stays large, and the turn ends with a fault anyway */
    return taken;
}

void call_free(struct call *call) {
    JS_FreeValue(guest.ctx, call->path);
    JS_FreeValue(guest.ctx, call->promise);
    JS_FreeValue(guest.ctx, call->resolve);
    JS_FreeValue(guest.ctx, call->reject);
    JS_FreeValue(guest.ctx, call->value);
}

void call_forget(struct call *call) {
    struct call forgotten = *call;
    call->abandoned = true;
    call->path = call->promise = call->resolve = call->reject = call->value = JS_UNDEFINED;
    call_free(&forgotten);
}
