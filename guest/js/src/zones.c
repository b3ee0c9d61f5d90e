/* Time zones: their names, and their offsets from UTC. What is read here is the table that the build makes of IANA's data;
 * `cloche_guest/zones.py` says what is in it, and sees to it that it is well-formed.
 */
#include <string.h>
#include <strings.h>

#include "guest.h"

extern const uint8_t zones_table[];

#define EPOCH_S (-8000000000) /* before any change */
enum { QUARTER_S = 900, DAY_S = 86400, TYPES_MAX = 64, LETTERS = 32 };

struct type {
    int32_t offset; /* in seconds */
    uint8_t letters;
};

static uint64_t read_number(const uint8_t **at) {
    uint64_t number = 0;
    uint8_t byte;
    int shift = 0;
    do {
        byte = *(*at)++;
        number |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80);
    return number;
}

static int64_t read_signed(const uint8_t **at) {
    uint64_t number = read_number(at);
    return number & 1 ? -(int64_t)(number >> 1) - 1 : (int64_t)(number >> 1);
}

static struct type read_type(const uint8_t **at) {
    struct type type = {(int32_t)read_signed(at), 0};
    type.letters = *(*at)++;
    return type;
}

static int64_t read_delay(const uint8_t **at) {
    uint64_t number = read_number(at);
    return (int64_t)(number >> 1) * (number & 1 ? 1 : QUARTER_S);
}

/* ---- the rule after the last change ---- */

static int64_t floor_div(int64_t number, int64_t by) { return number / by - (number % by < 0); }

/* When the day of a rule is, in seconds since 1970, as if local time were UTC. */
static int64_t read_day(const uint8_t **at, int64_t year) {
    int month = *(*at)++, week = *(*at)++, weekday = *(*at)++;
    int64_t time = read_signed(at), first = day_number(year, month, 1);
    int64_t next = month == 12 ? day_number(year + 1, 1, 1) : day_number(year, month + 1, 1);
    int64_t first_weekday = first + 4 - floor_div(first + 4, 7) * 7; /* 1970 began with a Thursday, the 4th from Sunday on */
    int64_t day = first + (weekday - first_weekday + 7) % 7 + 7 * (week - 1);
    return (day < next ? day : day - 7) * DAY_S + time;
}

static struct type read_rule(const uint8_t *at, int64_t seconds, struct type last) {
    int kind = *at++;
    if (!kind)
        return last;
    struct type standard = read_type(&at);
    if (kind == 1)
        return standard;
    struct type summer = read_type(&at);
    int64_t year = year_of_day(floor_div(seconds + standard.offset, DAY_S));
    int64_t begins = read_day(&at, year) - standard.offset, ends = read_day(&at, year) - summer.offset;
    bool is_summer = begins < ends ? begins <= seconds && seconds < ends : !(ends <= seconds && seconds < begins);
    return is_summer ? summer : standard;
}

static struct type type_at(const uint8_t *at, int64_t seconds) {
    struct type types[TYPES_MAX], type;
    int64_t count = (int64_t)read_number(&at), time = EPOCH_S;
    for (int64_t i = 0; i < count; i++)
        types[i] = read_type(&at);
    type = types[0];
    count = (int64_t)read_number(&at);
    for (int64_t i = 0; i < count; i++) {
        time += read_delay(&at);
        if (seconds < time)
            return type;
        type = types[*at++];
    }
    return read_rule(at, seconds, type);
}

/* ---- for the prelude ---- */

/* A name, and where its zone begins. */
static const char *next_name(const uint8_t **at, size_t *size, bool *is_listed, uint32_t *place) {
    uint64_t head = read_number(at);
    const char *name = (const char *)*at;
    *size = (size_t)(head >> 1);
    *is_listed = head & 1;
    *at += *size;
    *place = (uint32_t)read_number(at);
    return name;
}

/* The names, and after them the zones. */
static const uint8_t *names_and_zones(const uint8_t **zones) {
    const uint8_t *at = zones_table;
    size_t size = (size_t)read_number(&at);
    *zones = at + size;
    return at;
}

/* zoneOf(name): [the name as it is written, where its zone begins], in whatever case it was given; undefined: there is none. */
static JSValue zone_of(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    const uint8_t *zones, *at = names_and_zones(&zones);
    size_t given_size, size;
    bool is_listed;
    uint32_t place;
    const char *given = JS_ToCStringLen(ctx, &given_size, argv[0]);
    JSValue found = JS_UNDEFINED;
    (void)this_value, (void)argc;
    if (!given)
        return JS_EXCEPTION;
    for (uint64_t count = read_number(&at); count && JS_IsUndefined(found); count--) {
        const char *name = next_name(&at, &size, &is_listed, &place);
        if (size != given_size || strncasecmp(name, given, size))
            continue;
        found = JS_NewArray(ctx);
        JS_DefinePropertyValueUint32(ctx, found, 0, JS_NewStringLen(ctx, name, size), JS_PROP_C_W_E);
        JS_DefinePropertyValueUint32(ctx, found, 1, JS_NewUint32(ctx, place), JS_PROP_C_W_E);
    }
    JS_FreeCString(ctx, given);
    return found;
}

/* zoneAt(where the zone begins, ms): its offset in seconds × 32 + its letters. */
static JSValue zone_at(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    const uint8_t *zones;
    uint32_t place;
    int64_t ms;
    (void)this_value, (void)argc;
    if (JS_ToUint32(ctx, &place, argv[0]) || JS_ToInt64(ctx, &ms, argv[1]))
        return JS_EXCEPTION;
    names_and_zones(&zones);
    struct type type = type_at(zones + place, floor_div(ms, 1000));
    return JS_NewInt32(ctx, type.offset * LETTERS + type.letters);
}

/* zoneNames(): those that zone.tab lists, in their order. */
static JSValue zone_names(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    const uint8_t *zones, *at = names_and_zones(&zones);
    size_t size;
    bool is_listed;
    uint32_t place, listed = 0;
    JSValue names = JS_NewArray(ctx);
    (void)this_value, (void)argc, (void)argv;
    for (uint64_t count = read_number(&at); count; count--) {
        const char *name = next_name(&at, &size, &is_listed, &place);
        if (is_listed)
            JS_DefinePropertyValueUint32(ctx, names, listed++, JS_NewStringLen(ctx, name, size), JS_PROP_C_W_E);
    }
    return names;
}

int zones_define(void) {
    static const JSCFunctionListEntry functions[] = {
        JS_CFUNC_DEF("zoneOf", 1, zone_of),
        JS_CFUNC_DEF("zoneAt", 2, zone_at),
        JS_CFUNC_DEF("zoneNames", 0, zone_names),
    };
    return JS_SetPropertyFunctionList(guest.ctx, guest.namespace_object, functions, 3);
}
