/* CBOR out, of values; as bytes it is written by ../../common/wire_write.c, straight into the output window.
 *
 * Recursion is bounded by DEPTH_MAX. A getter may run workflow code in the middle of a value; it cannot ask for a
 * command meanwhile (TURN->writing), and a map's values are read before the first of them is written.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

int write_string(JSValueConst text) {
    size_t size;
    const char *bytes = JS_ToCStringLen(guest.ctx, &size, text);
    if (!bytes)
        return -1;
    text_mend((char *)bytes, size); /* ASCII is shared and not touched; everything else is a copy of our own */
    int failed = write_text(bytes, size);
    JS_FreeCString(guest.ctx, bytes);
    return failed;
}

int write_numbered(JSValueConst name, uint32_t number) {
    char suffix[11];
    size_t size, at = sizeof suffix;
    const char *bytes;
    if (number == 1)
        return write_string(name);
    for (; number; number /= 10)
        suffix[--at] = (char)('0' + number % 10);
    suffix[--at] = '#';
    bytes = JS_ToCStringLen(guest.ctx, &size, name);
    if (!bytes)
        return -1;
    text_mend((char *)bytes, size);
    int failed = write_head(3, size + sizeof suffix - at) || put(bytes, size) || put(suffix + at, sizeof suffix - at);
    JS_FreeCString(guest.ctx, bytes);
    return failed ? -1 : 0;
}

/* ---- numbers ---- */

static int write_number(double number) {
    bool integral = number == trunc(number) && fabs(number) <= 9007199254740991.0 && !(number == 0 && signbit(number));
    return integral ? write_int((int64_t)number) : write_float(number);
}

static uint8_t nibble(char c) { return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10); }

/* Hex digits of -1 - n (if negative) or n. */
static int write_hex(const char *hex, size_t size, bool negative) {
    size_t count = (size + 1) / 2, at = 0;
    uint8_t *bytes = js_malloc(guest.ctx, count);
    if (!bytes)
        return -1;
    if (size % 2)
        bytes[at++] = nibble(*hex++);
    for (; at < count; hex += 2)
        bytes[at++] = (uint8_t)(nibble(hex[0]) << 4 | nibble(hex[1]));
    int failed = write_big(bytes, count, negative);
    js_free(guest.ctx, bytes);
    return failed;
}

/* The prelude answers the digits with a sign before them: "-" stands for -1 - n. */
static int write_bigint(JSValueConst value) {
    JSValue text = JS_Call(guest.ctx, guest.bigint_to_hex, JS_UNDEFINED, 1, &value);
    size_t size;
    const char *hex = JS_IsException(text) ? NULL : JS_ToCStringLen(guest.ctx, &size, text);
    int failed = hex ? write_hex(hex + 1, size - 1, *hex == '-') : -1;
    if (hex)
        JS_FreeCString(guest.ctx, hex);
    JS_FreeValue(guest.ctx, text);
    return failed;
}

/* ---- refusals ---- */

int throw_type_error(const char *message, size_t size) {
    JSValue text = JS_NewStringLen(guest.ctx, message, size);
    JSValue error = JS_CallConstructor(guest.ctx, guest.type_error, 1, &text);
    JS_FreeValue(guest.ctx, text);
    JS_Throw(guest.ctx, error);
    return -1;
}

static int refuse_class(const struct place *place, JSValueConst value) {
    char why[80];
    JSAtom atom = JS_GetClassName(guest.rt, JS_GetClassID(value));
    const char *name = JS_AtomToCString(guest.ctx, atom);
    bool vowel = name && strchr("AEIOU", *name) && *name;
    strcpy(why, vowel ? "is an " : "is a ");
    strncat(why, name ? name : "exotic object", 60);
    if (name)
        JS_FreeCString(guest.ctx, name);
    JS_FreeAtom(guest.ctx, atom);
    return refuse(place, why);
}

/* ---- objects ---- */

static int write_date(JSValueConst date, const struct place *place) {
    char text[TIMESTAMP_BYTES];
    JSValue ms = JS_Call(guest.ctx, guest.date_get_time, date, 0, NULL);
    double number;
    if (JS_ToFloat64(guest.ctx, &number, ms))
        return -1;
    if (isnan(number))
        return refuse(place, "is an invalid Date");
    if (timestamp_write(number, text))
        return refuse(place, "is a Date outside of the years 0001 to 9999");
    return put("\xc0", 1) || write_text(text, sizeof text) ? -1 : 0;
}

/* The bytes are asked for before their size is used: C does not say in which order arguments are evaluated. */
static int write_binary(JSValueConst value, uint8_t *get(JSContext *, size_t *, JSValueConst), const struct place *place) {
    size_t size = 0;
    const uint8_t *bytes = get(guest.ctx, &size, value);
    if (!bytes && JS_HasException(guest.ctx)) {
        JS_FreeValue(guest.ctx, JS_GetException(guest.ctx));
        return refuse(place, "is a detached buffer");
    }
    return write_head(2, size) || (size && put(bytes, size)) ? -1 : 0;
}

