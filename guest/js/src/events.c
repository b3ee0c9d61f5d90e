/* Events: each is read whole, delivered, and its microtasks are run before the next. */
#include "guest.h"

/* How many items an event has at least, and how many of them are read, by kind: what follows is skipped. */
static const struct {
    uint8_t least, read;
} sizes[EVENT_KINDS] = {
    [START] = {5, 5},   [COMPLETED] = {4, 5},   [FAILED] = {4, 4},           [SUSPENDED] = {4, 5}, [FIRED] = {3, 3},
    [RECEIVED] = {4, 4}, [CHILD_ENDED] = {4, 4}, [CANCEL_REQUESTED] = {2, 3}, [RESUMED] = {4, 4},   [BAILED] = {4, 5},
    [UPGRADED] = {3, 3}, [REPLAYING] = {3, 3},   [HOOK_FAILED] = {4, 4},
};

static void free_value(JSValue value) { JS_FreeValue(guest.ctx, value); }

static void complete_or_fail(JSValueConst result) {
    rejections_tell_now();
    if (complete_run(result) < 0 && !TURN->fault) {
        JSValue refusal = JS_GetException(guest.ctx); /* the result cannot cross: that is how the run fails */
        fail_run(refusal);
        free_value(refusal);
    }
}

static JSValue on_fulfilled(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)ctx, (void)this_value;
    if (argc)
        complete_or_fail(argv[0]);
    return TURN->fault ? JS_EXCEPTION : JS_UNDEFINED;
}

