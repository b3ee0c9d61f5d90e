/* The built-in module `_cloche`: what the prelude and the world have from the driver. */
#include <string.h>

#include "guest.h"

/* ---- Encoded: a value as it crosses ---- */

struct encoded {
    PyObject head;
    Py_ssize_t size;
    char bytes[];
};

static void encoded_free(PyObject *self) {
    PyObject *type = (PyObject *)self->type;
    PyObject_Free(self);
    Py_DecRef(type); /* instances of types made at run time hold them */
}

bool encoded_bytes(PyObject *o, const char **bytes, size_t *size) {
    if (o->type != guest.encoded_type)
        return false;
    *bytes = ((struct encoded *)o)->bytes;
    *size = (size_t)((struct encoded *)o)->size;
    return true;
}

static PyObject *encoded_new(const uint8_t *bytes, size_t size) {
    struct encoded *made = (struct encoded *)_PyObject_NewVar(guest.encoded_type, (Py_ssize_t)size);
    if (made)
        memcpy(made->bytes, bytes, size);
    return (PyObject *)made;
}

static PyType_Slot encoded_slots[] = {{SLOT_DEALLOC, encoded_free}, {0, NULL}};
static PyType_Spec encoded_spec = {
    "_cloche.Encoded", sizeof(struct encoded), 1, TYPE_DISALLOW_INSTANTIATION | TYPE_IMMUTABLE, encoded_slots};

/* ---- Data: a mapping with attribute access ---- */

static bool is_special(PyObject *name) {
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(name, &size);
    if (!text)
        PyErr_Clear();
    return text && size > 1 && text[0] == '_' && text[1] == '_';
}

static PyObject *data_get(PyObject *self, PyObject *name) {
    PyObject *value = NULL;
    if (!is_special(name) && PyDict_GetItemRef(self, name, &value))
        return value; /* found, or NULL with an exception */
    return PyObject_GenericGetAttr(self, name);
}

static int data_set(PyObject *self, PyObject *name, PyObject *value) {
    if (is_special(name))
        return PyObject_GenericSetAttr(self, name, value);
    if (value)
        return PyDict_SetItem(self, name, value);
    PyObject *there = NULL;
    int found = PyDict_GetItemRef(self, name, &there);
    Py_DecRef(there);
    if (found > 0)
        return PyDict_DelItem(self, name);
    if (!found)
        PyErr_SetObject(guest.attribute_error, name);
    return -1;
}

PyObject *data_new(void) { return PyObject_CallNoArgs((PyObject *)guest.data_type); }

static PyType_Slot data_slots[] = {{SLOT_GETATTRO, data_get}, {SLOT_SETATTRO, data_set}, {0, NULL}};
static PyType_Spec data_spec = {"cloche.Data", 0, 0, TYPE_BASETYPE | TYPE_IMMUTABLE, data_slots};

/* ---- functions ---- */

PyObject *new_none(void) {
    Py_IncRef(guest.none);
    return guest.none;
}

PyObject *wrong_use(const char *text) {
    throw_type_error(text, strlen(text));
    return NULL;
}

/* Writes a value behind the output that is there; where it began, or NULL. The caller takes it back. */
static uint8_t *write_behind(PyObject *value, const struct place *root, int depth) {
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

/* The same for (value, label, depth = 0). */
static uint8_t *write_apart(PyObject *const *arguments, Py_ssize_t count) {
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
    return depth < 0 ? (uint8_t *)wrong_use(usage) : write_behind(arguments[0], &root, depth);
}

static PyObject *encoded_from(uint8_t *mark) {
    if (!mark)
        return NULL;
    size_t size = (size_t)(TURN->at - mark);
    TURN->at = mark;
    return encoded_new(mark, size);
}

PyObject *encoded_value(PyObject *value, const char *label, int depth) {
    return encoded_from(write_behind(value, &(struct place){.key = label, .key_size = strlen(label)}, depth));
}

static PyObject *encoded(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    return encoded_from(write_apart(arguments, count));
}

static PyObject *check(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    uint8_t *mark = write_apart(arguments, count);
    if (!mark)
        return NULL;
    TURN->at = mark;
    return new_none();
}

static PyObject *plain(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    uint8_t *mark = write_apart(arguments, count);
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
        {"mend", &guest.mend},       {"parse_time", &guest.parse_time}, {"begin", &guest.begin},
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
    {"now_ms", now_ms, METH_FASTCALL, "now_ms(): the time of the event being delivered"},
    {"urandom", urandom, METH_FASTCALL, "urandom(size): seeded bytes"},
    {"keep", keep, METH_FASTCALL, "keep(objects): for the time of baking"},
    {"attach", attach, METH_FASTCALL, "attach(name, function): for the time of baking"},
    {NULL, NULL, 0, NULL},
};

int types_define(void) {
    PyObject *bases = PyTuple_Pack(1, guest.dict_type), *module = PyImport_AddModuleRef("_cloche");
    guest.data_type = (PyTypeObject *)PyType_FromSpecWithBases(&data_spec, bases);
    guest.encoded_type = (PyTypeObject *)PyType_FromSpecWithBases(&encoded_spec, NULL);
    Py_DecRef(bases);
    if (!module || !guest.data_type || !guest.encoded_type || PyModule_AddFunctions(module, functions))
        return -1;
    int failed = PyModule_AddObjectRef(module, "Data", (PyObject *)guest.data_type) ||
                 PyModule_AddObjectRef(module, "Encoded", (PyObject *)guest.encoded_type) || promises_define(module) ||
                 calls_define(module);
    Py_DecRef(module);
    return failed ? -1 : 0;
}