static int write_list(JSValueConst array, int depth, struct place *here) {
    struct place item = {.up = here};
    int64_t size;
    if (JS_GetLength(guest.ctx, array, &size) || write_head(4, (uint64_t)size))
        return -1;
    for (int64_t i = 0; i < size; i++) {
        JSValue value = JS_GetPropertyInt64(guest.ctx, array, i);
        item.index = i;
        int failed = JS_IsException(value) ? -1 : write_value(value, depth + 1, &item);
        JS_FreeValue(guest.ctx, value);
        if (failed)
            return -1;
    }
    return 0;
}

struct entry {
    struct key key; /* first: `compare` sees nothing else */
    JSValue value;
};

static int compare(const void *a, const void *b) { return key_order(a, b); }

/* The entries of an object that are there: their count, or -1. Entries are filled from the first on, so that they can
 * be freed in any case. */
static int collect(JSValueConst object, const JSPropertyEnum *names, uint32_t count, struct entry *entries, int *filled) {
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

static int write_entries(const struct entry *entries, int count, int depth, const struct place *here) {
    if (write_head(5, (uint64_t)count))
        return -1;
    for (int i = 0; i < count; i++) {
        struct place place = {.up = here, .key = entries[i].key.text, .key_size = entries[i].key.size};
        if (i && compare(&entries[i - 1], &entries[i]) == 0)
            return refuse(&place, "is there twice: its key has lone surrogates");
        if (write_text(entries[i].key.text, entries[i].key.size) || write_value(entries[i].value, depth + 1, &place))
            return -1;
    }
    return 0;
}

static int write_map(JSValueConst object, int depth, struct place *here) {
    enum { FEW = 12 }; /* most objects: no allocation for them */
    struct entry few[FEW], *entries = few;
    JSPropertyEnum *names;
    uint32_t count;
    int filled = 0, failed = -1;
    if (JS_GetOwnPropertyNames(guest.ctx, &names, &count, object, JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY))
        return -1;
    if (count > FEW)
        entries = js_malloc(guest.ctx, count * sizeof *entries);
    if (entries) {
        failed = collect(object, names, count, entries, &filled) || write_entries(entries, filled, depth, here);
        for (int i = 0; i < filled; i++) {
            JS_FreeCString(guest.ctx, entries[i].key.text);
            JS_FreeValue(guest.ctx, entries[i].value);
        }
    }
    if (entries != few)
        js_free(guest.ctx, entries);
    JS_FreePropertyEnum(guest.ctx, names, count);
    return failed ? -1 : 0;
}

static int write_container(JSValueConst value, JSClassID class, int depth, const struct place *place) {
    struct place here = *place;
    here.object = JS_VALUE_GET_PTR(value);
    for (const struct place *p = place->up; p; p = p->up)
        if (p->object == here.object)
            return refuse(place, "is a cycle");
    if (depth >= DEPTH_MAX)
        return refuse(place, "is nested deeper than 64");
    if (class == guest.class_error)
        return write_failure(value, depth, place);
    return class == guest.class_array ? write_list(value, depth, &here) : write_map(value, depth, &here);
}

static int write_object(JSValueConst value, int depth, const struct place *place) {
    JSClassID class = JS_GetClassID(value);
    if (class == guest.class_object || class == guest.class_array || class == guest.class_error)
        return write_container(value, class, depth, place);
    if (class == guest.class_date)
        return write_date(value, place);
    if (class == guest.class_uint8_array)
        return write_binary(value, JS_GetUint8Array, place);
    if (class == guest.class_array_buffer)
        return write_binary(value, JS_GetArrayBuffer, place);
    if (JS_IsProxy(value))
        return refuse(place, "is a Proxy");
    return JS_IsFunction(guest.ctx, value) ? refuse(place, "is a function") : refuse_class(place, value);
}

int write_value(JSValueConst value, int depth, const struct place *place) {
    switch (JS_VALUE_GET_NORM_TAG(value)) {
    case JS_TAG_INT: return write_int(JS_VALUE_GET_INT(value));
    case JS_TAG_BOOL: return put(JS_VALUE_GET_BOOL(value) ? "\xf5" : "\xf4", 1);
    case JS_TAG_NULL:
    case JS_TAG_UNDEFINED: return put("\xf6", 1);
    case JS_TAG_FLOAT64: return write_number(JS_VALUE_GET_FLOAT64(value));
    case JS_TAG_STRING:
    case JS_TAG_STRING_ROPE: return write_string(value);
    case JS_TAG_SHORT_BIG_INT:
    case JS_TAG_BIG_INT: return write_bigint(value);
    case JS_TAG_OBJECT: return write_object(value, depth, place);
    case JS_TAG_SYMBOL: return refuse(place, "is a symbol");
    default: return refuse(place, "is no value");
    }
}

int try_value(JSValueConst value, int depth, const struct place *place) {
    uint8_t *mark = TURN->at;
    if (!write_value(value, depth, place))
        return 1;
    if (TURN->fault)
        return -1;
    JS_FreeValue(guest.ctx, JS_GetException(guest.ctx));
    TURN->at = mark;
    return 0;
}
