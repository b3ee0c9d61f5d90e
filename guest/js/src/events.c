/* Events: each is read whole, delivered, and its microtasks are run before the next. */
#include "guest.h"

enum event_kind { START, COMPLETED, FAILED, SUSPENDED, FIRED, RECEIVED, CHILD_ENDED, CANCEL_REQUESTED, OPERATION_ENDED };

/* How many items an event has at least and at most, by kind. */
static const struct {
    uint8_t least, most;
} sizes[] = {
    [START] = {5, 5},       [COMPLETED] = {4, 5}, [FAILED] = {4, 4},      [SUSPENDED] = {4, 4},        [FIRED] = {3, 3},
    [RECEIVED] = {4, 4},    [CHILD_ENDED] = {4, 4}, [CANCEL_REQUESTED] = {2, 3}, [OPERATION_ENDED] = {4, 4},
};

static void free_value(JSValue value) { JS_FreeValue(guest.ctx, value); }

static JSValue on_fulfilled(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value;
    if (argc && complete_run(argv[0]) < 0 && !TURN->fault) {
        JSValue refusal = JS_GetException(ctx); /* the result cannot cross: that is how the run fails */
        fail_run(refusal);
        free_value(refusal);
    }
    return TURN->fault ? JS_EXCEPTION : JS_UNDEFINED;
}

static JSValue on_rejected(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)ctx, (void)this_value;
    if (argc)
        fail_run(argv[0]);
    return TURN->fault ? JS_EXCEPTION : JS_UNDEFINED;
}

/* A promise for whatever the workflow function gave back; takes `result`. */
static JSValue as_promise(JSValue result) {
    JSValue functions[2], promise;
    if (JS_IsPromise(result))
        return result;
    promise = JS_NewPromiseCapability(guest.ctx, functions);
    if (!JS_IsException(promise)) {
        free_value(JS_Call(guest.ctx, functions[0], JS_UNDEFINED, 1, &result));
        free_value(functions[0]);
        free_value(functions[1]);
    }
    free_value(result);
    return promise;
}

static void follow(JSValue result) {
    JSValue promise = as_promise(result);
    JSValue fulfilled = JS_NewCFunction(guest.ctx, on_fulfilled, "", 1);
    JSValue failed = JS_NewCFunction(guest.ctx, on_rejected, "", 1);
    free_value(JS_PromiseThen(guest.ctx, promise, fulfilled, failed));
    free_value(fulfilled);
    free_value(failed);
    free_value(promise);
}

static void begin_run(JSValueConst input, JSValueConst given) {
    JSValueConst arguments[2] = {input, given};
    JSValue result = JS_Call(guest.ctx, guest.workflow, JS_UNDEFINED, 2, arguments);
    if (!JS_IsException(result)) {
        follow(result);
    } else if (!TURN->fault) {
        JSValue thrown = JS_GetException(guest.ctx);
        fail_run(thrown);
        free_value(thrown);
    }
}

static JSValue read_values(struct reader *r) {
    if (r->at < r->end && *r->at >> 5 != 5) {
        raise_fault(FAULT_INPUT);
        return JS_EXCEPTION;
    }
    return read_value(r, 0);
}

static int start(struct reader *r) {
    const uint8_t *seed;
    size_t size;
    JSValue input, given;
    if (guest.started || read_bytes(r, &seed, &size) || size != 16)
        return raise_fault(FAULT_INPUT);
    input = read_value(r, 0);
    if (JS_IsException(input))
        return -1;
    given = read_values(r);
    if (JS_IsException(given))
        return -1;
    guest.started = true;
    random_seed(seed);
    begin_run(input, given);
    free_value(input);
    free_value(given);
    return 0;
}

static void notify(JSValueConst listener, int argc, JSValueConst *argv) {
    if (guest.finished || JS_IsUndefined(listener))
        return;
    JSValue ignored = JS_Call(guest.ctx, listener, JS_UNDEFINED, argc, argv);
    if (JS_IsException(ignored) && !TURN->fault)
        free_value(JS_GetException(guest.ctx));
    free_value(ignored);
}

