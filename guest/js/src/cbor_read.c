/* CBOR in: RFC 8949 in the deterministic profile of ABI.md. The host is trusted and checked all the same.
 *
 * Recursion is bounded by DEPTH_MAX. A malformed item answers -1 (or JS_EXCEPTION) with FAULT_INPUT raised.
 */
#include <math.h>
#include <string.h>

#include "guest.h"

enum { UINT, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE };

static int malformed(void) { return raise_fault(FAULT_INPUT); }

static uint64_t big_endian(const uint8_t *at, int size) {
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | at[i];
    return value;
}

/* Major type 0 to 6 and its argument; heads must be as short as they can be. */
static inline int read_head(struct reader *r, int *major, uint64_t *argument) {
    if (r->at == r->end)
        return malformed();
    uint8_t first = *r->at++;
    int info = first & 31;
    *major = first >> 5;
    if (*major == SIMPLE)
        return malformed();
    if (info < 24) {
        *argument = (uint64_t)info;
        return 0;
    }
    if (info > 27)
        return malformed();
    int size = 1 << (info - 24);
    if (r->end - r->at < size)
        return malformed();
    *argument = big_endian(r->at, size);
    r->at += size;
    bool shorter = info == 24 ? *argument < 24 : *argument >> (size * 4) == 0;
    return shorter ? malformed() : 0;
}

static int read_major(struct reader *r, int wanted, uint64_t *argument) {
    int major;
    if (read_head(r, &major, argument))
        return -1;
    return major == wanted ? 0 : malformed();
}

/* `count` further items of at least `each` bytes cannot be more than the bytes left. */
static int check_count(struct reader *r, uint64_t count, uint64_t each) {
    return count > (uint64_t)(r->end - r->at) / each ? malformed() : 0;
}

int read_array(struct reader *r, uint64_t *count) {
    return read_major(r, ARRAY, count) || check_count(r, *count, 1) ? -1 : 0;
}

int read_map(struct reader *r, uint64_t *count) {
    return read_major(r, MAP, count) || check_count(r, *count, 2) ? -1 : 0;
}

int read_uint(struct reader *r, uint64_t *value) { return read_major(r, UINT, value); }

int read_time(struct reader *r, double *ms) {
    int major;
    uint64_t argument;
    if (read_head(r, &major, &argument))
        return -1;
    if (major > NEGATIVE || argument > 8640000000000000u - (major == NEGATIVE)) /* the range of Date */
        return malformed();
    *ms = major == UINT ? (double)argument : -1.0 - (double)argument;
    return 0;
}

static int take(struct reader *r, uint64_t size, const uint8_t **bytes) {
    if (check_count(r, size, 1))
        return -1;
    *bytes = r->at;
    r->at += size;
    return 0;
}

int read_bytes(struct reader *r, const uint8_t **bytes, size_t *size) {
    uint64_t argument;
    if (read_major(r, BYTES, &argument) || take(r, argument, bytes))
        return -1;
    *size = (size_t)argument;
    return 0;
}

int read_text(struct reader *r, const char **text, size_t *size) {
    uint64_t argument;
    const uint8_t *bytes;
    if (read_major(r, TEXT, &argument) || take(r, argument, &bytes))
        return -1;
    if (!text_is_utf8(bytes, (size_t)argument))
        return malformed();
    *text = (const char *)bytes;
    *size = (size_t)argument;
    return 0;
}

int read_key(struct reader *r, const char **key, size_t *size) {
    const char *last = *key;
    size_t last_size = *size;
    if (read_text(r, key, size))
        return -1;
    if (last && (*size < last_size || (*size == last_size && memcmp(*key, last, last_size) <= 0)))
        return malformed(); /* out of order, or twice */
    return 0;
}

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
    if (read_bytes(r, &bytes, &size))
        return JS_EXCEPTION;
    if (size <= 8 || bytes[0] == 0)
        return bad_value();
    return bigint_from_bytes(bytes, size, negative);
}

static JSValue timestamp(struct reader *r) {
    const char *text;
    size_t size;
    double ms;
    if (read_text(r, &text, &size))
        return JS_EXCEPTION;
    return timestamp_read(text, size, &ms) ? bad_value() : JS_NewDate(guest.ctx, ms);
}

static JSValue tagged(struct reader *r, uint64_t tag) {
    switch (tag) {
    case 0: return timestamp(r);
    case 2: return big_integer(r, false);
    case 3: return big_integer(r, true);
    default: return bad_value();
    }
}

static JSValue not_finite(struct reader *r) {
    const uint8_t *bytes;
    if (take(r, 2, &bytes))
        return JS_EXCEPTION;
    switch (bytes[0] << 8 | bytes[1]) {
    case 0x7c00: return JS_NewFloat64(guest.ctx, (double)INFINITY);
    case 0xfc00: return JS_NewFloat64(guest.ctx, -(double)INFINITY);
    case 0x7e00: return JS_NewFloat64(guest.ctx, (double)NAN);
    default: return bad_value();
    }
}

static JSValue simple(struct reader *r) {
    const uint8_t *bytes;
    double number;
    switch (*r->at++ & 31) {
    case 20: return JS_FALSE;
    case 21: return JS_TRUE;
    case 22: return JS_NULL;
    case 25: return not_finite(r);
    case 27:
        if (take(r, 8, &bytes))
            return JS_EXCEPTION;
        uint64_t bits = big_endian(bytes, 8);
        memcpy(&number, &bits, 8);
        return isfinite(number) ? JS_NewNumber(guest.ctx, number) : bad_value();
    default: return bad_value();
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

static JSValue mapping(struct reader *r, uint64_t count, int depth) {
    if (depth >= DEPTH_MAX || check_count(r, count, 2))
        return bad_value();
    JSValue object = JS_NewObject(guest.ctx);
    if (!fill(r, object, count, depth))
        return object;
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
