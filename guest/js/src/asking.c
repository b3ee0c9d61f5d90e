/* Calls: what workflow code can ask for and waits for, each a function of the prelude's namespace.
 *
 * A call (step, timer, hook, child) answers a promise and goes into the table of open calls. What cannot be
 * asked rejects that promise, and nothing is written or counted.
 */
#include <math.h>
#include <string.h>

#include "guest.h"

static const double TIME_MAX = 8640000000000000.0; /* the range of Date */

static int throw_text(const char *message) { return throw_type_error(message, strlen(message)); }

static int write_arguments(const struct asked *asked) {
    struct place root = ROOT("arguments"), item = {.up = &root};
    if (write_head(4, (uint64_t)asked->argc))
        return -1;
    for (int i = 0; i < asked->argc; i++) {
        item.index = i;
        if (write_value(asked->argv[i], 1, &item))
            return -1;
    }
    return 0;
}

static bool has_options(const struct asked *asked) {
    return (asked->kind == CALL_HOOK || asked->kind == CALL_CHILD) && !JS_IsUndefined(asked->options);
}

static int keywords_of(const struct asked *asked) {
    return asked->beside ? !JS_IsUndefined(asked->beside[0]) + !JS_IsUndefined(asked->beside[1]) : 0;
}

static int write_keyword(const char *key, JSValueConst value) {
    struct place root = {.key = key, .key_size = strlen(key)};
    if (JS_IsUndefined(value))
        return 0;
    return write_text(key, strlen(key)) || write_value(value, 1, &root);
}

static int write_keywords(const struct asked *asked) {
    int count = keywords_of(asked);
    if (!count)
        return 0;
    return write_head(5, (uint64_t)count) || write_keyword("this", asked->beside[0]) ||
           write_keyword("closure", asked->beside[1]);
}

static int write_call(const struct asked *asked, uint32_t id) {
    struct place root = asked->kind == CALL_CHILD ? ROOT("input") : ROOT("value");
    if (write_head(0, id))
        return -1;
    if (asked->number ? write_numbered(asked->path, asked->number) : write_string(asked->path))
        return -1;
    if (asked->kind == CALL_TIMER ? write_int((int64_t)asked->due) : write_string(asked->name))
        return -1;
    if (asked->kind == CALL_STEP)
        return write_arguments(asked) || (asked->beside && write_keywords(asked));
    struct place options = ROOT("options");
    JSValueConst value = JS_IsUndefined(asked->argv[0]) ? JS_NULL : asked->argv[0];
    return write_value(value, 0, &root) || (has_options(asked) && write_value(asked->options, 0, &options));
}

static JSValue open_call(const struct asked *asked, uint32_t id) {
    JSValue functions[2], promise = JS_NewPromiseCapability(guest.ctx, functions);
    if (JS_IsException(promise))
        return promise;
    struct call call = {
        .id = id,
        .kind = (uint8_t)asked->kind,
        .number = asked->number,
        .path = JS_DupValue(guest.ctx, asked->path),
        .promise = JS_DupValue(guest.ctx, promise),
        .resolve = functions[0],
        .reject = functions[1],
        .value = asked->kind == CALL_TIMER ? JS_DupValue(guest.ctx, asked->argv[0]) : JS_UNDEFINED,
    };
    if (calls_add(&call)) {
        call_free(&call);
        JS_FreeValue(guest.ctx, promise);
        return JS_EXCEPTION;
    }
    return promise;
}

JSValue ask(const struct asked *asked) {
    uint8_t *mark;
    uint32_t id = calls_next_id();
    if (!JS_IsString(asked->path) || (asked->kind != CALL_TIMER && !JS_IsString(asked->name))) {
        throw_text("the path and the name of a call are strings");
        return rejected();
    }
    int begun = command_begin(has_options(asked) || keywords_of(asked) ? 6 : 5, asked->kind, &mark);
    if (begun == 0)
        return pending_for_ever();
    if (begun < 0 || command_end(mark, write_call(asked, id)))
        return rejected();
    return open_call(asked, id);
}

static JSValueConst argument(int argc, JSValueConst *argv, int index) { return index < argc ? argv[index] : JS_UNDEFINED; }

/* A call without a path of its own: the first is called as `asked->path` is, the others are numbered. */
static JSValue ask_numbered(struct asked *asked) {
    JSAtom atom = JS_ValueToAtom(guest.ctx, asked->path);
    JSValue count = JS_GetProperty(guest.ctx, guest.step_counts, atom), promise;
    asked->number = JS_IsNumber(count) ? (uint32_t)JS_VALUE_GET_INT(count) + 1 : 1;
    uint32_t id = calls_next_id();
    promise = ask(asked);
    if (calls_next_id() != id) /* it was asked, not refused */
        JS_DefinePropertyValue(guest.ctx, guest.step_counts, atom, JS_NewUint32(guest.ctx, asked->number), JS_PROP_C_W_E);
    JS_FreeAtom(guest.ctx, atom);
    return promise;
}

static JSValue call_step(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv, int magic, JSValueConst *data) {
    struct asked asked = {.kind = CALL_STEP, .path = data[1], .name = data[0], .argc = argc, .argv = argv};
    (void)ctx, (void)this_value, (void)magic;
    if (!JS_IsUndefined(data[1]) || !JS_IsString(data[0]))
        return ask(&asked);
    asked.path = data[0];
    return ask_numbered(&asked);
}

