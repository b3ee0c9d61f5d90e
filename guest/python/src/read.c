/* CBOR in, as Python objects. Recursion is bounded by DEPTH_MAX; malformed input raises FAULT_INPUT. */
#include <string.h>

#include "guest.h"

enum { INTERNED_MAX = 32 }; /* keys up to this size are interned: they come again, and attribute access compares them */

static PyObject *bad(void) {
    malformed();
    return NULL;
}

static PyObject *text_of(const char *text, size_t size) { return PyUnicode_FromStringAndSize(text, (Py_ssize_t)size); }

static PyObject *integer(bool negative, uint64_t argument) {
    if (!negative)
        return PyLong_FromUnsignedLongLong(argument);
    if (argument <= INT64_MAX)
        return PyLong_FromLongLong(-1 - (int64_t)argument);
    PyObject *size = PyLong_FromUnsignedLongLong(argument), *value = size ? PyNumber_Invert(size) : NULL;
    Py_DecRef(size);
    return value;
}

static PyObject *big_integer(struct reader *r, bool negative) {
    const uint8_t *bytes;
    size_t size;
    if (read_big(r, &bytes, &size))
        return NULL;
    PyObject *value = PyLong_FromUnsignedNativeBytes(bytes, size, NATIVE_BIG_ENDIAN);
    if (!negative || !value)
        return value;
    PyObject *inverted = PyNumber_Invert(value);
    Py_DecRef(value);
    return inverted;
}

/* The world's functions check RFC 3339, and a zone after it, and answer None for what is not. */
static PyObject *timestamp(struct reader *r, PyObject *parse) {
    const char *bytes;
    size_t size;
    if (read_text(r, &bytes, &size))
        return NULL;
    PyObject *text = text_of(bytes, size), *moment = text ? PyObject_CallOneArg(parse, text) : NULL;
    Py_DecRef(text);
    if (moment != guest.none)
        return moment;
    Py_DecRef(moment);
    return bad();
}

static PyObject *tagged(struct reader *r, uint64_t tag) {
    switch (tag) {
    case TAG_TIMESTAMP: return timestamp(r, guest.parse_time);
    case TAG_ZONED: return timestamp(r, guest.parse_zoned);
    case TAG_BIG: return big_integer(r, false);
    case TAG_BIG_NEGATIVE: return big_integer(r, true);
    default: return bad();
    }
}

static PyObject *borrowed(PyObject *o) {
    Py_IncRef(o);
    return o;
}

static PyObject *simple(struct reader *r) {
    int which;
    double number;
    if (read_simple(r, &which, &number))
        return NULL;
    switch (which) {
    case 20: return borrowed(guest.false_);
    case 21: return borrowed(guest.true_);
    case 22: return borrowed(guest.none);
    default: return PyFloat_FromDouble(number);
    }
}

static PyObject *list(struct reader *r, uint64_t count, int depth) {
    if (depth >= DEPTH_MAX || check_count(r, count, 1))
        return bad();
    PyObject *items = PyList_New((Py_ssize_t)count);
    for (uint64_t i = 0; items && i < count; i++) {
        PyObject *item = read_value(r, depth + 1);
        if (!item || PyList_SetItem(items, (Py_ssize_t)i, item)) {
            Py_DecRef(items);
            return NULL;
        }
    }
    return items;
}

static int read_entry(struct reader *r, PyObject *map, const char **key, size_t *size, int depth) {
    if (read_key(r, key, size))
        return -1;
    PyObject *name = text_of(*key, *size), *value;
    if (!name)
        return -1;
    if (*size <= INTERNED_MAX)
        PyUnicode_InternInPlace(&name);
    value = read_value(r, depth + 1);
    int failed = !value || PyDict_SetItem(map, name, value);
    Py_DecRef(name);
    Py_DecRef(value);
    return failed ? -1 : 0;
}

static PyObject *mapping(struct reader *r, uint64_t count, int depth) {
    const char *key = NULL;
    size_t size = 0;
    if (depth >= DEPTH_MAX || check_count(r, count, 2))
        return bad();
    PyObject *map = data_new();
    while (map && count--) {
        if (read_entry(r, map, &key, &size, depth)) {
            Py_DecRef(map);
            return NULL;
        }
    }
    return map;
}

