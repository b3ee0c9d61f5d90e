/* The Python guest: what the files of its driver share.
 *
 * CPython's memory was laid out before the driver joined it, so the driver's data and the windows lie above it. State is the
 * memory from the state address on without what lies between the beginning of the input window and the end of the output
 * window; nothing that depends on how events were batched may be left in it, so a turn's scratch lies between the windows.
 *
 * Functions that return int answer 0, or -1 with a Python exception set; functions that return an object answer NULL then.
 * After a fault was raised an exception is set too: it ends what is going on, and the turn ends with the fault whether or
 * not somebody caught it.
 */
#ifndef CLOCHE_GUEST_H
#define CLOCHE_GUEST_H

#include "python.h"

/* ---- memory layout: the build gives INPUT_ADDRESS and STATE_ADDRESS ---- */

enum {
    GAP_BYTES = 4096, /* a NUL after a source that fills the window; the turn; the length of a load's failure */
    TURN_ADDRESS = INPUT_ADDRESS + (8 << 20) + 64,
    OUTPUT_ADDRESS = INPUT_ADDRESS + (8 << 20) + GAP_BYTES,
};

#include "wire.h"

/* ---- what lasts ---- */

struct guest {
    PyObject *none, *false_, *true_;
    PyTypeObject *float_type, *int_type, *text_type, *bytes_type, *list_type, *tuple_type, *dict_type;
    PyTypeObject *data_type, *encoded_type, *promise_type, *lazy_type, *task_type, *call_type, *step_call_type;
    PyTypeObject *batch_type, *item_type; /* of the prelude: a list and a dict, and written as such */
    PyObject *type_error, *attribute_error, *memory_error, *fault_error, *exception, *stop_iteration, *value_error;
    PyObject *main; /* the namespace in which scripts of the bake run */
    PyObject *deliver, *load, *report; /* held here, so that no code can put others in their place */
    PyObject *convert, *parse_time, *parse_zoned, *mend, *begin; /* given by world/, as those are */
    PyObject *suspend, *canceled, *not_ours;       /* likewise, of the prelude */
    PyObject *open;                                /* the calls that have no answer yet, by number */
    PyObject *paths;                               /* how often a name was used as a path */
    PyObject *scope;                               /* what paths begin with where the code is now, a text; or NULL */
    PyObject *commands;                            /* those of the event that is acted on */
    PyObject *never_awaited;                       /* (name, code, place) of the first step call that was dropped before it began */
    long long last_call;
    bool finished; /* the run has its last command */
    uint64_t random[4];
    int64_t now_ms;
    bool loaded, started;
};
extern struct guest guest; /* guest.c, with `raise_fault` and `throw_type_error` of wire.h */

/* ---- read.c ---- */

/* One event, checked. The clock is its time, and chance comes from its seed if it is a start. */
struct event {
    uint64_t call;   /* of a step that is completed, */
    PyObject *value; /* and its result: the event that is most often there */
    PyObject *parts; /* any other event as a list, `value` is NULL then */
};
/* What it has of objects belongs to the caller, also after a failure. */
int read_event(struct reader *r, struct event *event);
/* The next item; `depth` containers below the message are open. */
PyObject *read_value(struct reader *r, int depth);

/* ---- write.c ---- */

int write_value(PyObject *value, int depth, const struct place *place);
/* A command in the ABI's layout. */
int write_command(PyObject *command);
/* Writes a value after the output that is there; where it began, or NULL. The caller takes it back. */
uint8_t *write_apart(PyObject *value, const struct place *root, int depth);
/* Takes back what was written since `mark`, as an object that a command may contain; NULL for NULL. */
PyObject *encoded_from(uint8_t *mark);
/* The value as it crosses, as such an object. */
PyObject *encoded_value(PyObject *value, const char *label, int depth);

/* ---- durations.c ---- */

int durations_define(void);
bool is_duration(PyObject *o);
int write_duration(PyObject *value);
/* duration(text): the timedelta that it says; ValueError if it says none. */
PyObject *duration(PyObject *self, PyObject *const *arguments, Py_ssize_t count);

/* ---- types.c ---- */

int types_define(PyObject *module);
PyObject *data_new(void);
/* A copy of these bytes. */
PyObject *encoded_new(const uint8_t *bytes, size_t size);
/* Where its bytes are; false if `o` is no Encoded. */
bool encoded_bytes(PyObject *o, const char **bytes, size_t *size);
/* A TypeError, and NULL. */
PyObject *wrong_use(const char *text);
PyObject *new_none(void);

/* ---- promises.c ---- */

/* One layout for everything that is awaited. */
enum { OWN_MAX = 6 };
struct promise {
    PyObject head;
    bool done, abandoned, suspended; /* the last two of calls */
    uint8_t kind;                   /* of calls: that of their command */
    PyObject *value, *error;
    PyObject *waiters; /* NULL, one, or a list of them */
    union {
        struct {
            PyObject *coroutine, *on, *scope; /* of tasks: `on` is what is waited for, `scope` where it is while it waits */
        };
        struct {
            PyObject *path, *name, *arguments, *keywords, *typed; /* of calls, all but the first of steps: `typed` is [what */
            PyObject *code; /* reads its result, what writes its arguments] or NULL, `code` is whose call it is, */
        };
        PyObject *own[OWN_MAX];
    };
    int place; /* and this is where in it */
    long long id; /* of lazy ones: 0 until they have begun, then the number of the call, or -1 */
};

/* `begin` asks the host for a step call that is awaited for the first time. It is handed in, so that calls.c stands on this file
 * and not the other way round; other lazy promises begin by a method of theirs, which takes longer to find. */
int promises_define(PyObject *module, int (*begin)(struct promise *call));
/* A type with this layout, put into the module. Methods may be NULL; without `made_by` it can be a base of others. */
struct promise_spec {
    const char *name;
    PyTypeObject *base;
    PyMethodDef *methods;
    PyMemberDef *members;
    PyObject *(*made_by)(PyObject *type, PyObject *const *arguments, size_t count, PyObject *keywords);
};
PyTypeObject *promise_type(PyObject *module, const struct promise_spec *spec);
bool is_promise(PyObject *o, PyTypeObject *type);
/* `error` may be NULL. */
int promise_settle(struct promise *p, PyObject *value, PyObject *error);
/* Calls the method without arguments; NULL with an exception. */
PyObject *call_method(PyObject *o, PyObject *name);
/* Takes a reference to `value` into a slot. */
void hold(PyObject **slot, PyObject *value);
/* `land(promise)` of `_cloche`. */
PyObject *promise_land(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
/* Runs who is awake until nobody is. */
int tasks_run(void);
/* Nobody is awake any more. */
void tasks_stop(void);

/* ---- calls.c ---- */

enum command_kind { STEP = 0, ABANDON = 9 };

int calls_define(PyObject *module);
int call_begin(struct promise *call);
/* A step is completed: whoever waits for it is awake. */
int call_completed(uint64_t id, PyObject *value);

/* ---- module.c ---- */

/* Makes the module `_cloche` with its types and functions. */
int module_define(void);

#endif
