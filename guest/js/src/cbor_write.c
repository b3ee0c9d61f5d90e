/* CBOR out: RFC 8949 section 4.2.1 with the float64 profile of ABI.md, straight into the output window.
 *
 * Recursion is bounded by DEPTH_MAX. A getter may run workflow code in the middle of a value; it cannot ask for a
 * command meanwhile (TURN->writing), and a map's values are read before the first of them is written.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

static inline int room(size_t size) {
    return size > (size_t)(TURN->limit - TURN->at) ? raise_fault(FAULT_OUTPUT) : 0;
}

static int put(const void *bytes, size_t size) {
    if (room(size))
        return -1;
    memcpy(TURN->at, bytes, size);
    TURN->at += size;
    return 0;
}

static void put_big_endian(uint64_t value, int size) {
    for (int shift = 8 * (size - 1); shift >= 0; shift -= 8)
        *TURN->at++ = (uint8_t)(value >> shift);
}

int write_head(int major, uint64_t argument) {
    int info = argument < 24 ? (int)argument : argument <= 0xff ? 24 : argument <= 0xffff ? 25 : argument <= 0xffffffff ? 26 : 27;
    if (room(9))
        return -1;
    *TURN->at++ = (uint8_t)(major << 5 | info);
    if (info >= 24)
        put_big_endian(argument, 1 << (info - 24));
    return 0;
}

int write_int(int64_t value) { return value < 0 ? write_head(1, (uint64_t)(-1 - value)) : write_head(0, (uint64_t)value); }

int write_text(const char *text, size_t size) { return write_head(3, size) || put(text, size) ? -1 : 0; }

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

static int write_float(double number) {
    uint64_t bits;
    if (isnan(number))
        return put("\xf9\x7e\x00", 3);
    if (isinf(number))
        return put(number > 0 ? "\xf9\x7c\x00" : "\xf9\xfc\x00", 3);
    memcpy(&bits, &number, 8);
    if (room(9))
        return -1;
    *TURN->at++ = 0xfb;
    put_big_endian(bits, 8);
    return 0;
}

static int write_number(double number) {
    bool integral = number == trunc(number) && fabs(number) <= 9007199254740991.0 && !(number == 0 && signbit(number));
    return integral ? write_int((int64_t)number) : write_float(number);
}

static int nibble(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/* Hex digits of -1 - n (if negative) or n, as integer or, beyond 64 bits, as bignum. */
static int write_hex(const char *hex, size_t size, bool negative) {
    if (size <= 16) {
        uint64_t value = 0;
        for (size_t i = 0; i < size; i++)
            value = value << 4 | (uint64_t)nibble(hex[i]);
        return write_head(negative, value);
    }
    size_t bytes = (size + 1) / 2;
    if (write_head(6, negative ? 3 : 2) || write_head(2, bytes) || room(bytes))
        return -1;
    if (size % 2)
        *TURN->at++ = (uint8_t)nibble(*hex++);
    for (size_t i = size % 2; i < bytes; i++, hex += 2)
        *TURN->at++ = (uint8_t)(nibble(hex[0]) << 4 | nibble(hex[1]));
    return 0;
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

struct message {
    char text[600];
    size_t size;
};

static void append(struct message *m, const char *text, size_t size) {
    size_t left = sizeof m->text - m->size;
    if (size > left)
        size = left;
    memcpy(m->text + m->size, text, size);
    m->size += size;
}

static bool is_identifier(const char *key, size_t size) {
    for (size_t i = 0; i < size; i++) {
        char c = key[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
        if (!letter && !(i && c >= '0' && c <= '9'))
            return false;
    }
    return size > 0;
}

static void append_place(struct message *m, const struct place *place) {
    enum { KEY_MAX = 60 };
    if (!place->up) {
        append(m, place->key, place->key_size);
    } else if (!place->key) {
        char digits[24];
        int count = 0;
        for (int64_t i = place->index; i || !count; i /= 10)
            digits[sizeof digits - 1 - (size_t)count++] = (char)('0' + i % 10);
        append(m, "[", 1);
        append(m, digits + sizeof digits - count, (size_t)count);
        append(m, "]", 1);
    } else {
        bool plain = is_identifier(place->key, place->key_size);
        append(m, plain ? "." : "[\"", plain ? 1 : 2);
        append(m, place->key, place->key_size > KEY_MAX ? KEY_MAX : place->key_size);
        append(m, "\"]", plain ? 0 : 2);
    }
}

int throw_type_error(const char *message, size_t size) {
    JSValue text = JS_NewStringLen(guest.ctx, message, size);
    JSValue error = JS_CallConstructor(guest.ctx, guest.type_error, 1, &text);
    JS_FreeValue(guest.ctx, text);
    JS_Throw(guest.ctx, error);
    return -1;
}

int refuse(const struct place *place, const char *why) {
    const struct place *chain[DEPTH_MAX + 4];
    struct message m = {.size = 0};
    int count = 0;
    for (; place && count < DEPTH_MAX + 4; place = place->up)
        chain[count++] = place;
    while (count--)
        append_place(&m, chain[count]);
    append(&m, " ", 1);
    append(&m, why, strlen(why));
    return throw_type_error(m.text, m.size);
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
    const char *key;
    size_t size;
    JSValue value;
};

static int order(const struct entry *a, const struct entry *b) {
    if (a->size != b->size)
        return a->size < b->size ? -1 : 1;
    return memcmp(a->key, b->key, a->size);
}

static int compare(const void *a, const void *b) { return order(a, b); }

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
        e->key = JS_AtomToCStringLen(guest.ctx, &e->size, names[i].atom);
        if (!e->key)
            return -1;
        text_mend((char *)e->key, e->size);
        if (++*filled > 1 && sorted)
            sorted = order(e - 1, e) < 0;
    }
    if (!sorted)
        qsort(entries, (size_t)*filled, sizeof *entries, compare);
    return 0;
}

static int write_entries(const struct entry *entries, int count, int depth, const struct place *here) {
    if (write_head(5, (uint64_t)count))
        return -1;
    for (int i = 0; i < count; i++) {
        struct place place = {.up = here, .key = entries[i].key, .key_size = entries[i].size};
        if (i && order(&entries[i - 1], &entries[i]) == 0)
            return refuse(&place, "is there twice: its key has lone surrogates");
        if (write_text(entries[i].key, entries[i].size) || write_value(entries[i].value, depth + 1, &place))
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
            JS_FreeCString(guest.ctx, entries[i].key);
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