PyObject *read_value(struct reader *r, int depth) {
    int major;
    uint64_t argument;
    const uint8_t *bytes;
    if (r->at < r->end && *r->at >> 5 == SIMPLE)
        return simple(r);
    if (read_head(r, &major, &argument))
        return NULL;
    switch (major) {
    case UINT: return integer(false, argument);
    case NEGATIVE: return integer(true, argument);
    case BYTES: return take(r, argument, &bytes) ? NULL : PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)argument);
    case TEXT:
        if (take(r, argument, &bytes))
            return NULL;
        return text_is_utf8(bytes, (size_t)argument) ? text_of((const char *)bytes, (size_t)argument) : bad();
    case ARRAY: return list(r, argument, depth);
    case MAP: return mapping(r, argument, depth);
    default: return tagged(r, argument);
    }
}

/* ---- the parts of events ---- */

static PyObject *map_value(struct reader *r, int depth) {
    return r->at < r->end && *r->at >> 5 == MAP ? read_value(r, depth) : bad();
}

static PyObject *text_value(struct reader *r) {
    const char *text;
    size_t size;
    return read_text(r, &text, &size) ? NULL : text_of(text, size);
}

static PyObject *call_value(struct reader *r) {
    uint64_t id;
    return read_uint(r, &id) ? NULL : PyLong_FromUnsignedLongLong(id);
}

static PyObject *seed_value(struct reader *r) {
    const uint8_t *seed;
    size_t size;
    if (read_bytes(r, &seed, &size))
        return NULL;
    if (size != 16)
        return bad();
    chance_seed(guest.random, seed);
    return PyBytes_FromStringAndSize((const char *)seed, 16);
}

static PyObject *failure_value(struct reader *r, int depth);

enum part { DATA, NAME, BASES, CAUSE, NOTES, MEMBERS, MESSAGE, PARTS };
static const struct key parts[PARTS] = {
    {"data", 4}, {"name", 4}, {"bases", 5}, {"cause", 5}, {"notes", 5}, {"members", 7}, {"message", 7}};

/* Which part of a failure a key names; PARTS for one that only others read. */
static enum part part_of(const struct key *key) {
    enum part part = DATA;
    while (part < PARTS && key_order(key, &parts[part]))
        part++;
    return part;
}

static PyObject *texts_value(struct reader *r);
static PyObject *failures_value(struct reader *r, int depth);

static PyObject *part_value(struct reader *r, enum part part, int depth) {
    switch (part) {
    case DATA: return read_value(r, depth + 1);
    case CAUSE: return failure_value(r, depth + 1);
    case BASES:
    case NOTES: return texts_value(r);
    case MEMBERS: return failures_value(r, depth + 1);
    default: return text_value(r);
    }
}

static int read_part(struct reader *r, PyObject *failure, const struct key *key, int depth, unsigned *seen) {
    enum part part = part_of(key);
    if (part == PARTS)
        return skip_items(r, 1, depth + 1);
    *seen |= 1u << part;
    PyObject *value = part_value(r, part, depth), *name = value ? text_of(key->text, key->size) : NULL;
    int failed = !name || PyDict_SetItem(failure, name, value);
    Py_DecRef(name);
    Py_DecRef(value);
    return failed ? -1 : 0;
}

static PyObject *failure_value(struct reader *r, int depth) {
    const char *key = NULL;
    size_t size = 0;
    uint64_t count;
    unsigned seen = 0, needed = 1u << NAME | 1u << MESSAGE;
    if (depth >= DEPTH_MAX || read_map(r, &count))
        return bad();
    PyObject *failure = data_new();
    while (failure && count--) {
        if (read_key(r, &key, &size) || read_part(r, failure, &(struct key){key, size}, depth, &seen)) {
            Py_DecRef(failure);
            return NULL;
        }
    }
    if (!failure || (seen & needed) == needed)
        return failure;
    Py_DecRef(failure);
    return bad();
}

