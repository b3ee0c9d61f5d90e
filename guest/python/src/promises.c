/* Promises and tasks: `Promise`, `Lazy` and `Task` of `_cloche`.
 *
 * A workflow is a coroutine. What it awaits is a promise; a task is the promise of a coroutine. Wake-ups are counted as
 * ECMAScript counts microtasks (every await of a promise is one, also of a settled one, and a task runs at once up to its
 * first), because that decides the order of commands when several arms go on at the same event, and the order has to be that of
 * the JavaScript guest.
 *
 * What waits for a promise is a task, or an object of the prelude's with `on`, the promise it waits for, and `step()`.
 */
#include <string.h>

#include "guest.h"

static struct {
    PyObject **waiters;
    size_t at, count, room;
} awake; /* in the order of their turns; held */

static PyObject *landing; /* what a task is resumed from: its await gives the result now. Held by that task */
static struct {
    PyObject *begin, *abandon, *on, *step, *throw, *value;
} names;

static int (*begin_step_call)(struct promise *call); /* see promises_define */

void hold(PyObject **slot, PyObject *value) {
    PyObject *old = *slot;
    Py_IncRef(value);
    *slot = value;
    Py_DecRef(old);
}

PyObject *call_method(PyObject *o, PyObject *name) { return PyObject_VectorcallMethod(name, &o, 1, NULL); }

static int done_with(PyObject *result) {
    Py_DecRef(result);
    return result ? 0 : -1;
}

bool is_promise(PyObject *o, PyTypeObject *type) { return o->type == type || PyType_IsSubtype(o->type, type); }

/* ---- who is awake ---- */

/* Takes `waiter`. */
static int wake_up(PyObject *waiter) {
    if (guest.finished) {
        Py_DecRef(waiter);
        return 0;
    }
    if (awake.count == awake.room) {
        size_t room = awake.room ? 2 * awake.room : 16;
        PyObject **more = PyMem_Realloc(awake.waiters, room * sizeof *more);
        if (!more) {
            Py_DecRef(waiter);
            PyErr_NoMemory();
            return -1;
        }
        awake.waiters = more;
        awake.room = room;
    }
    awake.waiters[awake.count++] = waiter;
    return 0;
}

static int step(PyObject *waiter);

int tasks_run(void) {
    while (awake.at < awake.count) {
        PyObject *waiter = awake.waiters[awake.at++];
        int failed = step(waiter);
        Py_DecRef(waiter);
        if (failed || TURN->fault)
            return -1;
    }
    awake.at = awake.count = 0;
    return 0;
}

void tasks_stop(void) {
    while (awake.at < awake.count)
        Py_DecRef(awake.waiters[awake.at++]);
}

/* ---- promises ---- */

int promise_settle(struct promise *p, PyObject *value, PyObject *error) {
    if (p->done)
        return 0;
    p->done = true;
    hold(&p->value, value);
    hold(&p->error, error);
    PyObject *waiters = p->waiters;
    p->waiters = NULL;
    if (!waiters || waiters->type != guest.list_type)
        return waiters ? wake_up(waiters) : 0;
    int failed = 0;
    for (Py_ssize_t i = 0, count = PyList_Size(waiters); i < count && !failed; i++)
        failed = wake_up(PyList_GetItemRef(waiters, i));
    Py_DecRef(waiters);
    return failed;
}

static int wait_for(struct promise *p, PyObject *waiter) {
    if (waiter->type == guest.task_type)
        hold(&((struct promise *)waiter)->on, &p->head);
    else if (PyObject_SetAttr(waiter, names.on, &p->head))
        return -1;
    if (!p->done && p->waiters && p->waiters->type == guest.list_type)
        return PyList_Append(p->waiters, waiter);
    if (p->done) {
        Py_IncRef(waiter);
        return wake_up(waiter);
    }
    if (!p->waiters) {
        hold(&p->waiters, waiter);
        return 0;
    }
    PyObject *both = PyList_New(0);
    int failed = !both || PyList_Append(both, p->waiters) || PyList_Append(both, waiter);
    if (!failed)
        hold(&p->waiters, both);
    Py_DecRef(both);
    return failed ? -1 : 0;
}

