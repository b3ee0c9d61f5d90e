/* The guest's exports: layout, load and turn; for the time of baking `_initialize` and `prelude`. */
#include <string.h>

#include "guest.h"

#define EXPORT(name) __attribute__((export_name("cloche_" #name))) cloche_##name

static void begin_turn(void) {
    *TURN = (struct turn){.at = OUTPUT_WINDOW, .limit = OUTPUT_WINDOW + EVENT_OUTPUT_MAX};
}

static uint32_t waiting(void) { return (uint32_t)(TURN->at - OUTPUT_WINDOW); }

/* Leaves the failure `report` makes of the pending exception in the output window; the answer is `code`, or a worse one. */
static int report(enum fault code) {
    if (TURN->fault)
        return TURN->fault;
    PyObject *error = PyErr_GetRaisedException();
    if (error && PyErr_GivenExceptionMatches(error, guest.memory_error))
        return FAULT_MEMORY;
    begin_turn();
    const struct place root = ROOT("failure");
    PyObject *failure = PyObject_CallOneArg(guest.report, error);
    TURN->writing = true; /* its data may be encoded already */
    if (!failure || write_value(failure, 0, &root))
        return FAULT_BROKEN;
    TURN->writing = false;
    Py_DecRef(error);
    Py_DecRef(failure);
    uint32_t size = waiting();
    memcpy(OUTPUT_WINDOW - 4, &size, 4);
    return code;
}

/* ---- a turn ---- */

static int write_commands(void) {
    Py_ssize_t count = PyList_Size(guest.commands);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *command = PyList_GetItemRef(guest.commands, i);
        int failed = command ? write_command(command) : -1;
        Py_DecRef(command);
        if (failed)
            return -1;
    }
    return PyList_SetSlice(guest.commands, 0, count, NULL);
}

/* Chance of the standard library follows the seed that the event brought. */
static int begin_run(PyObject *event) {
    PyObject *seed = PyList_GetItemRef(event, 2), *done = seed ? PyObject_CallOneArg(guest.begin, seed) : NULL;
    Py_DecRef(seed);
    Py_DecRef(done);
    return done ? 0 : -1;
}

/* The prelude acts on all events but that of a step that is completed. */
static int handle(PyObject *event, bool is_first) {
    if (is_first && guest.started && begin_run(event))
        return -1;
    PyObject *done = PyObject_CallOneArg(guest.deliver, event);
    Py_DecRef(done);
    return done ? 0 : -1;
}

static int deliver(struct reader *r) {
    bool is_first = !guest.started;
    struct event event;
    int failed = read_event(r, &event);
    if (!failed)
        failed = event.value ? call_completed(event.call, event.value) : handle(event.parts, is_first);
    Py_DecRef(event.value);
    Py_DecRef(event.parts);
    failed = failed || TURN->fault || tasks_run() || TURN->fault || write_commands();
    return failed || TURN->fault ? report(FAULT_BROKEN) : 0;
}

int64_t EXPORT(turn)(uint32_t size) {
    struct reader r = {INPUT_WINDOW, INPUT_WINDOW + size};
    if (size > WINDOW_BYTES)
        return FAULT_INPUT;
    if (!guest.loaded)
        return FAULT_NOT_LOADED;
    begin_turn();
    while (r.at < r.end && waiting() <= OUTPUT_WAITING_MAX) {
        TURN->commands = 0;
        TURN->limit = TURN->at + EVENT_OUTPUT_MAX - 1; /* one byte for the null that closes the event */
        int fault = deliver(&r);
        if (fault)
            return fault;
        *TURN->at++ = 0xf6;
    }
    return (int64_t)(r.at - INPUT_WINDOW) << 32 | waiting();
}

/* ---- loading ---- */

static PyObject *source_text(uint32_t size) {
    static const char not_text[] = "the code is not UTF-8", again[] = "a workflow is loaded already";
    if (guest.loaded)
        throw_type_error(again, sizeof again - 1);
    else if (!text_is_utf8(INPUT_WINDOW, size))
        throw_type_error(not_text, sizeof not_text - 1);
    else
        return PyUnicode_FromStringAndSize((const char *)INPUT_WINDOW, (Py_ssize_t)size);
    return NULL;
}

