/* What is asked of the host: `Call` and `StepCall` of `_cloche`, the table of open calls, the commands of an event. */
#include <string.h>

#include "guest.h"

static struct {
    PyObject *named, *rest;
} names;

static int add_command(PyObject *command) {
    if (PyList_Size(guest.commands) >= EVENT_COMMANDS_MAX)
        return raise_fault(FAULT_COMMANDS);
    return PyList_Append(guest.commands, command);
}

/* ---- paths ---- */

/* How often the name was used as a path; -1 with an exception. */
static long long times_used(PyObject *name) {
    PyObject *count = NULL;
    int overflow, found = PyDict_GetItemRef(guest.paths, name, &count);
    long long times = found > 0 ? PyLong_AsLongLongAndOverflow(count, &overflow) : found;
    Py_DecRef(count);
    return times;
}

static int set_times_used(PyObject *name, long long times) {
    PyObject *count = PyLong_FromLongLong(times);
    int failed = !count || PyDict_SetItem(guest.paths, name, count);
    Py_DecRef(count);
    return failed ? -1 : 0;
}

/* `name` the first time, then `name#2`, `name#3` … */
static PyObject *numbered(PyObject *name, long long times) {
    if (times > 1)
        return PyUnicode_FromFormat("%U#%lld", name, times);
    Py_IncRef(name);
    return name;
}

/* The name as a path, in the scope that the code is in. */
static PyObject *scoped(PyObject *name) {
    if (guest.scope)
        return PyUnicode_FromFormat("%U/%U", guest.scope, name);
    Py_IncRef(name);
    return name;
}

static int check_text(PyObject *value, const char *what) {
    if (value && PyType_GetFlags(value->type) & IS_TEXT)
        return 0;
    PyObject *type = PyType_GetName((value ? value : guest.none)->type);
    if (type)
        PyErr_Format(guest.type_error, "the %s of a call is no text but a %U", what, type);
    Py_DecRef(type);
    return -1;
}

static PyObject *free_path(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 1 || check_text(arguments[0], "name"))
        return PyErr_Occurred() ? NULL : wrong_use("wanted: a name");
    PyObject *name = scoped(arguments[0]), *path = NULL;
    long long times = name ? times_used(name) + 1 : 0;
    if (times > 0 && !set_times_used(name, times))
        path = numbered(name, times);
    Py_DecRef(name);
    return path;
}

/* What paths begin with from here on, a text or None; what they did before. */
static PyObject *scope(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 1 || (arguments[0] != guest.none && check_text(arguments[0], "scope")))
        return PyErr_Occurred() ? NULL : wrong_use("wanted: a scope, or None");
    PyObject *before = guest.scope ? guest.scope : guest.none;
    Py_IncRef(before);
    hold(&guest.scope, arguments[0] == guest.none ? NULL : arguments[0]);
    return before;
}

/* ---- asking ---- */

static bool is_step(const struct promise *call) { return call->head.type == guest.step_call_type; }

/* What reads the result of a step that has types (0), or writes its arguments (1); or NULL. */
static PyObject *helper_of(const struct promise *call, Py_ssize_t which) {
    PyObject *found = PyList_GetItemRef(call->typed, which);
    if (found != guest.none)
        return found;
    Py_DecRef(found);
    return NULL;
}

/* The arguments as they cross, where they are of types that cannot cross alone. */
static int write_arguments(struct promise *call) {
    PyObject *writer = helper_of(call, 1);
    if (!writer)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *given[] = {call->arguments, call->keywords ? call->keywords : guest.none};
    PyObject *made = PyObject_Vectorcall(writer, given, 2, NULL);
    Py_DecRef(writer);
    if (made) {
        PyObject *keywords = PyTuple_GetItem(made, 1);
        hold(&call->arguments, PyTuple_GetItem(made, 0));
        hold(&call->keywords, keywords == guest.none ? NULL : keywords);
    }
    Py_DecRef(made);
    return made ? 0 : -1;
}

/* What follows the path in a call's command. */
static PyObject *rest_of(struct promise *call) {
    if (!is_step(call))
        return call_method(&call->head, names.rest);
    if (call->typed && write_arguments(call))
        return NULL;
    PyObject *arguments = encoded_value(call->arguments, "arguments", 0), *rest = NULL;
    PyObject *keywords = arguments && call->keywords ? encoded_value(call->keywords, "arguments", 0) : NULL;
    if (keywords)
        rest = PyTuple_Pack(3, call->name, arguments, keywords);
    else if (arguments && !call->keywords)
        rest = PyTuple_Pack(2, call->name, arguments);
    Py_DecRef(arguments);
    Py_DecRef(keywords);
    return rest;
}