static int forget(struct promise *p, PyObject *waiter) {
    PyObject *waiters = p->waiters;
    if (waiters == waiter)
        hold(&p->waiters, NULL);
    if (!p->waiters || waiters->type != guest.list_type)
        return 0;
    for (Py_ssize_t i = PyList_Size(waiters); i--;) {
        PyObject *one = PyList_GetItemRef(waiters, i);
        int failed = one == waiter && PyList_SetSlice(waiters, i, i + 1, NULL);
        Py_DecRef(one);
        if (failed)
            return -1;
    }
    if (!PyList_Size(waiters))
        hold(&p->waiters, NULL);
    return 0;
}

static int begin(PyObject *lazy) {
    return lazy->type == guest.step_call_type ? begin_step_call((struct promise *)lazy) : done_with(call_method(lazy, names.begin));
}

/* A promise is its own iterator: `await` gets the promise to wait for, and when its task is resumed from that, its value. */
static PyObject *promise_next(PyObject *self) {
    struct promise *p = (struct promise *)self;
    if (landing == self) {
        landing = NULL;
        if (p->value && p->value != guest.none) /* an iterator that ends without an exception gives None */
            _PyGen_SetStopIterationValue(p->value);
        return NULL;
    }
    if (!p->id && is_promise(self, guest.lazy_type) && begin(self))
        return NULL;
    Py_IncRef(self);
    return self;
}

static PyObject *promise_await(PyObject *self) {
    Py_IncRef(self);
    return self;
}

static PyObject *settle(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    if (count < 1 || count > 2)
        return wrong_use("wanted: a value, and perhaps an error");
    PyObject *error = count == 2 && arguments[1] != guest.none ? arguments[1] : NULL;
    return promise_settle((struct promise *)self, arguments[0], error) ? NULL : new_none();
}

/* For who drives a coroutine by hand: what it waited for is settled, and its await gives the value at the next `send`. */
PyObject *promise_land(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 1 || !is_promise(arguments[0], guest.promise_type) || !((struct promise *)arguments[0])->done)
        return wrong_use("wanted: a settled promise");
    landing = arguments[0];
    return new_none();
}

static PyObject *wake(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 1)
        return wrong_use("wanted: what has `on` and `step()`");
    return wait_for((struct promise *)self, arguments[0]) ? NULL : new_none();
}

static PyObject *truth(bool value) {
    PyObject *made = value ? guest.true_ : guest.false_;
    Py_IncRef(made);
    return made;
}

static PyObject *abandon(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self, (void)arguments, (void)count;
    return truth(true);
}

static int promise_traverse(PyObject *self, visitproc visit, void *with) {
    struct promise *p = (struct promise *)self;
    PyObject *held[] = {(PyObject *)self->type, p->value, p->error, p->waiters};
    int stop = 0;
    for (size_t i = 0; !stop && i < sizeof held / sizeof *held; i++)
        stop = held[i] ? visit(held[i], with) : 0;
    for (size_t i = 0; !stop && i < OWN_MAX; i++)
        stop = p->own[i] ? visit(p->own[i], with) : 0;
    return stop;
}

static int promise_clear(PyObject *self) {
    struct promise *p = (struct promise *)self;
    hold(&p->value, NULL);
    hold(&p->error, NULL);
    hold(&p->waiters, NULL);
    for (int i = 0; i < OWN_MAX; i++)
        if (p->own[i])
            hold(&p->own[i], NULL);
    return 0;
}

static void promise_free(PyObject *self) {
    PyObject *type = (PyObject *)self->type;
    struct promise *p = (struct promise *)self;
    PyObject_GC_UnTrack(self);
    /* Dropped without being awaited, and not because an exception passes. */
    if (!p->id && self->type == guest.step_call_type && !guest.never_awaited && p->code && !PyErr_Occurred())
        guest.never_awaited = PyTuple_Pack(3, p->name, p->code, PyLong_FromLongLong(p->place));
    promise_clear(self);
    PyObject_GC_Del(self);
    Py_DecRef(type);
}

/* ---- tasks ---- */

static int went(struct promise *task, int how, PyObject *result);

/* A task is in the scope that it entered while it runs, and whoever ran before it in that of its own. */
static void exchange_scope(struct promise *task) {
    PyObject *scope = guest.scope;
    guest.scope = task->scope;
    task->scope = scope;
}

