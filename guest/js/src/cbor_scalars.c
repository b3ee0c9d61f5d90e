/* CBOR out, of values that contain no others: texts, numbers, dates, bytes. What does, is written by cbor_write.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

/* ---- texts ---- */

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

int write_number(double number) {
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
int write_bigint(JSValueConst value) {
    JSValue text = JS_Call(guest.ctx, guest.bigint_to_hex, JS_UNDEFINED, 1, &value);
    size_t size;
    const char *hex = JS_IsException(text) ? NULL : JS_ToCStringLen(guest.ctx, &size, text);
    int failed = hex ? write_hex(hex + 1, size - 1, *hex == '-') : -1;
    if (hex)
        JS_FreeCString(guest.ctx, hex);
    JS_FreeValue(guest.ctx, text);
    return failed;
}

/* The text that the Date came as, if it still says the same: 1 when it was written, 0 when there is none, -1 on a fault. */
static int write_kept(JSValueConst date, double number) {
    JSValue kept = JS_Call(guest.ctx, guest.kept_instant, JS_UNDEFINED, 1, &date);
    size_t size;
    double ms;
    const char *text = JS_IsString(kept) ? JS_ToCStringLen(guest.ctx, &size, kept) : NULL;
    int written = 0;
    if (text) {
        size_t before = size_before_zone(text, size);
        if (!timestamp_read(text, before ? before : size, &ms) && ms == number)
            written = write_head(TAG, before ? TAG_ZONED : TAG_TIMESTAMP) || write_text(text, size) ? -1 : 1;
        JS_FreeCString(guest.ctx, text);
    }
    JS_FreeValue(guest.ctx, kept);
    return written;
}

int write_date(JSValueConst date, const struct place *place) {
    char text[TIMESTAMP_BYTES];
    JSValue ms = JS_Call(guest.ctx, guest.date_get_time, date, 0, NULL);
    double number;
    int kept;
    if (JS_ToFloat64(guest.ctx, &number, ms))
        return -1;
    if ((kept = write_kept(date, number)))
        return kept < 0 ? -1 : 0;
    if (isnan(number))
        return refuse(place, "is an invalid Date");
    if (timestamp_write(number, text))
        return refuse(place, "is a Date outside of the years 0001 to 9999");
    return put("\xc0", 1) || write_text(text, sizeof text) ? -1 : 0;
}

/* The bytes are asked for before their size is used: C does not say in which order arguments are evaluated. */
int write_binary(JSValueConst value, uint8_t *get(JSContext *, size_t *, JSValueConst), const struct place *place) {
    size_t size = 0;
    const uint8_t *bytes = get(guest.ctx, &size, value);
    if (!bytes && JS_HasException(guest.ctx)) {
        JS_FreeValue(guest.ctx, JS_GetException(guest.ctx));
        return refuse(place, "is a detached buffer");
    }
    return write_head(2, size) || (size && put(bytes, size)) ? -1 : 0;
}

/* ---- refusals ---- */

int refuse_class(const struct place *place, JSValueConst value) {
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
