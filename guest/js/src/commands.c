/* Commands: what workflow code can ask for, each a function of the prelude's namespace.
 *
 * Those that answer promises are in asking.c.
 */
#include <math.h>
#include <string.h>

#include "guest.h"

enum { LOG = 4, ENTERED = 5, LEFT = 6, COMPLETE = 7, FAIL = 8, ABANDON = 9, PATCHED = 11, TAGS = 12, DEADLINE = 13, CONTINUE = 14 };
static const double TIME_MAX = 8640000000000000.0; /* the range of Date */

static int throw_text(const char *message) { return throw_type_error(message, strlen(message)); }

int command_begin(int size, int kind, uint8_t **mark) {
    if (TURN->fault)
        return -1;
    if (!guest.started)
        return throw_text("commands belong in the workflow function: the code around it runs before any run starts");
    if (guest.finished)
        return 0;
    if (TURN->writing)
        return throw_text("a getter asked for a command while its object was being passed");
    if (TURN->commands == EVENT_COMMANDS_MAX)
        return raise_fault(FAULT_COMMANDS);
    TURN->commands++;
    TURN->writing = true;
    *mark = TURN->at;
    return write_head(4, (uint64_t)size) || write_head(0, (uint64_t)kind) ? -1 : 1;
}

int command_end(uint8_t *mark, bool failed) {
    TURN->writing = false;
    if (failed && !TURN->fault) {
        TURN->at = mark;
        TURN->commands--;
    }
    return failed ? -1 : 0;
}

static JSValueConst argument(int argc, JSValueConst *argv, int index) { return index < argc ? argv[index] : JS_UNDEFINED; }

static JSValue abandon_call(struct call *call) {
    uint8_t *mark;
    int begun = command_begin(2, ABANDON, &mark);
    if (begun < 0 || (begun && command_end(mark, write_head(0, call->id))))
        return JS_EXCEPTION;
    call_forget(call);
    return JS_TRUE;
}

/* abandon(promise): whether an open call's result was abandoned. */
static JSValue abandon(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    struct call *call = argc && JS_IsPromise(argv[0]) ? calls_find_promise(argv[0]) : NULL;
    (void)ctx, (void)this_value;
    return call ? abandon_call(call) : JS_FALSE;
}

/* ---- reports ---- */

/* [kind, path or level, …] with what `write` adds. */
static JSValue entered(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    struct place root = ROOT("value");
    uint8_t *mark;
    (void)ctx, (void)this_value;
    int begun = command_begin(3, ENTERED, &mark);
    if (begun < 0 ||
        (begun && command_end(mark, write_string(argument(argc, argv, 0)) || write_value(argument(argc, argv, 1), 0, &root))))
        return JS_EXCEPTION;
    return JS_UNDEFINED;
}

static int write_outcome(int32_t which, JSValueConst value) {
    struct place root = ROOT("result");
    if (write_head(4, 2) || write_head(0, which != 0))
        return -1;
    return which ? write_failure(value, 1, NULL) : write_value(value, 1, &root);
}

/* left(path, [0, value]) or left(path, [1, error]) */
static JSValue left(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    JSValueConst outcome = argument(argc, argv, 1);
    JSValue which = JS_GetPropertyUint32(ctx, outcome, 0), value = JS_GetPropertyUint32(ctx, outcome, 1);
    uint8_t *mark;
    int32_t failed = 0;
    (void)this_value;
    int begun = JS_IsException(which) || JS_IsException(value) || JS_ToInt32(ctx, &failed, which) ? -1 : command_begin(3, LEFT, &mark);
    if (begun > 0)
        begun = command_end(mark, write_string(argument(argc, argv, 0)) || write_outcome(failed, value));
    JS_FreeValue(ctx, which);
    JS_FreeValue(ctx, value);
    return begun < 0 ? JS_EXCEPTION : JS_UNDEFINED;
}

/* log(level, text): dropped while the code is loaded, as there is no event yet to answer. */
static JSValue log_line(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    int32_t level;
    uint8_t *mark;
    (void)this_value;
    if (!guest.started || JS_ToInt32(ctx, &level, argument(argc, argv, 0)))
        return JS_UNDEFINED;
    int begun = command_begin(3, LOG, &mark);
    if (begun < 0 || (begun && command_end(mark, write_head(0, (uint64_t)level) || write_string(argument(argc, argv, 1)))))
        return JS_EXCEPTION;
    return JS_UNDEFINED;
}