/* Goes on, at the beginning or after what was waited for. */
static int go_on(struct promise *task) {
    PyObject *on = task->on, *result = NULL;
    Py_IncRef(on);
    landing = on;
    exchange_scope(task);
    int how = PyIter_Send(task->coroutine, guest.none, &result);
    exchange_scope(task);
    landing = NULL;
    Py_DecRef(on);
    return went(task, how, result);
}

/* As PyIter_Send does it, with an exception. */
static int thrown(struct promise *task, PyObject *error, PyObject **result) {
    PyObject *arguments[] = {task->coroutine, error};
    exchange_scope(task);
    *result = PyObject_VectorcallMethod(names.throw, arguments, 2, NULL);
    exchange_scope(task);
    if (*result)
        return SENT_NEXT;
    PyObject *raised = PyErr_GetRaisedException();
    if (!PyErr_GivenExceptionMatches(raised, guest.stop_iteration)) {
        PyErr_SetRaisedException(raised);
        return SENT_ERROR;
    }
    *result = PyObject_GetAttr(raised, names.value);
    Py_DecRef(raised);
    return *result ? SENT_RETURN : SENT_ERROR;
}

static int throw_into(struct promise *task, PyObject *error) {
    PyObject *result;
    Py_IncRef(error); /* the promise it comes from may go meanwhile */
    int how = thrown(task, error, &result);
    Py_DecRef(error);
    return went(task, how, result);
}

/* No workflow may go on after a lack of memory, or a fault. */
static int ended_by_error(struct promise *task) {
    PyObject *error = PyErr_GetRaisedException();
    if (TURN->fault || PyErr_GivenExceptionMatches(error, guest.memory_error)) {
        PyErr_SetRaisedException(error);
        return -1;
    }
    int failed = promise_settle(task, NULL, error);
    Py_DecRef(error);
    return failed;
}

/* What the coroutine of a task did: it waits, or has ended. Takes `result`. */
static int went(struct promise *task, int how, PyObject *result) {
    while (how == SENT_NEXT && !is_promise(result, guest.promise_type)) {
        PyObject *answer = PyObject_CallOneArg(guest.not_ours, result); /* what to wait for in its place, or an error */
        Py_DecRef(result);
        if (!answer)
            return -1;
        result = answer;
        if (is_promise(answer, guest.promise_type))
            break;
        how = thrown(task, answer, &result);
        Py_DecRef(answer);
    }
    int failed;
    if (how == SENT_NEXT) {
        failed = wait_for((struct promise *)result, &task->head);
    } else {
        hold(&task->on, NULL);
        failed = how == SENT_RETURN ? promise_settle(task, result, NULL) : ended_by_error(task);
    }
    Py_DecRef(result);
    return failed;
}

static int step(PyObject *waiter) {
    if (waiter->type != guest.task_type)
        return done_with(call_method(waiter, names.step));
    struct promise *task = (struct promise *)waiter, *on = (struct promise *)task->on;
    if (!on || !on->done) /* it was abandoned while it stood in the queue */
        return 0;
    return on->error ? throw_into(task, on->error) : go_on(task);
}

static PyObject *task_new(PyObject *type, PyObject *const *arguments, size_t count, PyObject *keywords) {
    (void)type;
    if ((count & VECTORCALL_COUNT) != 1 || keywords)
        return wrong_use("wanted: a coroutine");
    PyObject *made = PyType_GenericAlloc(guest.task_type, 0);
    if (!made)
        return NULL;
    struct promise *task = (struct promise *)made;
    hold(&task->coroutine, arguments[0]);
    hold(&task->scope, guest.scope); /* that of whoever begins it */
    if (!go_on(task))
        return made;
    Py_DecRef(made);
    return NULL;
}

/* Throws `Canceled` where it waits, after what it waits for was abandoned. */
static PyObject *task_abandon(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    struct promise *task = (struct promise *)self, *on = (struct promise *)task->on;
    (void)arguments, (void)count;
    if (task->done || !on)
        return truth(task->done);
    Py_IncRef(&on->head);
    int failed = forget(on, self) || (!on->waiters && done_with(call_method(&on->head, names.abandon)));
    Py_DecRef(&on->head);
    if (failed)
        return NULL;
    hold(&task->on, NULL);
    PyObject *error = PyObject_CallNoArgs(guest.canceled);
    failed = !error || throw_into(task, error);
    Py_DecRef(error);
    return failed ? NULL : truth(false);
}

