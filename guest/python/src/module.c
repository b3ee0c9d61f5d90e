/* The built-in module `_cloche`: what the prelude and the world have from the driver. */
#include <string.h>

#include "guest.h"

/* The same for (value, label, depth = 0). */
static uint8_t *write_labelled(PyObject *const *arguments, Py_ssize_t count) {
    static const char usage[] = "wanted: a value, a label, and perhaps the depth it is at";
    struct place root = {.up = NULL};
    Py_ssize_t size;
    int overflow, depth = 0;
    if (count < 2 || count > 3)
        return (uint8_t *)wrong_use(usage);
    root.key = PyUnicode_AsUTF8AndSize(arguments[1], &size);
    if (!root.key)
        return NULL;
    root.key_size = (size_t)size;
    if (count == 3)
        depth = (int)PyLong_AsLongLongAndOverflow(arguments[2], &overflow);
    return depth < 0 ? (uint8_t *)wrong_use(usage) : write_apart(arguments[0], &root, depth);
}

static PyObject *encoded(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    return encoded_from(write_labelled(arguments, count));
}

static PyObject *check(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    uint8_t *mark = write_labelled(arguments, count);
    if (!mark)
        return NULL;
    TURN->at = mark;
    return new_none();
}

static PyObject *plain(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    uint8_t *mark = write_labelled(arguments, count);
    if (!mark)
        return NULL;
    struct reader r = {mark, TURN->at};
    PyObject *value = read_value(&r, 0);
    TURN->at = mark;
    return value;
}

static PyObject *raw(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    const char *bytes;
    size_t size;
    (void)self;
    if (count != 1 || !encoded_bytes(arguments[0], &bytes, &size))
        return wrong_use("wanted: one Encoded");
    return PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
}

static PyObject *fault(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    int overflow;
    (void)self;
    long long code = count == 1 ? PyLong_AsLongLongAndOverflow(arguments[0], &overflow) : 0;
    if (code > FAULT_INPUT || code < FAULT_BROKEN)
        return wrong_use("wanted: the number of a fault");
    raise_fault((enum fault)code);
    return NULL;
}

static PyObject *now_ms(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self, (void)arguments, (void)count;
    return PyLong_FromLongLong(guest.now_ms);
}

static PyObject *urandom(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    int overflow;
    (void)self;
    long long size = count == 1 ? PyLong_AsLongLongAndOverflow(arguments[0], &overflow) : -1;
    if (size < 0 || size > 1 << 20)
        return PyErr_Occurred() ? NULL : wrong_use("wanted: a number of bytes, at most 1 MiB");
    if (!guest.started)
        return wrong_use("there is no randomness before the run starts: use it inside the workflow function");
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    char *at;
    if (bytes && !PyBytes_AsStringAndSize(bytes, &at, &(Py_ssize_t){0}))
        chance_fill(guest.random, (uint8_t *)at, (size_t)size);
    return bytes;
}

/* While baking: what is there stays for ever, so its count of references need not be written in each cell. An object whose
 * count is not written leaves its page as it is in the image. */
static PyObject *keep(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 1 || arguments[0]->type != guest.list_type)
        return wrong_use("wanted: a list of objects");
    for (Py_ssize_t i = PyList_Size(arguments[0]); i--;) {
        PyObject *o = PyList_GetItemRef(arguments[0], i);
        o->references = IMMORTAL_REFERENCES;
    }
    return new_none();
}

/* While baking, the world hands over its functions by name. */
static PyObject *attach(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    const struct {
        const char *name;
        PyObject **slot;
    } slots[] = {
        {"deliver", &guest.deliver}, {"load", &guest.load},       {"report", &guest.report}, {"convert", &guest.convert},
        {"mend", &guest.mend},       {"parse_time", &guest.parse_time}, {"parse_zoned", &guest.parse_zoned}, {"begin", &guest.begin},
        {"suspend", &guest.suspend}, {"canceled", &guest.canceled},     {"not_ours", &guest.not_ours},
    };
    Py_ssize_t size;
    const char *name = count == 2 ? PyUnicode_AsUTF8AndSize(arguments[0], &size) : NULL;
    (void)self;
    for (size_t i = 0; name && i < sizeof slots / sizeof *slots; i++) {
        if (strcmp(slots[i].name, name))
            continue;
        Py_IncRef(arguments[1]);
        Py_DecRef(*slots[i].slot);
        *slots[i].slot = arguments[1];
        return new_none();
    }
    return wrong_use("wanted: the name of a function of the driver's, and the function");
}

static PyMethodDef functions[] = {
    {"encoded", encoded, METH_FASTCALL, "encoded(value, label, depth=0): the value as it crosses, made now"},
    {"check", check, METH_FASTCALL, "check(value, label, depth=0): TypeError if the value cannot cross"},
    {"plain", plain, METH_FASTCALL, "plain(value, label): the value after a round trip"},
    {"raw", raw, METH_FASTCALL, "raw(encoded): its bytes"},
    {"fault", fault, METH_FASTCALL, "fault(code): ends the turn"},
    {"duration", duration, METH_FASTCALL, "duration(text): the timedelta that it says"},
    {"now_ms", now_ms, METH_FASTCALL, "now_ms(): the time of the event being delivered"},
    {"urandom", urandom, METH_FASTCALL, "urandom(size): seeded bytes"},
    {"land", promise_land, METH_FASTCALL, "land(promise): what a coroutine that is sent something now has waited for"},
    {"keep", keep, METH_FASTCALL, "keep(objects): for the time of baking"},
    {"attach", attach, METH_FASTCALL, "attach(name, function): for the time of baking"},
    {NULL, NULL, 0, NULL},
};

int module_define(void) {
    PyObject *module = PyImport_AddModuleRef("_cloche");
    int failed = !module || types_define(module) || durations_define() || PyModule_AddFunctions(module, functions) ||
                 promises_define(module, call_begin) || calls_define(module);
    Py_DecRef(module);
    return failed ? -1 : 0;
}