int32_t EXPORT(load)(uint32_t size) {
    if (size > WINDOW_BYTES)
        return FAULT_INPUT;
    begin_turn();
    PyObject *source = source_text(size), *done = source ? PyObject_CallOneArg(guest.load, source) : NULL;
    Py_DecRef(source);
    if (!done || TURN->fault)
        return report(FAULT_SOURCE);
    Py_DecRef(done);
    guest.loaded = true;
    return 0;
}

uint32_t EXPORT(layout)(void) {
    static const uint32_t words[7] = {
        ABI_VERSION, INPUT_ADDRESS, WINDOW_BYTES, OUTPUT_ADDRESS, WINDOW_BYTES, STATE_ADDRESS, EVENT_OUTPUT_MAX};
    return (uint32_t)(uintptr_t)words;
}

/* ---- baking: these run before the memory is written back into the module, and are exported no longer ---- */

static PyTypeObject *type_of(PyObject *sample) {
    PyTypeObject *type = sample->type;
    Py_DecRef(sample);
    return type;
}

static void learn_types(void) {
    guest.none = Py_GetConstantBorrowed(CONSTANT_NONE);
    guest.false_ = Py_GetConstantBorrowed(CONSTANT_FALSE);
    guest.true_ = Py_GetConstantBorrowed(CONSTANT_TRUE);
    guest.float_type = type_of(PyFloat_FromDouble(0.5));
    guest.int_type = type_of(PyLong_FromLongLong(1));
    guest.text_type = type_of(PyUnicode_FromStringAndSize("a", 1));
    guest.bytes_type = type_of(PyBytes_FromStringAndSize("a", 1));
    guest.list_type = type_of(PyList_New(0));
    guest.tuple_type = type_of(PyTuple_Pack(1, guest.none));
    guest.dict_type = type_of(PyDict_New());
}

void EXPORT(_initialize)(void) {
    begin_turn();
    PyGILState_Ensure();
    learn_types();
    PyObject *builtins = PyImport_ImportModule("builtins"), *main = PyImport_AddModuleRef("__main__");
    guest.type_error = PyObject_GetAttrString(builtins, "TypeError");
    guest.value_error = PyObject_GetAttrString(builtins, "ValueError");
    guest.attribute_error = PyObject_GetAttrString(builtins, "AttributeError");
    guest.memory_error = PyObject_GetAttrString(builtins, "MemoryError");
    guest.fault_error = PyObject_GetAttrString(builtins, "SystemError");
    guest.exception = PyObject_GetAttrString(builtins, "Exception");
    guest.stop_iteration = PyObject_GetAttrString(builtins, "StopIteration");
    guest.main = main ? PyModule_GetDict(main) : NULL;
    chance_seed(guest.random, (const uint8_t[16]){0});
    if (!guest.main || module_define())
        __builtin_trap();
}

/* Runs `size` bytes of source: 0, or -1 with the error's text in the output window and its length before it. */
int32_t EXPORT(prelude)(uint32_t size) {
    begin_turn();
    INPUT_WINDOW[size] = 0;
    PyObject *done = PyRun_StringFlags((const char *)INPUT_WINDOW, PY_FILE_INPUT, guest.main, guest.main, NULL);
    if (done) {
        Py_DecRef(done);
        return 0;
    }
    PyObject *error = PyErr_GetRaisedException(), *text = PyObject_Repr(error);
    Py_ssize_t length = 0;
    const char *bytes = text ? PyUnicode_AsUTF8AndSize(text, &length) : NULL;
    uint32_t written = bytes ? (uint32_t)length : 0;
    memcpy(OUTPUT_WINDOW, bytes, written);
    memcpy(OUTPUT_WINDOW - 4, &written, 4);
    return -1;
}
