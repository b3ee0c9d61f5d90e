/* CBOR out of Python objects, straight into the output window.
 *
 * Recursion is bounded by DEPTH_MAX. What is not of a built-in type is asked of the world's `convert`, which is Python and may
 * run workflow code (properties, iterators): containers are held while they are walked, and a map's entries are taken before
 * the first of them is written.
 */
#include <stdlib.h>
#include <string.h>

#include "guest.h"

static int write_string(PyObject *text) {
    Py_ssize_t size;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &size);
    if (bytes)
        return write_text(bytes, (size_t)size);
    PyErr_Clear(); /* lone surrogates; anything else fails again */
    PyObject *mended = PyObject_CallOneArg(guest.mend, text);
    int failed = !mended || !(bytes = PyUnicode_AsUTF8AndSize(mended, &size)) || write_text(bytes, (size_t)size);
    Py_DecRef(mended);
    return failed ? -1 : 0;
}

/* `n` beyond 64 bit, not negative; `negative` writes -1 - n. */
static int write_magnitude(PyObject *n, bool negative) {
    Py_ssize_t size = PyLong_AsNativeBytes(n, NULL, 0, NATIVE_BIG_ENDIAN);
    uint8_t *bytes = size > 0 ? PyMem_Malloc((size_t)size) : NULL;
    if (!bytes) {
        if (size >= 0)
            PyErr_NoMemory();
        return -1;
    }
    int failed = PyLong_AsNativeBytes(n, bytes, size, NATIVE_BIG_ENDIAN) < 0;
    Py_ssize_t skip = 0;
    while (skip < size && !bytes[skip])
        skip++;
    failed = failed || write_big(bytes + skip, (size_t)(size - skip), negative);
    PyMem_Free(bytes);
    return failed ? -1 : 0;
}

static int write_integer(PyObject *n) {
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(n, &overflow);
    if (!overflow)
        return value == -1 && PyErr_Occurred() ? -1 : write_int(value);
    if (overflow > 0)
        return write_magnitude(n, false);
    PyObject *inverted = PyNumber_Invert(n);
    int failed = inverted ? write_magnitude(inverted, true) : -1;
    Py_DecRef(inverted);
    return failed;
}

static int write_binary(PyObject *o) {
    char *bytes;
    Py_ssize_t size;
    return PyBytes_AsStringAndSize(o, &bytes, &size) || write_head(BYTES, (uint64_t)size) || put(bytes, (size_t)size) ? -1 : 0;
}

/* ---- containers ---- */

static int write_list(PyObject *items, int depth, struct place *here) {
    struct place place = {.up = here};
    Py_ssize_t size = PyList_Size(items);
    if (write_head(ARRAY, (uint64_t)size))
        return -1;
    for (Py_ssize_t i = 0; i < size; i++) {
        PyObject *item = PyList_GetItemRef(items, i);
        place.index = i;
        int failed = item ? write_value(item, depth + 1, &place) : -1;
        Py_DecRef(item);
        if (failed)
            return -1;
    }
    return PyList_Size(items) == size ? 0 : refuse(here, "changes while it is read");
}

static int write_tuple(PyObject *items, int depth, struct place *here) {
    struct place place = {.up = here};
    Py_ssize_t size = PyTuple_Size(items);
    if (write_head(ARRAY, (uint64_t)size))
        return -1;
    for (Py_ssize_t i = 0; i < size; i++) {
        place.index = i;
        if (write_value(PyTuple_GetItem(items, i), depth + 1, &place))
            return -1;
    }
    return 0;
}

struct entry {
    struct key key;
    PyObject *name, *value;
};

static int compare(const void *a, const void *b) {
    return key_order(&((const struct entry *)a)->key, &((const struct entry *)b)->key);
}

/* The key's text as UTF-8, held by `e->name`. */
static int take_key(struct entry *e, const struct place *here) {
    Py_ssize_t size;
    if (!(PyType_GetFlags(e->name->type) & IS_TEXT))
        return refuse(here, "has a key that is not text: only text keys can cross");
    e->key.text = PyUnicode_AsUTF8AndSize(e->name, &size);
    if (!e->key.text) {
        PyErr_Clear();
        PyObject *mended = PyObject_CallOneArg(guest.mend, e->name);
        Py_DecRef(e->name);
        e->name = mended;
        if (!mended || !(e->key.text = PyUnicode_AsUTF8AndSize(mended, &size)))
            return -1;
    }
    e->key.size = (size_t)size;
    return 0;
}

/* Holds every entry first: taking keys and writing values may run code that changes the map. */
static int collect(PyObject *map, struct entry *entries, Py_ssize_t count, const struct place *here) {
    Py_ssize_t at = 0, filled = 0;
    bool sorted = true;
    PyObject *name, *value;
    while (filled < count && PyDict_Next(map, &at, &name, &value)) {
        Py_IncRef(name);
        Py_IncRef(value);
        entries[filled++] = (struct entry){.name = name, .value = value};
    }
    for (Py_ssize_t i = 0; i < filled; i++) {
        if (take_key(&entries[i], here))
            return -1;
        if (i && sorted)
            sorted = compare(&entries[i - 1], &entries[i]) < 0;
    }
    if (!sorted)
        qsort(entries, (size_t)filled, sizeof *entries, compare);
    return 0;
}

static int write_entries(const struct entry *entries, Py_ssize_t count, int depth, const struct place *here) {
    if (write_head(MAP, (uint64_t)count))
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        const struct entry *e = &entries[i];
        struct place place = {.up = here, .key = e->key.text, .key_size = e->key.size};
        if (i && compare(e - 1, e) == 0)
            return refuse(&place, "is there twice: its key has lone surrogates");
        if (write_text(e->key.text, e->key.size) || write_value(e->value, depth + 1, &place))
            return -1;
    }
    return 0;
}

