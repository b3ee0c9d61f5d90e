/* What all files of the guest stand on: its lasting state, and how a turn or a function ends early. Needs CPython alone. */
#include "guest.h"

struct guest guest;

int raise_fault(enum fault code) {
    if (!TURN->fault)
        TURN->fault = code;
    if (!PyErr_Occurred())
        PyErr_SetString(guest.fault_error, "the turn ends here");
    return -1;
}

int throw_type_error(const char *message, size_t size) {
    PyObject *text = PyUnicode_DecodeUTF8(message, (Py_ssize_t)size, "replace"); /* a long key may have been cut */
    if (text)
        PyErr_SetObject(guest.type_error, text);
    Py_DecRef(text);
    return -1;
}
