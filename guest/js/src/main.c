/* The guest's exports: layout, load and turn, and for the time of baking `prelude`. */
#include <stdlib.h>
#include <string.h>

#include "guest.h"

/* Deep recursion must end in a RangeError of JavaScript before either stack is used up: this one, which traps below address
 * 0, and wasmtime's native one of 2 MiB. Functions that recur are weighted so that they use about as much of both
 * (../weights.txt); a quarter to a third of each is left for what is not checked, and for other machines' frames. */
enum { SCRIPT_STACK_BYTES = 1200 << 10 };

#define EXPORT(name) __attribute__((export_name(#name))) name

/* Asked every few thousand operations: after a fault no workflow code goes on, caught exceptions or not. */
static int is_over(JSRuntime *rt, void *opaque) {
    (void)rt, (void)opaque;
    return TURN->fault != 0;
}

static void begin_turn(void) {
    *TURN = (struct turn){.at = OUTPUT_WINDOW, .limit = OUTPUT_WINDOW + EVENT_OUTPUT_MAX};
    JS_UpdateStackTop(guest.rt);
}

static uint32_t waiting(void) { return (uint32_t)(TURN->at - OUTPUT_WINDOW); }

int64_t EXPORT(turn)(uint32_t size) {
    struct reader r = {INPUT_WINDOW, INPUT_WINDOW + size};
    if (size > WINDOW_BYTES)
        return FAULT_INPUT;
    if (JS_IsUndefined(guest.workflow))
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

static JSModuleDef *refuse_import(JSContext *ctx, const char *name, void *opaque) {
    (void)opaque;
    const char *advice = strncmp(name, "node:", 5) ? "a bundler makes one of several (esbuild --bundle --format=esm --platform=browser)"
                                                   : "Node's own modules are not there: bundle for browsers "
                                                     "(esbuild --bundle --format=esm --platform=browser), and do such work in a step";
    JS_ThrowTypeError(ctx, "cannot import '%.100s': a workflow is one file, with nothing beside it; %s", name, advice);
    return NULL;
}

/* Where in the source it happened, as the error's data. */
static void locate(JSValueConst error) {
    uint32_t line, column;
    if (!find_place(error, &line, &column))
        return;
    JSValue where = JS_NewObject(guest.ctx);
    JS_SetPropertyStr(guest.ctx, where, "line", JS_NewUint32(guest.ctx, line));
    JS_SetPropertyStr(guest.ctx, where, "column", JS_NewUint32(guest.ctx, column));
    JS_DefinePropertyValueStr(guest.ctx, error, "data", where, JS_PROP_C_W_E);
}

/* Leaves the pending exception as a failure in the output window. */
static int report_source(void) {
    uint32_t size;
    if (TURN->fault)
        return TURN->fault;
    JSValue error = JS_GetException(guest.ctx);
    locate(error);
    if (!write_failure(error, 0, NULL)) {
        size = waiting();
        memcpy(OUTPUT_WINDOW - 4, &size, 4);
    }
    JS_FreeValue(guest.ctx, error);
    return TURN->fault ? TURN->fault : FAULT_SOURCE;
}

static int throw_text(const char *text) { return throw_type_error(text, strlen(text)); }

/* Runs the module to its end. */
static int evaluate(JSValue module) {
    JSValue promise = JS_EvalFunction(guest.ctx, module);
    int failed = JS_IsException(promise) ? -1 : 0;
    if (!failed) {
        drain_microtasks();
        JSPromiseStateEnum state = JS_PromiseState(guest.ctx, promise);
        if (state == JS_PROMISE_PENDING)
            failed = throw_text("the code waits at its top level, where no event arrives: await inside the workflow function");
        else if (state == JS_PROMISE_REJECTED)
            failed = (JS_Throw(guest.ctx, JS_PromiseResult(guest.ctx, promise)), -1);
    }
    JS_FreeValue(guest.ctx, promise);
    return TURN->fault ? -1 : failed;
}

static int take_workflow(JSModuleDef *module) {
    JSValue names = JS_GetModuleNamespace(guest.ctx, module);
    JSValue found = JS_GetPropertyStr(guest.ctx, names, "default");
    JS_FreeValue(guest.ctx, names);
    if (!JS_IsFunction(guest.ctx, found)) {
        JS_FreeValue(guest.ctx, found);
        return throw_text("the code has no workflow: its default export must be a function");
    }
    guest.workflow = found;
    return 0;
}

int32_t EXPORT(load)(uint32_t size) {
    if (size > WINDOW_BYTES)
        return FAULT_INPUT;
    begin_turn();
    if (!JS_IsUndefined(guest.workflow)) {
        throw_text("a workflow is loaded already");
        return report_source();
    }
    if (!text_is_utf8(INPUT_WINDOW, size)) {
        throw_text("the code is not UTF-8");
        return report_source();
    }
    INPUT_WINDOW[size] = 0;
    JSValue module = JS_Eval(guest.ctx, (const char *)INPUT_WINDOW, size, "workflow.js",
                             JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    if (JS_IsException(module))
        return report_source();
    JSModuleDef *definition = JS_VALUE_GET_PTR(module); /* it lives as long as the context */
    return evaluate(module) || take_workflow(definition) ? report_source() : 0;
}

uint32_t EXPORT(layout)(void) {
    static const uint32_t words[7] = {
        ABI_VERSION, INPUT_ADDRESS, WINDOW_BYTES, OUTPUT_ADDRESS, WINDOW_BYTES, STATE_ADDRESS, EVENT_OUTPUT_MAX};
    return (uint32_t)(uintptr_t)words;
}

/* ---- baking: these run before the memory is written back into the module, and are exported no longer ---- */

static JSValue intrinsic(JSValueConst global, const char *constructor, const char *method) {
    JSValue function = JS_GetPropertyStr(guest.ctx, global, constructor);
    if (!method)
        return function;
    JSValue prototype = JS_GetPropertyStr(guest.ctx, function, "prototype");
    JSValue found = JS_GetPropertyStr(guest.ctx, prototype, method);
    JS_FreeValue(guest.ctx, prototype);
    JS_FreeValue(guest.ctx, function);
    return found;
}

static JSClassID class_of(JSValue sample) {
    JSClassID class = JS_GetClassID(sample);
    JS_FreeValue(guest.ctx, sample);
    return class;
}

static void learn_classes(void) {
    guest.class_object = class_of(JS_NewObject(guest.ctx));
    guest.class_array = class_of(JS_NewArray(guest.ctx));
    guest.class_error = class_of(JS_NewError(guest.ctx));
    guest.class_date = class_of(JS_NewDate(guest.ctx, 0));
    guest.class_uint8_array = class_of(JS_NewUint8ArrayCopy(guest.ctx, (const uint8_t *)"", 1));
    guest.class_array_buffer = class_of(JS_NewArrayBufferCopy(guest.ctx, (const uint8_t *)"", 1));
}

/* `Promise.prototype.constructor` is what `await` looks at to see that a promise is one: changed, workflow code could come between
 * a promise and a helper. So it answers the same for ever; what inherits from it may have one of its own (ES5 subclasses). */
static JSValue get_constructor(JSContext *ctx, JSValueConst this_value) {
    (void)this_value;
    return JS_DupValue(ctx, guest.promise);
}

static JSValue set_constructor(JSContext *ctx, JSValueConst this_value, JSValueConst value) {
    static const char why[] = "the constructor of Promise.prototype cannot be changed: await looks at it";
    if (!JS_IsObject(this_value) || JS_VALUE_GET_PTR(this_value) == JS_VALUE_GET_PTR(guest.promise_prototype)) {
        throw_type_error(why, sizeof why - 1);
        return JS_EXCEPTION;
    }
    int defined = JS_DefinePropertyValueStr(ctx, this_value, "constructor", JS_DupValue(ctx, value), JS_PROP_C_W_E | JS_PROP_THROW);
    return defined < 0 ? JS_EXCEPTION : JS_UNDEFINED;
}

static int tame_promise(void) {
    static const JSCFunctionListEntry accessor[] = {JS_CGETSET_DEF2("constructor", get_constructor, set_constructor, 0)};
    return JS_SetPropertyFunctionList(guest.ctx, guest.promise_prototype, accessor, 1);
}

/* No performance, no WeakRef, no FinalizationRegistry: what they answer depends on time and on the garbage collector. The prelude
 * has those of its own, which do not. */
static int add_intrinsics(JSContext *ctx) {
    return JS_AddIntrinsicBaseObjects(ctx) || JS_AddIntrinsicDate(ctx) || JS_AddIntrinsicEval(ctx) ||
           JS_AddIntrinsicRegExp(ctx) || JS_AddIntrinsicJSON(ctx) || JS_AddIntrinsicProxy(ctx) ||
           JS_AddIntrinsicMapSet(ctx) || JS_AddIntrinsicTypedArrays(ctx) || JS_AddIntrinsicPromise(ctx) ||
           JS_AddIntrinsicAToB(ctx);
}

__attribute__((constructor)) static void create(void) {
    guest.rt = JS_NewRuntime2(&allocator, NULL);
    guest.ctx = JS_NewContextRaw(guest.rt);
    if (!guest.ctx || add_intrinsics(guest.ctx))
        abort();
    JS_SetMaxStackSize(guest.rt, SCRIPT_STACK_BYTES);
    JS_SetInterruptHandler(guest.rt, is_over, NULL);
    JS_SetModuleLoaderFunc(guest.rt, NULL, refuse_import, NULL);
    JSValue global = JS_GetGlobalObject(guest.ctx);
    guest.workflow = guest.state = JS_UNDEFINED;
    guest.on_unhandled = guest.trace_of = JS_UNDEFINED;
    guest.on_suspended = guest.on_bailed = guest.bail_value = guest.on_cancel_requested = guest.on_patches = JS_UNDEFINED;
    guest.type_error = intrinsic(global, "TypeError", NULL);
    guest.date_get_time = intrinsic(global, "Date", "getTime");
    guest.namespace_object = JS_NewObject(guest.ctx);
    guest.promise = intrinsic(global, "Promise", NULL);
    guest.promise_prototype = JS_GetPropertyStr(guest.ctx, guest.promise, "prototype");
    guest.object_prototype = JS_GetPrototype(guest.ctx, guest.namespace_object);
    guest.step_counts = JS_NewObjectProto(guest.ctx, JS_NULL);
    JS_FreeValue(guest.ctx, global);
    learn_classes();
    if (commands_define() || ambient_define() || encoding_define() || tame_promise())
        abort();
    rejections_watch();
}

/* Evaluates `size` bytes of the input window, an expression `(cloche) => { … }`, and calls it with the namespace. Without
 * source it closes the baking. 0, or a fault with the error in the output window. */
int32_t EXPORT(prelude)(uint32_t size) {
    begin_turn();
    if (!size) {
        JS_RunGC(guest.rt);
        spare_room();
        return 0;
    }
    INPUT_WINDOW[size] = 0;
    JSValue function = JS_Eval(guest.ctx, (const char *)INPUT_WINDOW, size, "prelude.js", JS_EVAL_FLAG_STRICT);
    JSValue done = JS_Call(guest.ctx, function, JS_UNDEFINED, 1, &guest.namespace_object);
    JS_FreeValue(guest.ctx, function);
    if (JS_IsException(done))
        return report_source();
    drain_microtasks();
    JS_RunGC(guest.rt);
    return 0;
}
