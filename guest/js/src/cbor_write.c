/* CBOR out, of any value; as bytes it is written by ../../common/wire_write.c, straight into the output window.
 *
 * Containers and errors stand in one file because they contain each other: a value may be an error, and an error's data a value.
 * Recursion is bounded by DEPTH_MAX. A getter may run workflow code in the middle of a value; it cannot ask for a
 * command meanwhile (TURN->writing), and a map's values are read before the first of them is written.
 */
#include <stdio.h>
#include <string.h>

#include "guest.h"

/* ---- containers ---- */

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

static int write_entries(const struct entry *entries, int count, int depth, const struct place *here) {
    if (write_head(5, (uint64_t)count))
        return -1;
    for (int i = 0; i < count; i++) {
        struct place place = {.up = here, .key = entries[i].key.text, .key_size = entries[i].key.size};
        if (i && key_order(&entries[i - 1].key, &entries[i].key) == 0)
            return refuse(&place, "is there twice: its key has lone surrogates");
        if (write_text(entries[i].key.text, entries[i].key.size) || write_value(entries[i].value, depth + 1, &place))
            return -1;
    }
    return 0;
}

/* A plain object of a bundle that has the key "~" itself is wrapped: it stands for nothing else. */
static int write_wrapped(const struct entry *entries, int count, int depth, const struct place *here) {
    struct place place = {.up = here, .key = "value", .key_size = 5};
    if (depth + 1 >= DEPTH_MAX)
        return refuse(here, "is nested deeper than 64");
    return put("\xa2\x61~\x66object\x65value", 16) || write_entries(entries, count, depth + 1, &place);
}