static int write_map(PyObject *map, int depth, struct place *here) {
    enum { FEW = 12 }; /* most maps: no allocation for them */
    struct entry few[FEW], *entries = few;
    Py_ssize_t count = PyDict_Size(map);
    if (count > FEW && !(entries = PyMem_Malloc((size_t)count * sizeof *entries))) {
        PyErr_NoMemory();
        return -1;
    }
    memset(entries, 0, (size_t)count * sizeof *entries);
    int failed = collect(map, entries, count, here) || write_entries(entries, count, depth, here);
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_DecRef(entries[i].name);
        Py_DecRef(entries[i].value);
    }
    if (entries != few)
        PyMem_Free(entries);
    return failed ? -1 : 0;
}

static int write_container(PyObject *value, int depth, const struct place *place) {
    struct place here = *place;
    here.object = value;
    for (const struct place *p = place->up; p; p = p->up)
        if (p->object == value)
            return refuse(place, "is a cycle");
    if (depth >= DEPTH_MAX)
        return refuse(place, "is nested deeper than 64");
    if (value->type == guest.list_type || value->type == guest.batch_type)
        return write_list(value, depth, &here);
    return value->type == guest.tuple_type ? write_tuple(value, depth, &here) : write_map(value, depth, &here);
}

/* ---- everything else ---- */

enum conversion { PLAIN, TIMESTAMP, REFUSED, ZONED };

/* `became` stands for `value`, which may hold itself however it is walked. */
static int write_held(PyObject *value, PyObject *became, int depth, const struct place *place) {
    struct place here = *place;
    here.object = value;
    for (const struct place *p = place->up; p; p = p->up)
        if (p->object == value)
            return refuse(place, "is a cycle");
    return write_value(became, depth, &here);
}

static bool is_plain(PyObject *o) {
    const PyTypeObject *type = o->type;
    return type == guest.text_type || type == guest.int_type || type == guest.float_type || type == guest.dict_type ||
           type == guest.list_type || type == guest.bytes_type || o == guest.none || o == guest.true_ || o == guest.false_ ||
           type == guest.tuple_type || type == guest.data_type;
}

static int write_answer(PyObject *value, PyObject *answer, int depth, const struct place *place) {
    PyObject *how = PyTuple_GetItem(answer, 0), *became = PyTuple_GetItem(answer, 1);
    int overflow;
    Py_ssize_t size;
    const char *text = became->type == guest.text_type ? PyUnicode_AsUTF8AndSize(became, &size) : NULL;
    switch (how->type == guest.int_type ? PyLong_AsLongLongAndOverflow(how, &overflow) : -1) {
    case PLAIN: return is_plain(became) ? write_held(value, became, depth, place) : refuse(place, "cannot cross");
    case TIMESTAMP: return text ? put("\xc0", 1) || write_string(became) : refuse(place, "cannot cross");
    case ZONED: return text ? write_head(TAG, TAG_ZONED) || write_string(became) : refuse(place, "cannot cross");
    default: return refuse(place, text ? text : "cannot cross");
    }
}

/* The world answers (conversion, what it became), of a built-in type; it is Python, so its answer is checked. */
static int write_converted(PyObject *value, int depth, const struct place *place) {
    PyObject *answer = PyObject_CallOneArg(guest.convert, value);
    if (!answer)
        return -1;
    bool is_pair = answer->type == guest.tuple_type && PyTuple_Size(answer) == 2;
    int failed = is_pair ? write_answer(value, answer, depth, place) : refuse(place, "cannot cross");
    Py_DecRef(answer);
    return failed ? -1 : 0;
}

int write_value(PyObject *value, int depth, const struct place *place) {
    PyTypeObject *type = value->type;
    const char *bytes;
    size_t size;
    if (type == guest.text_type)
        return write_string(value);
    if (type == guest.int_type)
        return write_integer(value);
    if (value == guest.none)
        return put("\xf6", 1);
    if (value == guest.true_ || value == guest.false_)
        return put(value == guest.true_ ? "\xf5" : "\xf4", 1);
    if (type == guest.float_type)
        return write_float(PyFloat_AsDouble(value));
    if (type == guest.list_type || type == guest.tuple_type || type == guest.dict_type || type == guest.data_type ||
        type == guest.batch_type || type == guest.item_type)
        return write_container(value, depth, place);
    if (type == guest.bytes_type)
        return write_binary(value);
    if (is_duration(value))
        return write_duration(value);
    if (TURN->writing && encoded_bytes(value, &bytes, &size))
        return put(bytes, size);
    return write_converted(value, depth, place);
}

int write_command(PyObject *command) {
    const struct place root = ROOT("command");
    if (++TURN->commands > EVENT_COMMANDS_MAX)
        return raise_fault(FAULT_COMMANDS);
    TURN->writing = true;
    int failed = write_value(command, -1, &root);
    TURN->writing = false;
    return failed;
}

/* ---- values apart from a command ---- */

uint8_t *write_apart(PyObject *value, const struct place *root, int depth) {
    uint8_t *mark = TURN->at;
    bool writing = TURN->writing;
    TURN->writing = false;
    int failed = write_value(value, depth, root);
    TURN->writing = writing;
    if (!failed)
        return mark;
    TURN->at = mark;
    return NULL;
}

PyObject *encoded_from(uint8_t *mark) {
    if (!mark)
        return NULL;
    size_t size = (size_t)(TURN->at - mark);
    TURN->at = mark;
    return encoded_new(mark, size);
}

PyObject *encoded_value(PyObject *value, const char *label, int depth) {
    return encoded_from(write_apart(value, &(struct place){.key = label, .key_size = strlen(label)}, depth));
}
