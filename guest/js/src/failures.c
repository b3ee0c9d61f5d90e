/* Errors and failures: {name, message, ? data, ? cause}. Nothing else of an error crosses, least of all its stack. */
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
    bool wanted = JS_IsObject(cause) && JS_GetClassID(cause) == guest.class_error && depth + 1 < DEPTH_MAX;
    if (JS_IsException(cause))
        drop_exception();
    for (const struct place *p = here; wanted && p; p = p->up)
        wanted = p->object != JS_VALUE_GET_PTR(cause);
    int written = wanted ? write_key("cause") || write_failure(cause, depth + 1, here) ? -1 : 1 : 0;
    JS_FreeValue(guest.ctx, cause);
    return written;
}

static int write_error(JSValueConst error, int depth, const struct place *up) {
    struct place here = {.up = up, .key = "error", .key_size = 5, .object = JS_VALUE_GET_PTR(error)};
    uint8_t *head = TURN->at;
    int data, cause;
    if (write_head(5, 2) || (data = write_data(error, depth, &here)) < 0 || write_key("name") ||
        write_text_property(error, "name", "Error") || (cause = write_cause(error, depth, &here)) < 0 ||
        write_key("message") || write_text_property(error, "message", ""))
        return -1;
    *head = (uint8_t)(0xa2 + data + cause);
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

/* ---- in ---- */

enum part { PART_DATA, PART_NAME, PART_CAUSE, PART_MESSAGE };
static const struct {
    const char *key;
    size_t size;
} parts[] = {{"data", 4}, {"name", 4}, {"cause", 5}, {"message", 7}};

static int part_of(const char *key, size_t size) {
    for (int i = 0; i < 4; i++)
        if (parts[i].size == size && !memcmp(parts[i].key, key, size))
            return i;
    return -1;
}

static JSValue read_part(struct reader *r, int part, int depth) {
    const char *text;
    size_t size;
    if (part == PART_DATA)
        return read_value(r, depth + 1);
    if (part == PART_CAUSE)
        return read_failure(r, depth + 1);
    return read_text(r, &text, &size) ? JS_EXCEPTION : JS_NewStringLen(guest.ctx, text, size);
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
        if (part < 0) {
            raise_fault(FAULT_INPUT);
            goto fail;
        }
        seen |= 1u << part;
        value = read_part(r, part, depth);
        if (JS_IsException(value) || JS_DefinePropertyValueStr(guest.ctx, error, parts[part].key, value,
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
    if (count != 2 || which > 1) {
        raise_fault(FAULT_INPUT);
        return JS_EXCEPTION;
    }
    *failed = which == 1;
    return *failed ? read_failure(r, 1) : read_value(r, 1);
}