/* A list of what `one` reads, each with the depth. */
static PyObject *list_of(struct reader *r, PyObject *one(struct reader *r, int depth), int depth) {
    uint64_t count;
    if (depth >= DEPTH_MAX || read_array(r, &count))
        return bad();
    PyObject *items = PyList_New((Py_ssize_t)count);
    for (uint64_t i = 0; items && i < count; i++) {
        PyObject *item = one(r, depth + 1);
        if (!item || PyList_SetItem(items, (Py_ssize_t)i, item)) {
            Py_DecRef(items);
            return NULL;
        }
    }
    return items;
}

static PyObject *text_at(struct reader *r, int depth) {
    (void)depth;
    return text_value(r);
}

static PyObject *texts_value(struct reader *r) { return list_of(r, text_at, 0); }

static PyObject *failures_value(struct reader *r, int depth) { return list_of(r, failure_value, depth); }

static PyObject *outcome_value(struct reader *r) {
    uint64_t count, which;
    if (read_array(r, &count) || read_uint(r, &which))
        return NULL;
    if (count < 2 || which > 1)
        return bad();
    PyObject *value = which ? failure_value(r, 1) : read_value(r, 1);
    PyObject *outcome = value && !skip_items(r, count - 2, 1) ? PyList_New(2) : NULL;
    if (!outcome) {
        Py_DecRef(value);
        return NULL;
    }
    PyList_SetItem(outcome, 0, PyLong_FromLongLong((long long)which));
    PyList_SetItem(outcome, 1, value);
    return outcome;
}

/* What follows kind and time, one letter each; what follows the bar may be absent, and what follows all of it is skipped. */
static const char *const shapes[EVENT_KINDS] = {
    [START] = "svm", [COMPLETED] = "cv|m", [FAILED] = "cf", [SUSPENDED] = "cm|m", [FIRED] = "c", [RECEIVED] = "cv",
    [CHILD_ENDED] = "co", [CANCEL_REQUESTED] = "|t", [RESUMED] = "cm", [BAILED] = "cv|m", [UPGRADED] = "m",
    [REPLAYING] = "v", [HOOK_FAILED] = "cf",
};

static PyObject *part(struct reader *r, char letter) {
    switch (letter) {
    case 's': return seed_value(r);
    case 'c': return call_value(r);
    case 'm': return map_value(r, 0);
    case 'f': return failure_value(r, 0);
    case 'o': return outcome_value(r);
    case 't': return text_value(r);
    default: return read_value(r, 0);
    }
}

/* How many of `count` items are read; -1 if they are too few. */
static int known_items(const char *shape, uint64_t count) {
    const char *bar = shape ? strchr(shape, '|') : NULL;
    size_t all = shape ? strlen(shape) - (bar ? 1 : 0) : 0, least = bar ? (size_t)(bar - shape) : all;
    return !shape || count < least ? -1 : count < all ? (int)least : (int)all;
}

static int fill_event(struct reader *r, PyObject *event, uint64_t kind, uint64_t count) {
    const char *letter = shapes[kind];
    PyList_SetItem(event, 0, PyLong_FromLongLong((long long)kind));
    PyList_SetItem(event, 1, PyLong_FromLongLong(guest.now_ms));
    for (Py_ssize_t i = 2, known = PyList_Size(event); i < known; i++, letter++) {
        letter += *letter == '|';
        PyObject *item = part(r, *letter);
        if (!item || PyList_SetItem(event, i, item))
            return -1;
    }
    return skip_items(r, count - (uint64_t)PyList_Size(event), 0);
}

int read_event(struct reader *r, struct event *event) {
    uint64_t count, kind;
    *event = (struct event){.value = NULL};
    if (read_array(r, &count) || read_uint(r, &kind))
        return -1;
    int known = kind < EVENT_KINDS && count >= 2 ? known_items(shapes[kind], count - 2) : -1;
    if (known < 0 || guest.started == (kind == START || kind == REPLAYING))
        return malformed();
    if (read_time(r, &guest.now_ms))
        return -1;
    if (kind == COMPLETED && count == 4)
        return read_uint(r, &event->call) || !(event->value = read_value(r, 0)) ? -1 : 0;
    event->parts = PyList_New(known + 2);
    if (event->parts && !fill_event(r, event->parts, kind, count)) {
        guest.started = kind != REPLAYING;
        return 0;
    }
    return -1;
}