/* Whether this is the id of a step that was compiled: such a call has no path, and may have captured variables in its place. */
static bool is_bundled(JSValueConst id) {
    const char *text = JS_IsString(id) ? JS_ToCString(guest.ctx, id) : NULL;
    bool whether = text && (!strncmp(text, "step//", 6) || !strncmp(text, "__builtin_", 10));
    JS_FreeCString(guest.ctx, text);
    return whether;
}

/* step(name, path), or step(id, captured) of a bundle */
static JSValue step(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    JSValueConst data[2] = {argument(argc, argv, 0), argument(argc, argv, 1)};
    (void)this_value;
    if (!JS_IsString(data[1]) && (JS_IsFunction(ctx, data[1]) || is_bundled(data[0])))
        return JS_Call(ctx, guest.proxy, JS_UNDEFINED, 2, data);
    return JS_NewCFunctionData(ctx, call_step, 0, 0, 2, data);
}

static bool is_receiver(JSValueConst value) {
    if (JS_IsUndefined(value) || JS_IsNull(value))
        return false;
    JSValue global = JS_GetGlobalObject(guest.ctx);
    bool is_global = JS_IsStrictEqual(guest.ctx, value, global);
    JS_FreeValue(guest.ctx, global);
    return !is_global;
}

/* A step of a bundle: its whole id is its name, the last part of that its path, and `captured()` are the variables it captured. */
static JSValue call_bundled(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv, int magic, JSValueConst *data) {
    struct asked asked = {.kind = CALL_STEP, .path = data[1], .name = data[0], .argc = argc, .argv = argv};
    (void)magic;
    JSValue captured = JS_IsUndefined(data[2]) ? JS_UNDEFINED : JS_Call(ctx, data[2], JS_UNDEFINED, 0, NULL);
    if (JS_IsException(captured))
        return rejected();
    JSValueConst beside[2] = {is_receiver(this_value) ? this_value : JS_UNDEFINED, captured};
    asked.beside = beside;
    JSValue promise = ask_numbered(&asked);
    JS_FreeValue(ctx, captured);
    return promise;
}

/* bundled(id, path, captured): for the prelude alone, which knows that the first two are strings. */
static JSValue bundled(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    JSValueConst data[3] = {argument(argc, argv, 0), argument(argc, argv, 1), argument(argc, argv, 2)};
    (void)this_value;
    return JS_NewCFunctionData(ctx, call_bundled, 0, 0, 3, data);
}

/* A timer is due in whole milliseconds, never early and never in the past. */
static JSValue ask_timer(JSValueConst path, double due, JSValueConst value) {
    due = due > guest.now_ms ? ceil(due) : guest.now_ms;
    struct asked asked = {
        .kind = CALL_TIMER, .path = path, .due = due < TIME_MAX ? due : TIME_MAX, .argc = 1, .argv = &value};
    return ask(&asked);
}

static JSValue sleep_for(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    double ms;
    (void)this_value;
    if (JS_ToFloat64(ctx, &ms, argument(argc, argv, 1)))
        return rejected();
    return ask_timer(argument(argc, argv, 0), guest.now_ms + ms, argument(argc, argv, 2));
}

static JSValue sleep_until(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    JSValueConst when = argument(argc, argv, 1);
    JSValue ms = JS_IsDate(when) ? JS_Call(ctx, guest.date_get_time, when, 0, NULL) : JS_DupValue(ctx, when);
    double due;
    (void)this_value;
    if (JS_IsString(ms))
        throw_text("sleepUntil takes a Date or milliseconds since 1970, and was given text");
    bool failed = JS_IsString(ms) || JS_ToFloat64(ctx, &due, ms);
    JS_FreeValue(ctx, ms);
    return failed ? rejected() : ask_timer(argument(argc, argv, 0), due, argument(argc, argv, 2));
}

/* hook(path, name, value, options), child(path, workflow, input, options) */
static JSValue call_named(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv, int kind) {
    JSValueConst value = argument(argc, argv, 2);
    struct asked asked = {.kind = (enum call_kind)kind,
                          .path = argument(argc, argv, 0),
                          .name = argument(argc, argv, 1),
                          .argc = 1,
                          .argv = &value,
                          .options = argument(argc, argv, 3)};
    (void)ctx, (void)this_value;
    return ask(&asked);
}

int asking_define(void) {
    static const JSCFunctionListEntry functions[] = {
        JS_CFUNC_DEF("step", 2, step),
        JS_CFUNC_DEF("bundled", 3, bundled),
        JS_CFUNC_DEF("sleep", 3, sleep_for),
        JS_CFUNC_DEF("sleepUntil", 3, sleep_until),
        JS_CFUNC_MAGIC_DEF("hook", 4, call_named, CALL_HOOK),
        JS_CFUNC_MAGIC_DEF("child", 4, call_named, CALL_CHILD),
    };
    return JS_SetPropertyFunctionList(guest.ctx, guest.namespace_object, functions, (int)(sizeof functions / sizeof *functions));
}
