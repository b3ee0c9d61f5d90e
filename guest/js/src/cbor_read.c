/* CBOR in, as values and errors; as bytes it is read by ../../common/wire_read.c.
 *
 * Recursion is bounded by DEPTH_MAX. A malformed item answers JS_EXCEPTION with FAULT_INPUT raised.
 */
#include <string.h>

#include "guest.h"

static JSValue bad_value(void) {
    malformed();
    return JS_EXCEPTION;
}

static JSValue bigint_from_bytes(const uint8_t *bytes, size_t size, bool negative) {
    char *hex = js_malloc(guest.ctx, size * 2);
    if (!hex)
        return JS_EXCEPTION;
    for (size_t i = 0; i < size; i++) {
        hex[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    JSValue arguments[2] = {JS_NewStringLen(guest.ctx, hex, size * 2), JS_NewBool(guest.ctx, negative)};
    JSValue value = JS_EXCEPTION;
    js_free(guest.ctx, hex);
    if (!JS_IsException(arguments[0]))
        value = JS_Call(guest.ctx, guest.bigint_from_hex, JS_UNDEFINED, 2, arguments);
    JS_FreeValue(guest.ctx, arguments[0]);
    return value;
}

static const uint64_t SAFE_MAX = (1ull << 53) - 1; /* beyond this a number is no longer exact */

static JSValue integer(bool negative, uint64_t argument) {
    if (!negative)
        return argument <= SAFE_MAX ? JS_NewInt64(guest.ctx, (int64_t)argument) : JS_NewBigUint64(guest.ctx, argument);
    if (argument < SAFE_MAX)
        return JS_NewInt64(guest.ctx, -1 - (int64_t)argument);
    if (argument <= INT64_MAX)
        return JS_NewBigInt64(guest.ctx, -1 - (int64_t)argument);
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(argument >> (56 - 8 * i));
    return bigint_from_bytes(bytes, 8, true);
}

static JSValue big_integer(struct reader *r, bool negative) {
    const uint8_t *bytes;
    size_t size;
    return read_big(r, &bytes, &size) ? JS_EXCEPTION : bigint_from_bytes(bytes, size, negative);
}

/* The Date with the text that it came as, for the way out: a Date has neither microseconds nor a zone. */
static JSValue kept(JSValue date, const char *text, size_t size) {
    JSValue arguments[2] = {date, JS_NewStringLen(guest.ctx, text, size)};
    JSValue done = JS_IsException(date) ? JS_EXCEPTION : JS_Call(guest.ctx, guest.keep_instant, JS_UNDEFINED, 2, arguments);
    JS_FreeValue(guest.ctx, arguments[1]);
    if (!JS_IsException(done))
        return date;
    JS_FreeValue(guest.ctx, date);
    return JS_EXCEPTION;
}

static JSValue timestamp(struct reader *r, bool is_zoned) {
    const char *text;
    size_t size, instant;
    double ms;
    if (read_text(r, &text, &size))
        return JS_EXCEPTION;
    instant = is_zoned ? size_before_zone(text, size) : size;
    if (timestamp_read(text, instant, &ms))
        return bad_value();
    JSValue date = JS_NewDate(guest.ctx, ms);
    return is_zoned || timestamp_is_finer(text, size) ? kept(date, text, size) : date;
}

static JSValue tagged(struct reader *r, uint64_t tag) {
    switch (tag) {
    case TAG_TIMESTAMP: return timestamp(r, false);
    case TAG_ZONED: return timestamp(r, true);
    case TAG_BIG: return big_integer(r, false);
    case TAG_BIG_NEGATIVE: return big_integer(r, true);
    default: return bad_value();
    }
}

static JSValue simple(struct reader *r) {
    double number;
    int which;
    if (read_simple(r, &which, &number))
        return JS_EXCEPTION;
    switch (which) {
    case 20: return JS_FALSE;
    case 21: return JS_TRUE;
    case 22: return JS_NULL;
    default: return JS_NewNumber(guest.ctx, number);
    }
}

static JSValue list(struct reader *r, uint64_t count, int depth) {
    if (depth >= DEPTH_MAX || check_count(r, count, 1))
        return bad_value();
    JSValue array = JS_NewArray(guest.ctx);
    for (uint64_t i = 0; i < count; i++) {
        JSValue item = read_value(r, depth + 1);
        if (JS_IsException(item) ||
            JS_DefinePropertyValueUint32(guest.ctx, array, (uint32_t)i, item, JS_PROP_C_W_E) < 0) {
            JS_FreeValue(guest.ctx, array);
            return JS_EXCEPTION;
        }
    }
    return array;
}

/* Every key becomes an own property by definition, not assignment: `__proto__` is data like any other. */
static int fill(struct reader *r, JSValueConst object, uint64_t count, int depth) {
    const char *key = NULL;
    size_t size = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (read_key(r, &key, &size))
            return -1;
        JSValue item = read_value(r, depth + 1);
        if (JS_IsException(item))
            return -1;
        JSAtom atom = JS_NewAtomLen(guest.ctx, key, size);
        int defined = JS_DefinePropertyValue(guest.ctx, object, atom, item, JS_PROP_C_W_E);
        JS_FreeAtom(guest.ctx, atom);
        if (defined < 0)
            return -1;
    }
    return 0;
}

/* What an object with the key "~" stands for; takes it. What nobody knows is what it is. */
static JSValue revived(JSValue object) {
    JSValue value = JS_Call(guest.ctx, guest.revive, JS_UNDEFINED, 1, &object);
    JS_FreeValue(guest.ctx, object);
    if (JS_IsException(value) && !TURN->fault) { /* a class of the code's own refuses it: that is what is found there */
        JSValue error = JS_GetException(guest.ctx);
        return error;
    }
    return value;
}

static JSValue mapping(struct reader *r, uint64_t count, int depth) {
    if (depth >= DEPTH_MAX || check_count(r, count, 2))
        return bad_value();
    JSValue object = JS_NewObject(guest.ctx);
    bool is_tagged = guest.is_bundle && count && r->end - r->at > 1 && r->at[0] == 0x61 && r->at[1] == '~'; /* sorted first */
    if (!fill(r, object, count, depth))
        return is_tagged ? revived(object) : object;
    JS_FreeValue(guest.ctx, object);
    return JS_EXCEPTION;
}

int read_into(struct reader *r, JSValueConst object) {
    uint64_t count;
    return read_map(r, &count) || fill(r, object, count, 0) ? -1 : 0;
}

JSValue read_value(struct reader *r, int depth) {
    int major;
    uint64_t argument;
    const uint8_t *bytes;
    if (r->at < r->end && *r->at >> 5 == SIMPLE)
        return simple(r);
    if (read_head(r, &major, &argument))
        return JS_EXCEPTION;
    switch (major) {
    case UINT: return integer(false, argument);
    case NEGATIVE: return integer(true, argument);
    case BYTES: return take(r, argument, &bytes) ? JS_EXCEPTION : JS_NewUint8ArrayCopy(guest.ctx, bytes, (size_t)argument);
    case TEXT:
        if (take(r, argument, &bytes))
            return JS_EXCEPTION;
        if (!text_is_utf8(bytes, (size_t)argument))
            return bad_value();
        return JS_NewStringLen(guest.ctx, (const char *)bytes, (size_t)argument);
    case ARRAY: return list(r, argument, depth);
    case MAP: return mapping(r, argument, depth);
    default: return tagged(r, argument);
    }
}

/* ---- failures, as errors ---- */

enum part { PART_DATA, PART_NAME, PART_BASES, PART_CAUSE, PART_NOTES, PART_MEMBERS, PART_MESSAGE, PARTS };
static const struct {
    const char *key;
    size_t size;
    const char *property;
} parts[PARTS] = {
    {"data", 4, "data"},   {"name", 4, "name"},   {"bases", 5, "bases"},    {"cause", 5, "cause"},
    {"notes", 5, "notes"}, {"members", 7, "errors"}, {"message", 7, "message"},
};

static int part_of(const char *key, size_t size) {
    for (int i = 0; i < PARTS; i++)
        if (parts[i].size == size && !memcmp(parts[i].key, key, size))
            return i;
    return -1;
}

static JSValue text_at(struct reader *r, int depth) {
    const char *text;
    size_t size;
    (void)depth;
    return read_text(r, &text, &size) ? JS_EXCEPTION : JS_NewStringLen(guest.ctx, text, size);
}

/* An array of what `one` reads, each with the depth. */
static JSValue array_of(struct reader *r, JSValue one(struct reader *r, int depth), int depth) {
    uint64_t count;
    if (depth >= DEPTH_MAX)
        return bad_value();
    if (read_array(r, &count))
        return JS_EXCEPTION;
    JSValue array = JS_NewArray(guest.ctx);
    for (uint64_t i = 0; i < count; i++) {
        JSValue item = one(r, depth + 1);
        if (JS_IsException(item) ||
            JS_DefinePropertyValueUint32(guest.ctx, array, (uint32_t)i, item, JS_PROP_C_W_E) < 0) {
            JS_FreeValue(guest.ctx, array);
            return JS_EXCEPTION;
        }
    }
    return array;
}

static JSValue read_part(struct reader *r, int part, int depth) {
    switch (part) {
    case PART_DATA: return read_value(r, depth + 1);
    case PART_CAUSE: return read_failure(r, depth + 1);
    case PART_BASES:
    case PART_NOTES: return array_of(r, text_at, depth + 1);
    case PART_MEMBERS: return array_of(r, read_failure, depth + 1);
    default: return text_at(r, depth);
    }
}

JSValue read_failure(struct reader *r, int depth) {
    JSValue error = JS_NewError(guest.ctx), value;
    uint64_t count;
    const char *key = NULL;
    size_t size = 0;
    unsigned seen = 0;
    if (depth >= DEPTH_MAX) {
        raise_fault(FAULT_INPUT);
        goto fail;
    }
    if (read_map(r, &count))
        goto fail;
    while (count--) {
        if (read_key(r, &key, &size))
            goto fail;
        int part = part_of(key, size);
        if (part < 0) { /* what only others read */
            if (skip_items(r, 1, depth + 1))
                goto fail;
            continue;
        }
        seen |= 1u << part;
        value = read_part(r, part, depth);
        if (JS_IsException(value) || JS_DefinePropertyValueStr(guest.ctx, error, parts[part].property, value,
                                                               JS_PROP_CONFIGURABLE | JS_PROP_WRITABLE) < 0)
            goto fail;
    }
    if ((seen & (1u << PART_NAME | 1u << PART_MESSAGE)) == (1u << PART_NAME | 1u << PART_MESSAGE))
        return error;
    raise_fault(FAULT_INPUT);
fail:
    JS_FreeValue(guest.ctx, error);
    return JS_EXCEPTION;
}

JSValue read_outcome(struct reader *r, bool *failed) {
    uint64_t count, which;
    if (read_array(r, &count) || read_uint(r, &which))
        return JS_EXCEPTION;
    if (count < 2 || which > 1) {
        raise_fault(FAULT_INPUT);
        return JS_EXCEPTION;
    }
    *failed = which == 1;
    JSValue value = *failed ? read_failure(r, 1) : read_value(r, 1);
    if (JS_IsException(value) || !skip_items(r, count - 2, 1))
        return value;
    JS_FreeValue(guest.ctx, value);
    return JS_EXCEPTION;
}