/* ---- definitions ---- */

#define MEMBER(name, type, flags) {#name, type, offsetof(struct promise, name), flags, NULL}

static PyMemberDef promise_members[] = {
    MEMBER(done, MEMBER_BOOL, MEMBER_READONLY),      MEMBER(value, MEMBER_OBJECT, MEMBER_READONLY),
    MEMBER(error, MEMBER_OBJECT, MEMBER_READONLY), {.name = NULL},
};
static PyMethodDef promise_methods[] = {
    {"settle", settle, METH_FASTCALL, "settle(value, error=None): once; later ones change nothing"},
    {"wake", wake, METH_FASTCALL, "wake(waiter): have `waiter.step()` called in a turn of its own once this is settled"},
    {"abandon", abandon, METH_FASTCALL,
     "abandon(): nobody wants this any more. True if nothing will come of it; else it ends soon, after cleaning up"},
    {.name = NULL},
};
static PyObject *lazy_close(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    struct promise *p = (struct promise *)self;
    (void)arguments, (void)count;
    p->id = p->id ? p->id : -1;
    return new_none();
}

static PyMethodDef lazy_methods[] = {
    {"close", lazy_close, METH_FASTCALL, "close(): it is not wanted any more, and does not begin"},
    {.name = NULL},
};
static PyMemberDef lazy_members[] = {MEMBER(id, MEMBER_LONG, 0), {.name = NULL}};

static PyMemberDef task_members[] = {MEMBER(on, MEMBER_OBJECT, MEMBER_READONLY), {.name = NULL}};
static PyMethodDef task_methods[] = {
    {"abandon", task_abandon, METH_FASTCALL, "abandon(): throw Canceled where it waits, after what it waits for was abandoned"},
    {.name = NULL},
};

/* Every type says all that it could inherit: what is found in the type itself is found quickest. */
PyTypeObject *promise_type(PyObject *module, const struct promise_spec *spec) {
    PyType_Slot slots[9] = {
        {SLOT_DEALLOC, promise_free}, {SLOT_TRAVERSE, promise_traverse}, {SLOT_CLEAR, promise_clear},
        {SLOT_AWAIT, promise_await},  {SLOT_ITERNEXT, promise_next},     {SLOT_MEMBERS, spec->members},
    };
    PyType_Slot *next = slots + 6;
    if (spec->methods)
        *next++ = (PyType_Slot){SLOT_METHODS, spec->methods};
    if (spec->made_by)
        *next++ = (PyType_Slot){SLOT_VECTORCALL, spec->made_by};
    unsigned made = spec->made_by ? TYPE_DISALLOW_INSTANTIATION : TYPE_BASETYPE;
    PyType_Spec type_spec = {spec->name, sizeof(struct promise), 0, made | TYPE_HAVE_GC | TYPE_IMMUTABLE, slots};
    PyObject *bases = spec->base ? PyTuple_Pack(1, spec->base) : NULL;
    PyObject *type = PyType_FromSpecWithBases(&type_spec, bases);
    Py_DecRef(bases);
    return !type || PyModule_AddObjectRef(module, strrchr(spec->name, '.') + 1, type) ? NULL : (PyTypeObject *)type;
}

int promises_define(PyObject *module, int (*begin)(struct promise *call)) {
    begin_step_call = begin;
    names.begin = PyUnicode_InternFromString("begin");
    names.abandon = PyUnicode_InternFromString("abandon");
    names.on = PyUnicode_InternFromString("on");
    names.step = PyUnicode_InternFromString("step");
    names.throw = PyUnicode_InternFromString("throw");
    names.value = PyUnicode_InternFromString("value");
    guest.promise_type = promise_type(
        module, &(struct promise_spec){"_cloche.Promise", NULL, promise_methods, promise_members, NULL});
    guest.lazy_type =
        promise_type(module, &(struct promise_spec){"_cloche.Lazy", guest.promise_type, lazy_methods, lazy_members, NULL});
    guest.task_type = promise_type(
        module, &(struct promise_spec){"_cloche.Task", guest.promise_type, task_methods, task_members, task_new});
    return guest.promise_type && guest.lazy_type && guest.task_type ? 0 : -1;
}