/* mark(id): the run takes the way of this patch. */
static JSValue mark(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    uint8_t *mark;
    (void)ctx, (void)this_value;
    int begun = command_begin(2, PATCHED, &mark);
    if (begun < 0 || (begun && command_end(mark, write_string(argument(argc, argv, 0)))))
        return JS_EXCEPTION;
    return JS_UNDEFINED;
}

/* tags(values): merged into the run's. */
static JSValue tags(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    struct place root = ROOT("tags");
    uint8_t *mark;
    (void)ctx, (void)this_value;
    int begun = command_begin(2, TAGS, &mark);
    if (begun < 0 || (begun && command_end(mark, write_value(argument(argc, argv, 0), 0, &root))))
        return JS_EXCEPTION;
    return JS_UNDEFINED;
}

/* deadline(ms since 1970), deadline(undefined): when the run must have ended. */
static JSValue deadline(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    bool has_time = !JS_IsUndefined(argument(argc, argv, 0));
    double time = 0;
    uint8_t *mark;
    (void)this_value;
    if (has_time && JS_ToFloat64(ctx, &time, argv[0]))
        return JS_EXCEPTION;
    time = time > 0 ? ceil(time) : 0;
    int begun = command_begin(has_time ? 2 : 1, DEADLINE, &mark);
    if (begun < 0 || (begun && command_end(mark, has_time && write_int((int64_t)(time < TIME_MAX ? time : TIME_MAX)))))
        return JS_EXCEPTION;
    return JS_UNDEFINED;
}

/* goOn(input): this history ends, and the run goes on as its next one. The promise is never settled. */
static JSValue go_on(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    struct place root = ROOT("input");
    uint8_t *mark;
    (void)ctx, (void)this_value;
    int begun = command_begin(2, CONTINUE, &mark);
    if (begun > 0)
        begun = command_end(mark, write_value(argument(argc, argv, 0), 0, &root));
    if (begun < 0)
        return rejected();
    guest.finished = true;
    return pending_for_ever();
}

/* ---- the end of a run ---- */

int complete_run(JSValueConst result) {
    struct place root = ROOT("result");
    uint8_t *mark;
    int begun = command_begin(2, COMPLETE, &mark);
    if (begun > 0)
        begun = command_end(mark, write_value(JS_IsUndefined(result) ? JS_NULL : result, 0, &root));
    guest.finished |= begun == 0;
    return begun;
}

int fail_run(JSValueConst thrown) {
    uint8_t *mark;
    int begun = command_begin(2, FAIL, &mark);
    if (begun > 0)
        begun = command_end(mark, write_failure(thrown, 0, NULL));
    guest.finished |= begun == 0;
    return begun;
}

/* ---- for the prelude alone ---- */

/* listen(name, function): called as the event arrives, before anything else of it happens.
 *   suspended(path, whether)  the call there waits for outside data, or does no longer
 *   bailed(value)             gives what the call is rejected with
 *   bailValue(reason)         [value] if `bailed` made the reason, else undefined
 *   cancelRequested(reason)
 *   patches(known)            newer code replays an old history, which has these patches; undefined: it has caught up
 */
static JSValue listen(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    static const char *const names[] = {"suspended", "bailed", "bailValue", "cancelRequested", "patches"};
    JSValue *listeners[] = {&guest.on_suspended, &guest.on_bailed, &guest.bail_value, &guest.on_cancel_requested,
                            &guest.on_patches};
    const char *name = JS_ToCString(ctx, argument(argc, argv, 0));
    (void)this_value;
    for (int i = 0; name && i < 5; i++) {
        if (!strcmp(name, names[i]) && JS_IsFunction(ctx, argument(argc, argv, 1))) {
            JS_FreeValue(ctx, *listeners[i]);
            *listeners[i] = JS_DupValue(ctx, argv[1]);
            JS_FreeCString(ctx, name);
            return JS_UNDEFINED;
        }
    }
    JS_FreeCString(ctx, name);
    throw_text("listen takes the name of a listener and a function");
    return JS_EXCEPTION;
}

/* openCalls(): [id, path, id, path …] */
static JSValue open_calls(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)ctx, (void)this_value, (void)argc, (void)argv;
    return calls_list();
}

