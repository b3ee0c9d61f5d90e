/* What an object has, before it is written: its entries in canonical order. Writing them is cbor_write.c's. */
#include <stdlib.h>

#include "guest.h"

static int compare(const void *a, const void *b) { return key_order(a, b); }

int collect(JSValueConst object, const JSPropertyEnum *names, uint32_t count, struct entry *entries, int *filled) {
    bool sorted = true;
    for (uint32_t i = 0; i < count; i++) {
        struct entry *e = &entries[*filled];
        e->value = JS_GetProperty(guest.ctx, object, names[i].atom);
        if (JS_IsException(e->value))
            return -1;
        if (JS_IsUndefined(e->value))
            continue;
        e->key.text = JS_AtomToCStringLen(guest.ctx, &e->key.size, names[i].atom);
        if (!e->key.text)
            return -1;
        text_mend((char *)e->key.text, e->key.size);
        if (++*filled > 1 && sorted)
            sorted = compare(e - 1, e) < 0;
    }
    if (!sorted)
        qsort(entries, (size_t)*filled, sizeof *entries, compare);
    return 0;
}

int has_private_state(JSValueConst value) {
    JSPropertyEnum *names;
    uint32_t count;
    int found = 0;
    if (JS_GetOwnPropertyNames(guest.ctx, &names, &count, value, JS_GPN_PRIVATE_MASK))
        return -1;
    for (uint32_t i = 0; i < count && !found; i++) {
        JSValue state = JS_GetProperty(guest.ctx, value, names[i].atom);
        found = JS_IsException(state) ? -1 : !JS_IsUndefined(state);
        JS_FreeValue(guest.ctx, state);
    }
    JS_FreePropertyEnum(guest.ctx, names, count);
    return found;
}