/* Takes `id` and `rest`. */
static PyObject *command_of(const struct promise *call, PyObject *id, PyObject *rest) {
    Py_ssize_t count = rest->type == guest.tuple_type ? PyTuple_Size(rest) : -1;
    PyObject *command = count < 0 ? wrong_use("the rest of a command is a tuple") : PyTuple_New(3 + count);
    if (command) {
        Py_IncRef(id);
        Py_IncRef(call->path);
        PyTuple_SetItem(command, 0, PyLong_FromLongLong(call->kind));
        PyTuple_SetItem(command, 1, id);
        PyTuple_SetItem(command, 2, call->path);
    }
    for (Py_ssize_t i = 0; command && i < count; i++) {
        PyObject *item = PyTuple_GetItem(rest, i);
        Py_IncRef(item);
        PyTuple_SetItem(command, 3 + i, item);
    }
    Py_DecRef(rest);
    return command;
}

/* What cannot be asked, or read, fails; the name of what was not asked counts as not used. */
static int not_asked(struct promise *call) {
    PyObject *error = PyErr_GetRaisedException();
    if (TURN->fault || !PyErr_GivenExceptionMatches(error, guest.exception) ||
        PyErr_GivenExceptionMatches(error, guest.memory_error)) {
        PyErr_SetRaisedException(error);
        return -1;
    }
    int failed = promise_settle(call, NULL, error);
    Py_DecRef(error);
    return failed;
}

/* The path is known, and what the author's code had to say to the command: it becomes an open call. */
static int ask(struct promise *call, PyObject *rest) {
    PyObject *id = PyLong_FromLongLong(guest.last_call + 1), *command = id ? command_of(call, id, rest) : NULL;
    int failed = !command || add_command(command) || PyDict_SetItem(guest.open, id, &call->head);
    if (!failed)
        call->id = ++guest.last_call;
    Py_DecRef(id);
    Py_DecRef(command);
    return failed ? -1 : 0;
}

int call_begin(struct promise *call) {
    PyObject *named = NULL, *rest = NULL;
    long long times = 0;
    call->id = -1;
    if (guest.finished)
        return 0;
    if (call->path == guest.none) /* as the prelude's own calls say it */
        hold(&call->path, NULL);
    if (!call->path) {
        named = is_step(call) ? numbered(call->name, 1) : call_method(&call->head, names.named);
        if (named && !check_text(named, "name") && guest.scope) {
            PyObject *name = named;
            named = scoped(name);
            Py_DecRef(name);
        }
        times = named && !check_text(named, "name") ? times_used(named) + 1 : 0;
        call->path = times > 0 ? numbered(named, times) : NULL;
    }
    int failed = !call->path || check_text(call->path, "path") || (is_step(call) && check_text(call->name, "name")) ||
                 !(rest = rest_of(call)) || (named && set_times_used(named, times));
    failed = failed ? not_asked(call) : ask(call, rest);
    Py_DecRef(named);
    return failed;
}

/* ---- answers ---- */

/* The step's result is of the type that its description says. */
static int settle_typed(struct promise *call, PyObject *value) {
    PyObject *reader = helper_of(call, 0);
    if (!reader)
        return PyErr_Occurred() ? -1 : promise_settle(call, value, NULL);
    PyObject *made = PyObject_CallOneArg(reader, value);
    Py_DecRef(reader);
    int failed = made ? promise_settle(call, made, NULL) : not_asked(call);
    Py_DecRef(made);
    return failed;
}

int call_completed(uint64_t id, PyObject *value) {
    PyObject *key = PyLong_FromUnsignedLongLong(id), *found = NULL;
    int failed = !key || PyDict_Pop(guest.open, key, &found) < 0;
    struct promise *call = found && is_promise(found, guest.call_type) ? (struct promise *)found : NULL;
    Py_DecRef(key);
    if (!failed && (!call || call->kind != STEP))
        failed = raise_fault(FAULT_CALL);
    if (!failed && call->suspended) {
        PyObject *done = PyObject_CallOneArg(guest.suspend, found);
        failed = !done;
        Py_DecRef(done);
    }
    if (!failed && !call->abandoned && !guest.finished)
        failed = call->typed ? settle_typed(call, value) : promise_settle(call, value, NULL);
    Py_DecRef(found);
    return failed;
}

