/* CBOR out: errors as failures, `failure` of ABI.md; of what ends the run its place in the source. Nothing else of its stack
 * crosses. A value may be an error, and an error's data a value (cbor_write.c).
 */
#include <string.h>

#include "guest.h"

static const char *const standard[] = {"name", "message", "cause", "stack", "data"};

static void drop_exception(void) { JS_FreeValue(guest.ctx, JS_GetException(guest.ctx)); }

/* The text of a property, or `otherwise`: a getter that throws is not worth a second failure. */
static int write_text_property(JSValueConst error, const char *name, const char *otherwise) {
    JSValue value = JS_GetPropertyStr(guest.ctx, error, name);
    int failed;
    if (JS_IsException(value))
        drop_exception();
    failed = JS_IsString(value) ? write_string(value) : write_text(otherwise, strlen(otherwise));
    JS_FreeValue(guest.ctx, value);
    return failed;
}

static int write_key(const char *key) { return write_text(key, strlen(key)); }

/* `key` with `value` if that can cross: 1, 0 or, on a fault, -1. */
static int try_entry(const char *key, JSValueConst value, int depth, const struct place *here) {
    struct place place = {.up = here, .key = key, .key_size = strlen(key)};
    uint8_t *mark = TURN->at;
    if (write_key(key))
        return -1;
    int written = try_value(value, depth + 1, &place);
    if (written == 0)
        TURN->at = mark;
    return written;
}

static bool is_standard(JSAtom atom) {
    const char *name = JS_AtomToCString(guest.ctx, atom);
    bool found = !name;
    for (size_t i = 0; name && i < sizeof standard / sizeof *standard; i++)
        found |= !strcmp(name, standard[i]);
    JS_FreeCString(guest.ctx, name);
    return found;
}

/* A copy of the further enumerable properties that can cross, or undefined if there are none. */
static JSValue further_properties(JSValueConst error, int depth, const struct place *here) {
    struct place place = {.up = here, .key = "data", .key_size = 4};
    JSPropertyEnum *names;
    uint32_t count;
    JSValue copy = JS_UNDEFINED;
    if (JS_GetOwnPropertyNames(guest.ctx, &names, &count, error, JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY))
        return JS_UNDEFINED;
    for (uint32_t i = 0; i < count && !TURN->fault; i++) {
        uint8_t *mark = TURN->at;
        if (is_standard(names[i].atom))
            continue;
        JSValue value = JS_GetProperty(guest.ctx, error, names[i].atom);
        if (JS_IsException(value)) {
            drop_exception();
            continue;
        }
        int crosses = JS_IsUndefined(value) ? 0 : try_value(value, depth + 2, &place);
        TURN->at = mark;
        if (crosses == 1) {
            if (JS_IsUndefined(copy))
                copy = JS_NewObject(guest.ctx);
            JS_DefinePropertyValue(guest.ctx, copy, names[i].atom, value, JS_PROP_C_W_E);
        } else {
            JS_FreeValue(guest.ctx, value);
        }
    }
    JS_FreePropertyEnum(guest.ctx, names, count);
    return copy;
}

/* An error's data: its own property of that name, as a failure that came in has it, or else what it carries beside the
 * standard properties. */
static int write_data(JSValueConst error, int depth, const struct place *here) {
    JSPropertyDescriptor own;
    JSAtom atom = JS_NewAtom(guest.ctx, "data");
    int found = JS_GetOwnProperty(guest.ctx, &own, error, atom);
    JSValue data;
    if (found > 0) {
        JS_FreeValue(guest.ctx, own.value);
        JS_FreeValue(guest.ctx, own.getter);
        JS_FreeValue(guest.ctx, own.setter);
        data = JS_GetProperty(guest.ctx, error, atom);
    } else {
        data = further_properties(error, depth, here);
    }
    JS_FreeAtom(guest.ctx, atom);
    if (JS_IsException(data))
        drop_exception();
    int written = JS_IsException(data) || JS_IsUndefined(data) ? 0 : try_entry("data", data, depth, here);
    JS_FreeValue(guest.ctx, data);
    return TURN->fault ? -1 : written;
}

/* The cause, where it is an Error and not one that is being written already. */
static int write_cause(JSValueConst error, int depth, const struct place *here) {
    JSValue cause = JS_GetPropertyStr(guest.ctx, error, "cause");
    bool wanted = JS_IsObject(cause) && JS_GetClassID(cause) == guest.class_error && depth + 2 < DEPTH_MAX; /* it may have lists */
    if (JS_IsException(cause))
        drop_exception();
    for (const struct place *p = here; wanted && p; p = p->up)
        wanted = p->object != JS_VALUE_GET_PTR(cause);
    int written = wanted ? write_key("cause") || write_failure(cause, depth + 1, here) ? -1 : 1 : 0;
    JS_FreeValue(guest.ctx, cause);
    return written;
}

