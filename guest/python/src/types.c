/* Types of `_cloche` that know nothing of the rest: a value as it crosses, and a mapping with attribute access. */
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

PyObject *encoded_new(const uint8_t *bytes, size_t size) {
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

/* ---- small things that all need ---- */

PyObject *new_none(void) {
    Py_IncRef(guest.none);
    return guest.none;
}

PyObject *wrong_use(const char *text) {
    throw_type_error(text, strlen(text));
    return NULL;
}

/* ---- definitions ---- */

int types_define(PyObject *module) {
    PyObject *bases = PyTuple_Pack(1, guest.dict_type);
    guest.data_type = (PyTypeObject *)PyType_FromSpecWithBases(&data_spec, bases);
    guest.encoded_type = (PyTypeObject *)PyType_FromSpecWithBases(&encoded_spec, NULL);
    Py_DecRef(bases);
    if (!guest.data_type || !guest.encoded_type)
        return -1;
    return PyModule_AddObjectRef(module, "Data", (PyObject *)guest.data_type) ||
                   PyModule_AddObjectRef(module, "Encoded", (PyObject *)guest.encoded_type)
               ? -1
               : 0;
}
