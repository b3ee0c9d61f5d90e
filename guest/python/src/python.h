/* The part of CPython's C API that the driver uses, declared here: the driver is linked to a libpython that has no headers
 * beside it. Layouts are those of CPython 3.14 for 32 bit with the GIL; `check_layouts` of main.c compares them while the
 * guest is baked. New references unless it says borrowed.
 */
#ifndef CLOCHE_PYTHON_H
#define CLOCHE_PYTHON_H

#include <stddef.h>
#include <stdint.h>

typedef intptr_t Py_ssize_t;
typedef struct PyTypeObject PyTypeObject;
typedef struct {
    Py_ssize_t references;
    PyTypeObject *type;
} PyObject;

enum { IMMORTAL_REFERENCES = 5 << 28 }; /* Py_IncRef and Py_DecRef leave such a count alone */

typedef PyObject *(*PyCFunction)(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
typedef struct {
    const char *name;
    PyCFunction function;
    int flags;
    const char *doc;
} PyMethodDef;
enum { METH_FASTCALL = 0x80 };

typedef struct {
    int slot;
    void *function;
} PyType_Slot;
typedef struct {
    const char *name;
    int basicsize, itemsize;
    unsigned flags;
    PyType_Slot *slots;
} PyType_Spec;
enum { SLOT_DEALLOC = 52, SLOT_GETATTRO = 58, SLOT_REPR = 66, SLOT_SETATTRO = 69 };
enum { TYPE_DISALLOW_INSTANTIATION = 1 << 7, TYPE_IMMUTABLE = 1 << 8, TYPE_BASETYPE = 1 << 10 };
enum { IS_INT = 1 << 24, IS_LIST = 1 << 25, IS_TUPLE = 1 << 26, IS_BYTES = 1 << 27, IS_TEXT = 1 << 28, IS_DICT = 1 << 29 };

/* life */
int PyGILState_Ensure(void);
void Py_IncRef(PyObject *o);
void Py_DecRef(PyObject *o);
PyObject *Py_GetConstantBorrowed(unsigned which); /* borrowed */
enum { CONSTANT_NONE, CONSTANT_FALSE, CONSTANT_TRUE };

/* types and modules */
unsigned long PyType_GetFlags(PyTypeObject *type);
PyObject *PyType_FromSpecWithBases(PyType_Spec *spec, PyObject *bases);
PyObject *_PyObject_NewVar(PyTypeObject *type, Py_ssize_t size);
void PyObject_Free(void *o);
PyObject *PyImport_AddModuleRef(const char *name);
PyObject *PyImport_ImportModule(const char *name);
PyObject *PyModule_GetDict(PyObject *module); /* borrowed */
int PyModule_AddFunctions(PyObject *module, PyMethodDef *functions);
int PyModule_AddObjectRef(PyObject *module, const char *name, PyObject *value);
PyObject *PyRun_StringFlags(const char *text, int start, PyObject *globals, PyObject *locals, void *flags);
enum { PY_FILE_INPUT = 257 };

/* objects */
PyObject *PyObject_Repr(PyObject *o);
PyObject *PyObject_GetAttrString(PyObject *o, const char *name);
PyObject *PyObject_GenericGetAttr(PyObject *o, PyObject *name);
int PyObject_GenericSetAttr(PyObject *o, PyObject *name, PyObject *value);
PyObject *PyObject_CallNoArgs(PyObject *callable);
PyObject *PyObject_CallOneArg(PyObject *callable, PyObject *argument);

/* errors */
PyObject *PyErr_Occurred(void); /* borrowed */
void PyErr_Clear(void);
PyObject *PyErr_GetRaisedException(void);
void PyErr_SetRaisedException(PyObject *error);
void PyErr_SetObject(PyObject *type, PyObject *value);
void PyErr_SetString(PyObject *type, const char *text);
PyObject *PyErr_NoMemory(void);
int PyErr_GivenExceptionMatches(PyObject *error, PyObject *type);

/* numbers */
PyObject *PyLong_FromLongLong(long long value);
PyObject *PyLong_FromUnsignedLongLong(unsigned long long value);
PyObject *PyLong_FromUnsignedNativeBytes(const void *bytes, size_t size, int flags);
long long PyLong_AsLongLongAndOverflow(PyObject *o, int *overflow);
Py_ssize_t PyLong_AsNativeBytes(PyObject *o, void *bytes, Py_ssize_t size, int flags);
enum { NATIVE_BIG_ENDIAN = 0 };
PyObject *PyNumber_Invert(PyObject *o);
PyObject *PyFloat_FromDouble(double value);
double PyFloat_AsDouble(PyObject *o);

/* text and bytes */
PyObject *PyUnicode_FromStringAndSize(const char *text, Py_ssize_t size);
PyObject *PyUnicode_DecodeUTF8(const char *text, Py_ssize_t size, const char *errors);
const char *PyUnicode_AsUTF8AndSize(PyObject *o, Py_ssize_t *size); /* belongs to `o` */
void PyUnicode_InternInPlace(PyObject **text);
PyObject *PyBytes_FromStringAndSize(const char *bytes, Py_ssize_t size);
int PyBytes_AsStringAndSize(PyObject *o, char **bytes, Py_ssize_t *size); /* belongs to `o` */

/* containers */
PyObject *PyList_New(Py_ssize_t size);
int PyList_SetItem(PyObject *list, Py_ssize_t index, PyObject *item); /* takes `item` */
PyObject *PyList_GetItemRef(PyObject *list, Py_ssize_t index);
Py_ssize_t PyList_Size(PyObject *list);
PyObject *PyTuple_GetItem(PyObject *tuple, Py_ssize_t index); /* borrowed */
Py_ssize_t PyTuple_Size(PyObject *tuple);
PyObject *PyTuple_Pack(Py_ssize_t size, ...);
PyObject *PyDict_New(void);
int PyDict_SetItem(PyObject *dict, PyObject *key, PyObject *value);
int PyDict_DelItem(PyObject *dict, PyObject *key);
int PyDict_GetItemRef(PyObject *dict, PyObject *key, PyObject **value);
Py_ssize_t PyDict_Size(PyObject *dict);
int PyDict_Next(PyObject *dict, Py_ssize_t *at, PyObject **key, PyObject **value); /* borrowed */

/* memory */
void *PyMem_Malloc(size_t size);
void PyMem_Free(void *memory);

#endif
