/* The part of CPython's C API that the driver uses, declared here: the driver is linked to a libpython that has no headers
 * beside it. New references unless it says borrowed.
 *
 * Layouts are those of CPython 3.14 for 32 bit with the GIL. Nothing compares them, so a new version of CPython needs a look at
 * each of them here; a wrong one is seen at once, for the bake or the first turn reads a wrong field.
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
    const char *name;
    int type;
    Py_ssize_t offset;
    int flags;
    const char *doc;
} PyMemberDef;
enum { MEMBER_OBJECT = 6, MEMBER_BYTE = 9, MEMBER_BOOL = 14, MEMBER_LONG = 17 }; /* an object that is NULL reads as None */
enum { MEMBER_READONLY = 1 };

typedef int (*visitproc)(PyObject *o, void *with);

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
enum {
    SLOT_CLEAR = 51, SLOT_DEALLOC = 52, SLOT_GETATTRO = 58, SLOT_ITERNEXT = 63, SLOT_METHODS = 64, SLOT_REPR = 66,
    SLOT_SETATTRO = 69, SLOT_TRAVERSE = 71, SLOT_MEMBERS = 72, SLOT_AWAIT = 77, SLOT_VECTORCALL = 82
};
enum {
    TYPE_DISALLOW_INSTANTIATION = 1 << 7, TYPE_IMMUTABLE = 1 << 8, TYPE_BASETYPE = 1 << 10, TYPE_HAVE_GC = 1 << 14
};
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
PyObject *PyType_GenericAlloc(PyTypeObject *type, Py_ssize_t items); /* zeroed, and known to the collector */
PyObject *PyType_GetName(PyTypeObject *type);
int PyType_IsSubtype(PyTypeObject *type, PyTypeObject *of);
void PyObject_GC_UnTrack(void *o);
void PyObject_GC_Del(void *o);
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
PyObject *PyObject_GetAttr(PyObject *o, PyObject *name);
PyObject *PyObject_GetAttrString(PyObject *o, const char *name);
PyObject *PyObject_GenericGetAttr(PyObject *o, PyObject *name);
int PyObject_GenericSetAttr(PyObject *o, PyObject *name, PyObject *value);
PyObject *PyObject_CallNoArgs(PyObject *callable);
PyObject *PyObject_CallOneArg(PyObject *callable, PyObject *argument);
/* `arguments` begins with the object whose method it is */
PyObject *PyObject_VectorcallMethod(PyObject *name, PyObject *const *arguments, size_t count, PyObject *names);
int PyObject_SetAttr(PyObject *o, PyObject *name, PyObject *value);
enum { SENT_RETURN = 0, SENT_ERROR = -1, SENT_NEXT = 1 };
PyObject *PyObject_Vectorcall(PyObject *callable, PyObject *const *arguments, size_t count, PyObject *names);
PyObject *PyEval_GetFrame(void); /* borrowed */
PyObject *PyFrame_GetCode(PyObject *frame);
int PyFrame_GetLasti(PyObject *frame);
int PyIter_Send(PyObject *iterator, PyObject *value, PyObject **result);
int _PyGen_SetStopIterationValue(PyObject *value); /* raises it, whatever the value */
enum { VECTORCALL_COUNT = 0x7fffffff }; /* the highest bit of a vectorcall's count is a flag */

/* errors */
PyObject *PyErr_Occurred(void); /* borrowed */
void PyErr_Clear(void);
PyObject *PyErr_GetRaisedException(void);
void PyErr_SetRaisedException(PyObject *error);
void PyErr_SetObject(PyObject *type, PyObject *value);
void PyErr_SetString(PyObject *type, const char *text);
PyObject *PyErr_NoMemory(void);
PyObject *PyErr_Format(PyObject *type, const char *format, ...);
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
PyObject *PyUnicode_InternFromString(const char *text);
PyObject *PyUnicode_FromFormat(const char *format, ...);
PyObject *PyBytes_FromStringAndSize(const char *bytes, Py_ssize_t size);
int PyBytes_AsStringAndSize(PyObject *o, char **bytes, Py_ssize_t *size); /* belongs to `o` */

/* containers */
PyObject *PyList_New(Py_ssize_t size);
int PyList_SetItem(PyObject *list, Py_ssize_t index, PyObject *item); /* takes `item` */
PyObject *PyList_GetItemRef(PyObject *list, Py_ssize_t index);
Py_ssize_t PyList_Size(PyObject *list);
int PyList_Append(PyObject *list, PyObject *item);
int PyList_SetSlice(PyObject *list, Py_ssize_t from, Py_ssize_t to, PyObject *items);
PyObject *PyTuple_New(Py_ssize_t size);
int PyTuple_SetItem(PyObject *tuple, Py_ssize_t index, PyObject *item); /* takes `item` */
PyObject *PyTuple_GetItem(PyObject *tuple, Py_ssize_t index); /* borrowed */
Py_ssize_t PyTuple_Size(PyObject *tuple);
PyObject *PyTuple_Pack(Py_ssize_t size, ...);
PyObject *PyDict_New(void);
int PyDict_SetItem(PyObject *dict, PyObject *key, PyObject *value);
int PyDict_DelItem(PyObject *dict, PyObject *key);
int PyDict_Pop(PyObject *dict, PyObject *key, PyObject **value); /* 1 if it was there */
int PyDict_GetItemRef(PyObject *dict, PyObject *key, PyObject **value);
Py_ssize_t PyDict_Size(PyObject *dict);
int PyDict_Next(PyObject *dict, Py_ssize_t *at, PyObject **key, PyObject **value); /* borrowed */

/* `datetime.datetime_CAPI`: what it begins with */
struct datetime_api {
    PyTypeObject *date, *datetime, *time, *delta, *tzinfo;
    PyObject *utc;
    void *of_date, *of_datetime, *of_time;
    PyObject *(*of_delta)(int days, int seconds, int microseconds, int normalize, PyTypeObject *type);
};
void *PyCapsule_Import(const char *name, int no_block);

/* memory */
void *PyMem_Malloc(size_t size);
void *PyMem_Realloc(void *memory, size_t size);
void PyMem_Free(void *memory);

#endif