static int write_map(JSValueConst object, int depth, struct place *here, bool is_packed) {
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
        failed = collect(object, names, count, entries, &filled);
        bool stands = guest.is_bundle && !is_packed && filled && entries[0].key.size == 1 && entries[0].key.text[0] == '~';
        failed = failed || (stands ? write_wrapped : write_entries)(entries, filled, depth, here);
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

/* `here` is where what is in `value` stands. */
static int go_into(JSValueConst value, int depth, const struct place *place, struct place *here) {
    *here = *place;
    here->object = JS_VALUE_GET_PTR(value);
    for (const struct place *p = place->up; p; p = p->up)
        if (p->object == here->object)
            return refuse(place, "is a cycle");
    return depth >= DEPTH_MAX ? refuse(place, "is nested deeper than 64") : 0;
}

static int write_container(JSValueConst value, JSClassID class, int depth, const struct place *place) {
    struct place here;
    if (go_into(value, depth, place, &here))
        return -1;
    if (class == guest.class_error)
        return write_failure(value, depth, place);
    return class == guest.class_array ? write_list(value, depth, &here) : write_map(value, depth, &here, false);
}

/* In a bundle, what JavaScript knows and CBOR does not goes as a map with the key "~" (ABI.md). 1: written; 0: as ever. */
static int write_packed(JSValueConst value, int depth, const struct place *place) {
    struct place here;
    JSValue packed = JS_Call(guest.ctx, guest.pack, JS_UNDEFINED, 1, &value);
    int written = JS_IsException(packed) ? -1 : !JS_IsUndefined(packed);
    if (JS_IsString(packed)) {
        const char *why = JS_ToCString(guest.ctx, packed);
        written = why ? refuse(place, why) : -1;
        JS_FreeCString(guest.ctx, why);
    } else if (written == 1 && (go_into(value, depth, place, &here) || write_map(packed, depth, &here, true))) {
        written = -1;
    }
    JS_FreeValue(guest.ctx, packed);
    return written;
}

static int write_undefined(int depth, const struct place *place) {
    return depth >= DEPTH_MAX ? refuse(place, "is nested deeper than 64") : put("\xa1\x61~\x69undefined", 13);
}

static int write_as_it_is(JSValueConst value, int depth, const struct place *place);

/* An object of a class has a say in what it is as data: its `toJSON`, inherited from anywhere but Object.prototype, is asked once.
 * 1 if it was, and what it gave was written. A plain object, or one without a prototype, stands for itself. */
static int write_as_told(JSValueConst value, int depth, const struct place *place) {
    char index[24];
    JSValue tell = JS_GetPropertyStr(guest.ctx, value, "toJSON"), everybody_s = JS_UNDEFINED;
    if (JS_IsFunction(guest.ctx, tell))
        everybody_s = JS_GetPropertyStr(guest.ctx, guest.object_prototype, "toJSON");
    int asked = JS_IsException(tell) || JS_IsException(everybody_s) ? -1
                : JS_IsFunction(guest.ctx, tell) && !JS_IsStrictEqual(guest.ctx, tell, everybody_s);
    if (asked == 1) {
        snprintf(index, sizeof index, "%lld", (long long)place->index);
        JSValue key = !place->up    ? JS_NewString(guest.ctx, "")
                      : place->key ? JS_NewStringLen(guest.ctx, place->key, place->key_size)
                                   : JS_NewString(guest.ctx, index);
        JSValue told = JS_Call(guest.ctx, tell, value, 1, &key);
        if (JS_IsException(told))
            asked = -1;
        else if (JS_IsObject(told) ? write_as_it_is(told, depth, place) : write_value(told, depth, place))
            asked = -1;
        JS_FreeValue(guest.ctx, told);
        JS_FreeValue(guest.ctx, key);
    }
    JS_FreeValue(guest.ctx, everybody_s);
    JS_FreeValue(guest.ctx, tell);
    return asked;
}

static int write_instance(JSValueConst value, int depth, const struct place *place) {
    int told = write_as_told(value, depth, place);
    if (told)
        return told < 0 ? -1 : 0;
    int lost = has_private_state(value);
    if (lost)
        return lost < 0 ? -1 : refuse(place, "has private fields, which would be lost: give its class a toJSON()");
    return write_container(value, guest.class_object, depth, place);
}

/* In a bundle. Most values are plain objects, lists, dates and bytes, and are known for that at once. */
static int write_bundled(JSValueConst value, int depth, const struct place *place) {
    JSClassID class = JS_GetClassID(value);
    if (class == guest.class_array || class == guest.class_uint8_array)
        return write_as_it_is(value, depth, place);
    if (class == guest.class_object) {
        JSValue prototype = JS_GetPrototype(guest.ctx, value);
        bool is_plain = !JS_IsObject(prototype) || JS_IsStrictEqual(guest.ctx, prototype, guest.object_prototype);
        JS_FreeValue(guest.ctx, prototype);
        if (is_plain)
            return write_container(value, class, depth, place);
    }
    int written = write_packed(value, depth, place);
    if (written)
        return written < 0 ? -1 : 0;
    if (class != guest.class_error)
        return class == guest.class_object ? write_instance(value, depth, place) : write_as_it_is(value, depth, place);
    struct place here;
    if (go_into(value, depth, place, &here) || put("\xa2\x61~\x65" "error\x67" "failure", 17))
        return -1;
    return write_failure(value, depth + 1, place);
}

static int write_object(JSValueConst value, int depth, const struct place *place) {
    if (guest.is_bundle)
        return write_bundled(value, depth, place);
    if (JS_GetClassID(value) != guest.class_object)
        return write_as_it_is(value, depth, place);
    JSValue prototype = JS_GetPrototype(guest.ctx, value);
    bool is_plain = !JS_IsObject(prototype) || JS_IsStrictEqual(guest.ctx, prototype, guest.object_prototype);
    int written = is_plain ? write_container(value, guest.class_object, depth, place)
                           : write_instance(value, depth, place);
    JS_FreeValue(guest.ctx, prototype);
    return written;
}

static int write_as_it_is(JSValueConst value, int depth, const struct place *place) {
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
    case JS_TAG_UNDEFINED:
        if (guest.is_bundle)
            return write_undefined(depth, place);
        return put("\xf6", 1);
    case JS_TAG_NULL: return put("\xf6", 1);
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

/* ---- errors, as failures: `failure` of ABI.md; of what ends the run its place in the source. Nothing else of its stack crosses ---- */

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