/* drop(id, tellHost): what comes of an open call is not wanted; the host is told so, or knows it from what follows. */
static JSValue drop(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    uint32_t id;
    (void)this_value;
    if (JS_ToUint32(ctx, &id, argument(argc, argv, 0)))
        return JS_EXCEPTION;
    struct call *call = calls_find(id);
    if (!call || call->abandoned)
        return JS_FALSE;
    if (JS_ToBool(ctx, argument(argc, argv, 1)))
        return abandon_call(call);
    call_forget(call);
    return JS_TRUE;
}

/* bigints(fromHex, toHex): arithmetic that the C interface of QuickJS does not offer. */
static JSValue bigints(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value;
    guest.bigint_from_hex = JS_DupValue(ctx, argument(argc, argv, 0));
    guest.bigint_to_hex = JS_DupValue(ctx, argument(argc, argv, 1));
    return JS_UNDEFINED;
}

/* instants(keep, kept): beside a Date, the text that it came as, where that says more. */
static JSValue instants(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value;
    guest.keep_instant = JS_DupValue(ctx, argument(argc, argv, 0));
    guest.kept_instant = JS_DupValue(ctx, argument(argc, argv, 1));
    return JS_UNDEFINED;
}

/* unhandled(function): called with the reason of each rejection that nobody has handled when an event is through. */
static JSValue unhandled(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value;
    guest.on_unhandled = JS_DupValue(ctx, argument(argc, argv, 0));
    return JS_UNDEFINED;
}

/* traces(get): the engine's own getter of `stack`, which says where an error was made whatever code has put in its place. */
static JSValue traces(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value;
    guest.trace_of = JS_DupValue(ctx, argument(argc, argv, 0));
    return JS_UNDEFINED;
}

/* bundles(isBundle, enter, pack, revive, reviveFailure, proxy): of code that holds several workflows.
 *   isBundle(exported)         whether the default export of a module is such code
 *   enter(exported, input, given)
 *   pack(value)                the entries of what has no form of its own, why it cannot cross (text), or undefined: as ever
 *   revive(object)             what an object with the key "~" stands for
 *   reviveFailure(error)       what a step that failed rejects with
 *   proxy(id, captured)        the function that stands for a step
 */
static JSValue bundles(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    JSValue *functions[] = {&guest.is_bundle_of, &guest.enter, &guest.pack, &guest.revive, &guest.revive_failure, &guest.proxy};
    (void)this_value;
    for (int i = 0; i < 6; i++)
        *functions[i] = JS_DupValue(ctx, argument(argc, argv, i));
    return JS_UNDEFINED;
}

/* evaluate(text): of a part of the prelude that is evaluated when it is first needed. */
static JSValue evaluate(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    size_t size;
    const char *text = JS_ToCStringLen(ctx, &size, argument(argc, argv, 0));
    (void)this_value;
    if (!text)
        return JS_EXCEPTION;
    JSValue value = JS_Eval(ctx, text, size, "prelude.js", JS_EVAL_FLAG_STRICT);
    JS_FreeCString(ctx, text);
    return value;
}

int commands_define(void) {
    static const JSCFunctionListEntry functions[] = {
        JS_CFUNC_DEF("abandon", 1, abandon),
        JS_CFUNC_DEF("entered", 2, entered),
        JS_CFUNC_DEF("left", 2, left),
        JS_CFUNC_DEF("log", 2, log_line),
        JS_CFUNC_DEF("mark", 1, mark),
        JS_CFUNC_DEF("tags", 1, tags),
        JS_CFUNC_DEF("deadline", 1, deadline),
        JS_CFUNC_DEF("goOn", 1, go_on),
        JS_CFUNC_DEF("listen", 2, listen),
        JS_CFUNC_DEF("openCalls", 0, open_calls),
        JS_CFUNC_DEF("drop", 2, drop),
        JS_CFUNC_DEF("bigints", 2, bigints),
        JS_CFUNC_DEF("instants", 2, instants),
        JS_CFUNC_DEF("unhandled", 1, unhandled),
        JS_CFUNC_DEF("traces", 1, traces),
        JS_CFUNC_DEF("bundles", 6, bundles),
        JS_CFUNC_DEF("evaluate", 1, evaluate),
    };
    return JS_SetPropertyFunctionList(guest.ctx, guest.namespace_object, functions, (int)(sizeof functions / sizeof *functions));
}
