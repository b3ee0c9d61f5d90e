/* Promises that were rejected while nobody had a handler for them.
 *
 * They are looked at when an event is through: what was handled meanwhile is forgotten, the rest is told, once. Those of a load
 * wait in the image, and are told with the first event, for there is no log before.
 */
#include "guest.h"

struct rejection {
    JSValue promise, reason;
};

static struct {
    struct rejection *list;
    uint32_t count, capacity;
} rejections;

static void forget(struct rejection *one) {
    JS_FreeValue(guest.ctx, one->promise);
    JS_FreeValue(guest.ctx, one->reason);
}

static void add(JSContext *ctx, JSValueConst promise, JSValueConst reason) {
    if (rejections.count == rejections.capacity) {
        uint32_t capacity = rejections.capacity ? rejections.capacity * 2 : 8;
        struct rejection *list = js_realloc(ctx, rejections.list, capacity * sizeof *list);
        if (!list)
            return; /* no memory: the turn ends with a fault */
        rejections.list = list;
        rejections.capacity = capacity;
    }
    rejections.list[rejections.count++] = (struct rejection){JS_DupValue(ctx, promise), JS_DupValue(ctx, reason)};
}

/* From the newest on: whoever handles a rejection mostly does it at once. The order of the others stays. */
static void take_back(JSValueConst promise) {
    for (uint32_t i = rejections.count; i-- > 0;) {
        if (JS_VALUE_GET_PTR(rejections.list[i].promise) != JS_VALUE_GET_PTR(promise))
            continue;
        struct rejection found = rejections.list[i];
        for (uint32_t k = i + 1; k < rejections.count; k++)
            rejections.list[k - 1] = rejections.list[k];
        rejections.count--;
        return forget(&found);
    }
}

static void track(JSContext *ctx, JSValueConst promise, JSValueConst reason, bool is_handled, void *opaque) {
    (void)opaque;
    if (guest.is_generated)
        return;
    if (is_handled)
        take_back(promise);
    else
        add(ctx, promise, reason);
}

void rejections_watch(void) { JS_SetHostPromiseRejectionTracker(guest.rt, track, NULL); }

void rejections_tell_now(void) {
    struct rejection *list = rejections.list;
    uint32_t count = rejections.count;
    rejections.list = NULL;
    rejections.count = rejections.capacity = 0;
    for (uint32_t i = 0; i < count; i++) {
        JSValueConst reason = list[i].reason;
        if (!TURN->fault && !guest.finished) {
            JSValue ignored = JS_Call(guest.ctx, guest.on_unhandled, JS_UNDEFINED, 1, &reason);
            if (JS_IsException(ignored) && !TURN->fault)
                JS_FreeValue(guest.ctx, JS_GetException(guest.ctx));
            JS_FreeValue(guest.ctx, ignored);
        }
        forget(&list[i]);
    }
    js_free(guest.ctx, list);
}

void rejections_tell(void) {
    while (rejections.count && !TURN->fault) {
        rejections_tell_now();
        drain_microtasks();
    }
}