/* A step that bailed in no nested workflow has ended the run, well. */
static JSValue on_rejected(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value;
    if (!argc)
        return JS_UNDEFINED;
    rejections_tell_now();
    JSValue bailed = JS_Call(ctx, guest.bail_value, JS_UNDEFINED, 1, argv);
    if (JS_IsArray(bailed)) {
        JSValue value = JS_GetPropertyUint32(ctx, bailed, 0);
        complete_or_fail(value);
        free_value(value);
    } else if (!TURN->fault) {
        fail_run(argv[0]);
    }
    free_value(bailed);
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
    JSValueConst arguments[3] = {guest.workflow, input, given};
    JSValue result = guest.is_bundle ? JS_Call(guest.ctx, guest.enter, JS_UNDEFINED, 3, arguments)
                                     : JS_Call(guest.ctx, guest.workflow, JS_UNDEFINED, 2, arguments + 1);
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

/* The object under `name`, which is made if there is none. */
static JSValue given_object(JSValueConst given, const char *name) {
    JSValue found = JS_GetPropertyStr(guest.ctx, given, name);
    if (JS_IsObject(found))
        return found;
    free_value(found);
    JSValue made = JS_NewObject(guest.ctx);
    JS_DefinePropertyValueStr(guest.ctx, given, name, JS_DupValue(guest.ctx, made), JS_PROP_C_W_E);
    return made;
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
    guest.state = given_object(given, "state");
    free_value(given_object(given, "context"));
    chance_seed(guest.random, seed);
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

static void mark_suspended(struct call *call, bool whether) {
    if (call->abandoned || call->suspended == whether)
        return;
    call->suspended = whether;
    JSValueConst arguments[2] = {call_path(call), JS_NewBool(guest.ctx, whether)};
    notify(guest.on_suspended, 2, arguments); /* may abandon the call, so its path is held */
    free_value(arguments[0]);
}

/* Closes the call and settles its promise with `value`, which it takes. Abandoned, or after the end: no code learns of it. */
static int settle(struct call *call, bool failed, JSValue value) {
    if (JS_IsException(value))
        return -1;
    uint32_t id = call->id;
    mark_suspended(call, false);
    struct call taken = calls_take(calls_find(id)); /* found again: the table may have grown */
    if (!taken.abandoned && !guest.finished)
        free_value(JS_Call(guest.ctx, failed ? taken.reject : taken.resolve, JS_UNDEFINED, 1, &value));
    call_free(&taken);
    free_value(value);
    return 0;
}

/* The changes of state that close an event are there before any code learns of it. */
static int merge_state(struct reader *r) {
    if (!read_into(r, guest.state))
        return 0;
    if (!TURN->fault)
        raise_fault(FAULT_INPUT);
    return -1;
}

static int completed(struct reader *r, bool with_state) {
    struct call *call = named_call(r, CALL_STEP);
    if (!call)
        return -1;
    JSValue value = read_value(r, 0);
    if (!JS_IsException(value) && with_state && merge_state(r)) {
        free_value(value);
        return -1;
    }
    return settle(call, false, value);
}

static int bailed(struct reader *r, bool with_state) {
    struct call *call = named_call(r, CALL_STEP);
    if (!call)
        return -1;
    JSValue value = read_value(r, 0), reason;
    if (JS_IsException(value))
        return -1;
    if (with_state && merge_state(r)) {
        free_value(value);
        return -1;
    }
    reason = JS_Call(guest.ctx, guest.on_bailed, JS_UNDEFINED, 1, &value);
    free_value(value);
    return settle(call, true, reason);
}

/* Whether a step waits for outside data; nothing is settled. `info` is for people and for the host. */
static int suspended(struct reader *r, bool whether, bool with_state) {
    struct call *call = named_call(r, CALL_STEP);
    if (!call)
        return -1;
    JSValue info = read_values(r);
    if (JS_IsException(info))
        return -1;
    free_value(info);
    if (with_state && merge_state(r))
        return -1;
    mark_suspended(call, whether);
    return 0;
}

static int fired(struct reader *r) {
    struct call *call = named_call(r, CALL_TIMER);
    return call ? settle(call, false, JS_DupValue(guest.ctx, call->value)) : -1;
}

static int child_ended(struct reader *r) {
    struct call *call = named_call(r, CALL_CHILD);
    bool failed = false;
    if (!call)
        return -1;
    JSValue value = read_outcome(r, &failed);
    return settle(call, failed, value);
}

/* What a step of a bundle rejects with, made of the failure as it came; takes `error`. */
static JSValue revived_failure(JSValue error) {
    if (JS_IsException(error))
        return error;
    JSValue revived = JS_Call(guest.ctx, guest.revive_failure, JS_UNDEFINED, 1, &error);
    if (!JS_IsException(revived)) {
        free_value(error);
        return revived;
    }
    if (TURN->fault) {
        free_value(error);
        return revived;
    }
    free_value(JS_GetException(guest.ctx));
    return error;
}

static int answered(struct reader *r, enum call_kind kind, bool failed) {
    struct call *call = named_call(r, kind);
    if (!call)
        return -1;
    JSValue value = failed ? read_failure(r, 0) : read_value(r, 0);
    return settle(call, failed, failed && kind == CALL_STEP && guest.is_bundle ? revived_failure(value) : value);
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

/* Code that is newer than the run replays its history (the patches that it has), or has caught up (undefined). */
static int tell_patches(JSValue known) {
    if (JS_IsException(known))
        return -1;
    notify(guest.on_patches, 1, &known);
    free_value(known);
    return 0;
}

static int replaying(struct reader *r) {
    JSValue known = read_value(r, 0);
    return JS_IsException(known) || JS_IsArray(known) ? tell_patches(known) : raise_fault(FAULT_INPUT);
}

static int upgraded(struct reader *r) {
    JSValue info = read_values(r); /* for the record and for the host */
    if (JS_IsException(info))
        return -1;
    free_value(info);
    return tell_patches(JS_UNDEFINED);
}

static int dispatch(struct reader *r, uint64_t kind, bool full) {
    switch ((enum event_kind)kind) {
    case START: return start(r);
    case COMPLETED: return completed(r, full);
    case FAILED: return answered(r, CALL_STEP, true);
    case SUSPENDED: return suspended(r, true, full);
    case FIRED: return fired(r);
    case RECEIVED: return answered(r, CALL_HOOK, false);
    case CHILD_ENDED: return child_ended(r);
    case CANCEL_REQUESTED: return cancel_requested(r, full);
    case RESUMED: return suspended(r, false, false);
    case BAILED: return bailed(r, full);
    case UPGRADED: return upgraded(r);
    case REPLAYING: return replaying(r);
    case HOOK_FAILED: return answered(r, CALL_HOOK, true);
    }
    return raise_fault(FAULT_INPUT);
}

int deliver(struct reader *r) {
    uint64_t count, kind;
    if (read_array(r, &count) || read_uint(r, &kind))
        return TURN->fault;
    if (kind >= EVENT_KINDS || !sizes[kind].least || count < sizes[kind].least ||
        guest.started == (kind == START || kind == REPLAYING))
        return raise_fault(FAULT_INPUT), TURN->fault;
    int64_t now;
    if (read_time(r, &now))
        return TURN->fault;
    guest.now_ms = (double)now;
    uint64_t unknown = count > sizes[kind].read ? count - sizes[kind].read : 0;
    if (!dispatch(r, kind, count >= sizes[kind].read) && !skip_items(r, unknown, 0))
        drain_microtasks();
    rejections_tell();
    return TURN->fault;
}