/* ---- what the prelude calls ---- */

static PyObject *begin(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)arguments, (void)count;
    return call_begin((struct promise *)self) ? NULL : new_none();
}

static PyObject *put_command(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 1)
        return wrong_use("wanted: a command");
    return !guest.finished && add_command(arguments[0]) ? NULL : new_none();
}

/* What comes of an open call is not wanted; the host is told, or learns it from what follows. */
static int drop_call(struct promise *call, bool tell_host) {
    if (call->abandoned || (tell_host && guest.finished))
        return 0;
    if (tell_host) {
        PyObject *kind = PyLong_FromLongLong(ABANDON), *id = PyLong_FromLongLong(call->id);
        PyObject *command = kind && id ? PyTuple_Pack(2, kind, id) : NULL;
        int failed = !command || add_command(command);
        Py_DecRef(kind);
        Py_DecRef(id);
        Py_DecRef(command);
        if (failed)
            return -1;
    }
    call->abandoned = true;
    hold(&call->waiters, NULL);
    return 0;
}

static PyObject *drop(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 2 || !is_promise(arguments[0], guest.call_type))
        return wrong_use("wanted: a call, and whether to tell the host");
    return drop_call((struct promise *)arguments[0], arguments[1] == guest.true_) ? NULL : new_none();
}

static PyObject *abandon(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    struct promise *call = (struct promise *)self;
    (void)arguments, (void)count;
    if (call->id > 0 && !call->done && drop_call(call, true))
        return NULL;
    Py_IncRef(guest.true_);
    return guest.true_;
}

static PyObject *batches(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 2)
        return wrong_use("wanted: the type of a batch, and that of its items");
    Py_IncRef(arguments[0]);
    Py_IncRef(arguments[1]);
    guest.batch_type = (PyTypeObject *)arguments[0];
    guest.item_type = (PyTypeObject *)arguments[1];
    return new_none();
}

static PyObject *finish(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self, (void)arguments, (void)count;
    guest.finished = true;
    tasks_stop();
    return new_none();
}

static PyObject *is_finished(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self, (void)arguments, (void)count;
    PyObject *answer = guest.finished ? guest.true_ : guest.false_;
    Py_IncRef(answer);
    return answer;
}

/* ---- definitions ---- */

/* A shape is (name, least and most as bytes, function, types): so many arguments by position fit; of others the function says,
 * when it is called. Types are those of `struct promise`, or None. */
static int check_call(PyObject *shape, PyObject *const *values, Py_ssize_t count, PyObject *keywords) {
    char *bytes;
    Py_ssize_t size;
    int32_t bounds[2];
    if (PyBytes_AsStringAndSize(PyTuple_GetItem(shape, 1), &bytes, &size) || size != sizeof bounds)
        return wrong_use("a shape has bounds") ? 0 : -1;
    memcpy(bounds, bytes, sizeof bounds);
    if (!keywords && count >= bounds[0] && count <= bounds[1])
        return 0;
    PyObject *done = PyObject_Vectorcall(PyTuple_GetItem(shape, 2), values, (size_t)count, keywords);
    Py_DecRef(done);
    return done ? 0 : -1;
}

static PyObject *tuple_of(PyObject *const *values, Py_ssize_t count) {
    PyObject *made = PyTuple_New(count);
    for (Py_ssize_t i = 0; made && i < count; i++) {
        Py_IncRef(values[i]);
        PyTuple_SetItem(made, i, values[i]);
    }
    return made;
}

/* The values that follow those by position, by their names. */
static PyObject *named_values(PyObject *names, PyObject *const *values) {
    PyObject *made = PyDict_New();
    for (Py_ssize_t i = 0; made && i < PyTuple_Size(names); i++) {
        if (PyDict_SetItem(made, PyTuple_GetItem(names, i), values[i])) {
            Py_DecRef(made);
            return NULL;
        }
    }
    return made;
}

/* Where the call stands, for the one that is never awaited. */
static void note_place(struct promise *call) {
    PyObject *frame = PyEval_GetFrame();
    if (frame) {
        call->code = PyFrame_GetCode(frame);
        call->place = PyFrame_GetLasti(frame);
    }
}