/* The call an event names; of another kind, settled before or never made, it is a fault. */
static struct call *named_call(struct reader *r, enum call_kind kind) {
    uint64_t id;
    if (read_uint(r, &id))
        return NULL;
    struct call *call = calls_find(id);
    if (!call || call->kind != kind) {
        raise_fault(FAULT_CALL);
        return NULL;
    }
    return call;
}

/* Closes the call and settles its promise with `value`, which it takes. Abandoned, or after the end: no one hears it. */
static int settle(struct call *call, bool failed, JSValue value) {
    if (JS_IsException(value))
        return -1;
    struct call taken = calls_take(call);
    if (!taken.abandoned && !guest.finished)
        free_value(JS_Call(guest.ctx, failed ? taken.reject : taken.resolve, JS_UNDEFINED, 1, &value));
    call_free(&taken);
    free_value(value);
    return 0;
}

static int completed(struct reader *r, bool with_state) {
    struct call *call = named_call(r, CALL_STEP);
    if (!call)
        return -1;
    JSValue value = read_value(r, 0);
    if (JS_IsException(value))
        return -1;
    if (with_state) {
        JSValue changes = read_values(r);
        if (JS_IsException(changes))
            return -1;
        notify(guest.on_state, 1, &changes);
        free_value(changes);
    }
    return settle(call, false, value);
}

static int suspended(struct reader *r) {
    struct call *call = named_call(r, CALL_STEP);
    if (!call)
        return -1;
    JSValue info = read_values(r);
    if (JS_IsException(info))
        return -1;
    if (!call->abandoned) {
        JSValueConst arguments[2] = {JS_DupValue(guest.ctx, call->promise), info};
        notify(guest.on_suspended, 2, arguments); /* may abandon the call, so the promise is held */
        free_value(arguments[0]);
    }
    free_value(info);
    return 0;
}

static int fired(struct reader *r) {
    struct call *call = named_call(r, CALL_TIMER);
    return call ? settle(call, false, JS_DupValue(guest.ctx, call->value)) : -1;
}

static int ended(struct reader *r, enum call_kind kind) {
    struct call *call = named_call(r, kind);
    bool failed = false;
    if (!call)
        return -1;
    JSValue value = read_outcome(r, &failed);
    return settle(call, failed, value);
}

static int answered(struct reader *r, enum call_kind kind, bool failed) {
    struct call *call = named_call(r, kind);
    return call ? settle(call, failed, failed ? read_failure(r, 0) : read_value(r, 0)) : -1;
}

static int cancel_requested(struct reader *r, bool with_reason) {
    const char *text;
    size_t size;
    JSValue reason = JS_UNDEFINED;
    if (with_reason) {
        if (read_text(r, &text, &size))
            return -1;
        reason = JS_NewStringLen(guest.ctx, text, size);
    }
    notify(guest.on_cancel_requested, 1, &reason);
    free_value(reason);
    return 0;
}

static int dispatch(struct reader *r, uint64_t kind, bool full) {
    switch ((enum event_kind)kind) {
    case START: return start(r);
    case COMPLETED: return completed(r, full);
    case FAILED: return answered(r, CALL_STEP, true);
    case SUSPENDED: return suspended(r);
    case FIRED: return fired(r);
    case RECEIVED: return answered(r, CALL_HOOK, false);
    case CHILD_ENDED: return ended(r, CALL_CHILD);
    case CANCEL_REQUESTED: return cancel_requested(r, full);
    case OPERATION_ENDED: return ended(r, CALL_OPERATION);
    }
    return raise_fault(FAULT_INPUT);
}

int deliver(struct reader *r) {
    uint64_t count, kind;
    if (read_array(r, &count) || read_uint(r, &kind))
        return TURN->fault;
    if (kind > OPERATION_ENDED || count < sizes[kind].least || count > sizes[kind].most || guest.started == (kind == START))
        return raise_fault(FAULT_INPUT), TURN->fault;
    if (!read_time(r, &guest.now_ms) && !dispatch(r, kind, count == sizes[kind].most))
        drain_microtasks();
    return TURN->fault;
}
