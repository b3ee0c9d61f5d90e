/* Texts as bytes and back, for the prelude's TextEncoder and TextDecoder (WHATWG Encoding: UTF-8 and UTF-16). */
#include <string.h>

#include "guest.h"

static JSValueConst argument(int argc, JSValueConst *argv, int index) { return index < argc ? argv[index] : JS_UNDEFINED; }

/* encodeText(text): a Uint8Array; lone surrogates are U+FFFD. */
static JSValue encode_text(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    size_t size;
    const char *text = JS_ToCStringLen(ctx, &size, argument(argc, argv, 0));
    (void)this_value;
    if (!text)
        return JS_EXCEPTION;
    text_mend((char *)text, size);
    JSValue bytes = JS_NewUint8ArrayCopy(ctx, (const uint8_t *)text, size);
    JS_FreeCString(ctx, text);
    return bytes;
}

/* One character of UTF-8 at `*at`, which moves on; -1 for what is none: then only its longest part that could have become one
 * is passed over, as the standard says. */
static int32_t next_of_utf8(const uint8_t **at, const uint8_t *end) {
    uint8_t lead = *(*at)++, least = 0x80, most = 0xbf;
    int more = lead < 0x80 ? 0 : lead < 0xc2 ? -1 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : -1;
    if (more <= 0)
        return more ? -1 : lead;
    if (lead == 0xe0)
        least = 0xa0;
    if (lead == 0xed)
        most = 0x9f;
    if (lead == 0xf0)
        least = 0x90;
    if (lead == 0xf4)
        most = 0x8f;
    int32_t point = lead & (0x3f >> more);
    for (; more; more--, least = 0x80, most = 0xbf) {
        if (*at == end || **at < least || **at > most)
            return -1;
        point = point << 6 | (*(*at)++ & 0x3f);
    }
    return point;
}

/* The same of UTF-16, its higher byte first or not. */
static int32_t next_of_utf16(const uint8_t **at, const uint8_t *end, bool is_big) {
    if (end - *at < 2)
        return *at = end, -1;
    int32_t unit = is_big ? (*at)[0] << 8 | (*at)[1] : (*at)[1] << 8 | (*at)[0];
    *at += 2;
    if (unit < 0xd800 || unit > 0xdfff)
        return unit;
    if (unit > 0xdbff || end - *at < 2)
        return -1;
    int32_t low = is_big ? (*at)[0] << 8 | (*at)[1] : (*at)[1] << 8 | (*at)[0];
    if (low < 0xdc00 || low > 0xdfff)
        return -1;
    *at += 2;
    return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
}

/* How many units of UTF-16 were made in `units`, which has room for one for each byte; -1 if there was an error, and `fatal`. */
static int64_t decode(const uint8_t *at, const uint8_t *end, int kind, bool fatal, uint16_t *units) {
    uint16_t *next = units;
    while (at < end) {
        int32_t point = kind ? next_of_utf16(&at, end, kind == 2) : next_of_utf8(&at, end);
        if (point < 0 && fatal)
            return -1;
        if (point < 0)
            point = 0xfffd;
        if (point >= 0x10000) {
            *next++ = (uint16_t)(0xd800 + ((point - 0x10000) >> 10));
            point = 0xdc00 + ((point - 0x10000) & 0x3ff);
        }
        *next++ = (uint16_t)point;
    }
    return next - units;
}

/* decodeText(bytes, kind, fatal): kind is 0 for UTF-8, 1 for UTF-16, 2 for UTF-16 with the higher byte first. */
static JSValue decode_text(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    static const char why[] = "the encoded data was not valid";
    size_t size;
    int32_t kind;
    uint8_t *bytes = JS_GetUint8Array(ctx, &size, argument(argc, argv, 0));
    (void)this_value;
    if (!bytes || JS_ToInt32(ctx, &kind, argument(argc, argv, 1)))
        return JS_EXCEPTION;
    uint16_t *units = js_malloc(ctx, (size + 1) * sizeof *units);
    if (!units)
        return JS_EXCEPTION;
    int64_t count = decode(bytes, bytes + size, kind, JS_ToBool(ctx, argument(argc, argv, 2)), units);
    JSValue text = JS_EXCEPTION;
    if (count < 0)
        throw_type_error(why, sizeof why - 1);
    else
        text = JS_NewStringUTF16(ctx, units, (size_t)count);
    js_free(ctx, units);
    return text;
}

int encoding_define(void) {
    static const JSCFunctionListEntry functions[] = {
        JS_CFUNC_DEF("encodeText", 1, encode_text),
        JS_CFUNC_DEF("decodeText", 3, decode_text),
    };
    return JS_SetPropertyFunctionList(guest.ctx, guest.namespace_object, functions, 2);
}