enum { LISTED_MAX = 16 };

static bool is_error(JSValueConst value) { return JS_IsObject(value) && JS_GetClassID(value) == guest.class_error; }

/* One item of a list that an error has: a text, or an error that is not being written already. */
static int write_listed(JSValueConst item, bool of_errors, int depth, const struct place *here) {
    if (!of_errors)
        return JS_IsString(item) ? write_string(item) ? -1 : 1 : 0;
    bool wanted = is_error(item) && depth + 1 < DEPTH_MAX; /* it may have lists */
    for (const struct place *p = here; wanted && p; p = p->up)
        wanted = p->object != JS_VALUE_GET_PTR(item);
    return wanted ? write_failure(item, depth, here) ? -1 : 1 : 0;
}

/* What a failure that came in has beside the rest: the first texts, or errors, of an array that is the error's own property.
 * 1 if there are any, else 0; -1 on a fault. */
static int write_items(const char *key, JSValueConst error, const char *name, bool of_errors, int depth,
                       const struct place *here) {
    JSValue list = JS_GetPropertyStr(guest.ctx, error, name);
    uint8_t *mark = TURN->at, *head;
    int count = 0, written = 0;
    if (JS_IsException(list))
        drop_exception();
    if (!JS_IsArray(list)) {
        JS_FreeValue(guest.ctx, list);
        return 0;
    }
    if (write_key(key) || (head = TURN->at, write_head(4, LISTED_MAX)))
        written = -1;
    for (int64_t i = 0; written >= 0 && i < LISTED_MAX; i++) {
        JSValue item = JS_GetPropertyInt64(guest.ctx, list, i);
        if (JS_IsException(item))
            drop_exception();
        written = write_listed(item, of_errors, depth + 2, here);
        count += written > 0;
        JS_FreeValue(guest.ctx, item);
    }
    JS_FreeValue(guest.ctx, list);
    if (written < 0)
        return -1;
    *head = (uint8_t)(0x80 + count);
    if (!count)
        TURN->at = mark;
    return count > 0;
}

static int write_error(JSValueConst error, int depth, const struct place *up) {
    struct place here = {.up = up, .key = "error", .key_size = 5, .object = JS_VALUE_GET_PTR(error)};
    uint8_t *head = TURN->at;
    int data, bases, cause, notes, members, trace = 0;
    if (write_head(5, 2) || (data = write_data(error, depth, &here)) < 0 || write_key("name") ||
        write_text_property(error, "name", "Error") ||
        (bases = write_items("bases", error, "bases", false, depth, &here)) < 0 ||
        (cause = write_cause(error, depth, &here)) < 0 ||
        (notes = write_items("notes", error, "notes", false, depth, &here)) < 0 ||
        (!depth && !up && !guest.is_generated && (trace = write_trace(error)) < 0) ||
        (members = write_items("members", error, "errors", true, depth, &here)) < 0 || write_key("message") ||
        write_text_property(error, "message", ""))
        return -1;
    *head = (uint8_t)(0xa2 + data + bases + cause + notes + trace + members);
    return 0;
}

static int write_thrown_text(JSValueConst thrown) {
    JSValue text = JS_ToString(guest.ctx, thrown);
    if (JS_IsException(text)) {
        drop_exception();
        text = JS_NewString(guest.ctx, JS_IsSymbol(thrown) ? "a symbol was thrown" : "a value without text was thrown");
    }
    int failed = write_string(text);
    JS_FreeValue(guest.ctx, text);
    return failed;
}

int write_failure(JSValueConst thrown, int depth, const struct place *up) {
    struct place here = {.up = up, .key = "thrown", .key_size = 6};
    uint8_t *head = TURN->at;
    int data;
    if (JS_IsObject(thrown) && JS_GetClassID(thrown) == guest.class_error)
        return write_error(thrown, depth, up);
    if (write_head(5, 2) || (data = JS_IsUndefined(thrown) ? 0 : try_entry("data", thrown, depth, &here)) < 0 ||
        write_key("name") || write_key("Error") || write_key("message") || write_thrown_text(thrown))
        return -1;
    *head = (uint8_t)(0xa2 + data);
    return 0;
}
