/* What all files of the guest stand on: its lasting state, and how a turn or a function ends early. Needs QuickJS alone. */
#include "guest.h"

struct guest guest;

int raise_fault(enum fault code) {
    if (!TURN->fault)
        TURN->fault = code;
    if (guest.ctx && code != FAULT_MEMORY) { /* without memory there is no error object either */
        JS_ThrowInternalError(guest.ctx, "the turn ends here");
        JSValue error = JS_GetException(guest.ctx);
        JS_SetUncatchableError(guest.ctx, error);
        JS_Throw(guest.ctx, error);
    }
    return -1;
}

int throw_type_error(const char *message, size_t size) {
    JSValue text = JS_NewStringLen(guest.ctx, message, size);
    JSValue error = JS_CallConstructor(guest.ctx, guest.type_error, 1, &text);
    JS_FreeValue(guest.ctx, text);
    JS_Throw(guest.ctx, error);
    return -1;
}

void drain_microtasks(void) {
    JSContext *ctx;
    int ran;
    while (!TURN->fault && (ran = JS_ExecutePendingJob(guest.rt, &ctx)))
        if (ran < 0)
            JS_FreeValue(ctx, JS_GetException(ctx));
}

JSValue rejected(void) {
    if (TURN->fault)
        return JS_EXCEPTION;
    JSValue error = JS_GetException(guest.ctx);
    JSValue promise = JS_NewSettledPromise(guest.ctx, true, error);
    JS_FreeValue(guest.ctx, error);
    return promise;
}

JSValue pending_for_ever(void) {
    JSValue functions[2], promise = JS_NewPromiseCapability(guest.ctx, functions);
    if (!JS_IsException(promise)) {
        JS_FreeValue(guest.ctx, functions[0]);
        JS_FreeValue(guest.ctx, functions[1]);
    }
    return promise;
}