/* StepCall(name or shape, path or None, *arguments, **keywords) */
static PyObject *step_call_new(PyObject *type, PyObject *const *arguments, size_t flags, PyObject *keywords) {
    Py_ssize_t count = (Py_ssize_t)(flags & VECTORCALL_COUNT) - 2;
    (void)type;
    if (count < 0)
        return wrong_use("wanted: a name and a path");
    bool has_shape = arguments[0]->type == guest.tuple_type;
    if (keywords && !PyTuple_Size(keywords))
        keywords = NULL;
    if (has_shape && check_call(arguments[0], arguments + 2, count, keywords))
        return NULL;
    PyObject *made = PyType_GenericAlloc(guest.step_call_type, 0);
    struct promise *call = (struct promise *)made;
    if (!made)
        return NULL;
    call->arguments = tuple_of(arguments + 2, count);
    call->keywords = keywords ? named_values(keywords, arguments + 2 + count) : NULL;
    if (!call->arguments || (keywords && !call->keywords)) {
        Py_DecRef(made);
        return NULL;
    }
    hold(&call->name, has_shape ? PyTuple_GetItem(arguments[0], 0) : arguments[0]);
    if (has_shape && PyTuple_GetItem(arguments[0], 3) != guest.none)
        hold(&call->typed, PyTuple_GetItem(arguments[0], 3));
    if (arguments[1] != guest.none)
        hold(&call->path, arguments[1]);
    note_place(call);
    return made;
}

static PyObject *never_awaited(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self, (void)arguments, (void)count;
    PyObject *found = guest.never_awaited ? guest.never_awaited : guest.none;
    Py_IncRef(found);
    return found;
}

#define MEMBER(name, type, flags) {#name, type, offsetof(struct promise, name), flags, NULL}

static PyMemberDef call_members[] = {
    MEMBER(path, MEMBER_OBJECT, 0), MEMBER(kind, MEMBER_BYTE, 0), MEMBER(suspended, MEMBER_BOOL, 0),
    MEMBER(abandoned, MEMBER_BOOL, MEMBER_READONLY), {.name = NULL},
};
static PyMethodDef call_methods[] = {
    {"begin", begin, METH_FASTCALL, "begin(): ask the host"},
    {"abandon", abandon, METH_FASTCALL, "abandon(): the host is told that nobody waits for it"},
    {.name = NULL},
};
static PyMemberDef step_call_members[] = {
    MEMBER(name, MEMBER_OBJECT, MEMBER_READONLY), MEMBER(arguments, MEMBER_OBJECT, MEMBER_READONLY),
    MEMBER(typed, MEMBER_OBJECT, MEMBER_READONLY), {.name = NULL}};
static PyMethodDef functions[] = {
    {"put", put_command, METH_FASTCALL, "put(command): one that is no call"},
    {"drop", drop, METH_FASTCALL, "drop(call, tell_host): what comes of it is not wanted"},
    {"free_path", free_path, METH_FASTCALL, "free_path(name): the name, or with a number what was not used yet"},
    {"batches", batches, METH_FASTCALL, "batches(list type, dict type): these cross as what they derive from"},
    {"scope", scope, METH_FASTCALL, "scope(text or None): what paths begin with from here on; what they did before"},
    {"finish", finish, METH_FASTCALL, "finish(): the run has its last command"},
    {"never_awaited", never_awaited, METH_FASTCALL, "never_awaited(): (name, code, offset) of a step call that never began"},
    {"is_finished", is_finished, METH_FASTCALL, "is_finished(): whether it has"},
    {.name = NULL},
};

int calls_define(PyObject *module) {
    names.named = PyUnicode_InternFromString("named");
    names.rest = PyUnicode_InternFromString("rest");
    guest.open = PyDict_New();
    guest.paths = PyDict_New();
    guest.commands = PyList_New(0);
    guest.call_type =
        promise_type(module, &(struct promise_spec){"_cloche.Call", guest.lazy_type, call_methods, call_members, NULL});
    guest.step_call_type = promise_type(
        module, &(struct promise_spec){"_cloche.StepCall", guest.call_type, NULL, step_call_members, step_call_new});
    if (!guest.open || !guest.paths || !guest.commands || !guest.call_type || !guest.step_call_type)
        return -1;
    return PyModule_AddFunctions(module, functions) || PyModule_AddObjectRef(module, "open_calls", guest.open) ? -1 : 0;
}
