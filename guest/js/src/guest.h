/* The JavaScript guest: what its files share.
 *
 * A guest is a pure function from events to commands (../../ABI.md is the contract). Its state is the memory from the
 * state address on, so nothing that depends on how events were batched may be left there: whatever belongs to one turn
 * lives on the C stack or in `TURN`, both below that address.
 *
 * Functions that return int answer 0, or -1 with either a JavaScript exception pending or a fault raised. Nothing here
 * takes ownership of a JSValue unless it says so.
 */
#ifndef CLOCHE_GUEST_H
#define CLOCHE_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quickjs.h"

/* ---- memory layout: the build gives STACK_BYTES and STATE_ADDRESS to the linker too, see build.py ---- */

#define TURN_ADDRESS STACK_BYTES /* between the stack and the input window */
#define INPUT_ADDRESS (STACK_BYTES + 128)
#define OUTPUT_ADDRESS (INPUT_ADDRESS + WINDOW_BYTES + 64) /* room for the NUL after a source that fills the window */

#include "wire.h"

_Static_assert(OUTPUT_ADDRESS + WINDOW_BYTES <= STATE_ADDRESS, "the windows end before state begins");
_Static_assert(sizeof(struct turn) <= 64, "TURN fits before the input window's scratch word");

/* What lasts. One runtime and one context, made before the memory is baked. */
struct guest {
    JSRuntime *rt;
    JSContext *ctx;
    JSValue workflow; /* the default export, undefined until loaded */
    JSValue namespace_object;
    JSValue step_counts; /* name -> how many calls had no path of their own */
    JSValue type_error;
    JSValue date_get_time;
    JSValue bigint_from_hex, bigint_to_hex; /* given by the prelude */
    JSValue keep_instant, kept_instant;     /* likewise: what a Date cannot hold of a timestamp */
    JSValue state; /* `given.state`: what steps change is merged into it */
    JSValue on_suspended, on_bailed, bail_value, on_cancel_requested, on_patches; /* given by the prelude */
    JSValue on_unhandled;                   /* likewise */
    JSValue is_bundle_of, enter, pack, revive, revive_failure, proxy; /* likewise, of code that holds several workflows: sdk.js */
    JSValue trace_of;                       /* the engine's own getter of an error's stack */
    JSValue promise, promise_prototype, object_prototype;
    JSClassID class_object, class_array, class_error, class_date, class_uint8_array, class_array_buffer;
    double now_ms;
    uint64_t random[4];
    bool started, finished;
    bool is_bundle;    /* the code holds several workflows, compiled from "use workflow" functions */
    bool is_generated; /* the code is cloche's own, made from a graph: engines of all kinds must lead it alike */
};
extern struct guest guest;

/* ---- guest.c: `raise_fault` and `throw_type_error` of wire.h too ---- */

/* Runs promise reactions until none is left, or the turn has a fault. */
void drain_microtasks(void);
/* The pending exception as a rejected promise: whoever asks for a promise gets one. A fault stays an exception. */
JSValue rejected(void);
JSValue pending_for_ever(void);

/* ---- cbor_read.c: decoding allocates nothing but the values ---- */

/* The next item as a new value; `depth` containers below the message are open. */
JSValue read_value(struct reader *r, int depth);
/* The entries of a map become properties of `object`; -1 when it is no map, or not well-formed. */
int read_into(struct reader *r, JSValueConst object);
/* A failure as a new Error. */
JSValue read_failure(struct reader *r, int depth);
/* [0, value] or [1, failure]; `*failed` says which. */
JSValue read_outcome(struct reader *r, bool *failed);

/* ---- cbor_scalars.c: values that contain no others ---- */

int write_string(JSValueConst text);
/* `name`, or `name#number` from the second on: the path of a step call that was given none. */
int write_numbered(JSValueConst name, uint32_t number);
int write_number(double number);
int write_bigint(JSValueConst value);
int write_date(JSValueConst date, const struct place *place);
/* The bytes that `get` finds in `value`: JS_GetUint8Array or JS_GetArrayBuffer. */
int write_binary(JSValueConst value, uint8_t *get(JSContext *, size_t *, JSValueConst), const struct place *place);
/* Refuses an object by the name of its class. */
int refuse_class(const struct place *place, JSValueConst value);

/* ---- cbor_entries.c: what an object has ---- */

struct entry {
    struct key key; /* first: `compare` sees nothing else */
    JSValue value;
};
/* The entries of an object that are there, in `*filled`; -1 on an exception. They are filled from the first on, so that they can
 * be freed in any case. */
int collect(JSValueConst object, const JSPropertyEnum *names, uint32_t count, struct entry *entries, int *filled);
/* Whether a field that no other code can see holds something; -1 on an exception. */
int has_private_state(JSValueConst value);

/* ---- cbor_write.c: any value, and errors as failures ---- */

int write_value(JSValueConst value, int depth, const struct place *place);
/* As write_value, but 0 when the value cannot cross (nothing is written then), 1 when it was written, -1 on a fault. */
int try_value(JSValueConst value, int depth, const struct place *place);
/* Whatever was thrown, as a failure; `up` is where it stands, or NULL. Only a fault stops it. */
int write_failure(JSValueConst thrown, int depth, const struct place *up);

/* ---- calls.c: the open calls ---- */

enum call_kind { CALL_STEP = 0, CALL_TIMER = 1, CALL_HOOK = 2, CALL_CHILD = 3 };
struct call {
    uint32_t id; /* 0: a free slot */
    uint8_t kind;
    bool abandoned; /* asked to be forgotten: its result may still arrive, and is dropped */
    bool suspended; /* waits for outside data */
    uint32_t number; /* as in `struct asked`: 0, or the path is made from the name, which `path` then is */
    JSValue path, promise, resolve, reject;
    JSValue value; /* what a timer gives back */
};
uint32_t calls_next_id(void);
/* Takes ownership of the call's values. */
int calls_add(const struct call *call);
struct call *calls_find(uint64_t id);
struct call *calls_find_promise(JSValueConst promise);
/* The path as it was written, a new string. */
JSValue call_path(const struct call *call);
/* The calls that are open and not abandoned, as [id, path, id, path …] in the order asked. */
JSValue calls_list(void);
/* Takes the call out of the table; the caller owns its values. The pointer is stale afterwards. */
struct call calls_take(struct call *call);
void call_free(struct call *call);
void call_forget(struct call *call);

/* ---- commands.c: what workflow code can ask for ---- */

int commands_define(void);
/* Opens a command of `size` items. 1: go on; 0: the run has ended and the command is dropped; -1: it cannot be asked. */
int command_begin(int size, int kind, uint8_t **mark);
/* Closes what `command_begin` opened; what failed is taken back. */
int command_end(uint8_t *mark, bool failed);

/* ---- asking.c: calls, which answer promises ---- */

struct asked {
    enum call_kind kind;
    JSValueConst path; /* of a step that was given none: what its path is made from */
    JSValueConst name; /* of the step, hook or workflow; a timer has `due` in its place */
    double due;
    int argc; /* a step's arguments; all others have the one value */
    JSValueConst *argv;
    uint32_t number; /* which call of this name it is, where there is no path */
    JSValueConst options; /* of a hook or a child; undefined: none */
    const JSValueConst *beside; /* of a step of a bundle: its `this` and the variables it captured, undefined where there are none */
};
/* A promise of what comes of it, rejected if it cannot be asked. */
JSValue ask(const struct asked *asked);
int asking_define(void);
int complete_run(JSValueConst result);
int fail_run(JSValueConst thrown);

/* ---- events.c ---- */

/* Reads one event and delivers it, microtasks included: 0 or a fault. */
int deliver(struct reader *r);

/* ---- ambient.c: memory, time and chance ---- */

extern const JSMallocFunctions allocator;
int ambient_define(void);
/* At the end of baking: no arena of the engine's is full. */
void spare_room(void);

/* ---- trace.c: where an error was made ---- */

/* Line and column, both from 1, of the innermost frame in the workflow's source; false if there is none. */
bool find_place(JSValueConst error, uint32_t *line, uint32_t *column);
/* The key `trace` with all frames there, outermost first: 1; 0 if there are none; -1 on a fault. */
int write_trace(JSValueConst error);

/* ---- rejections.c: promises that were rejected, and that nobody has handled ---- */

/* From now on they are kept until told. */
void rejections_watch(void);
/* Tells the prelude of those that are still unhandled, microtasks included, until there are none. */
void rejections_tell(void);
/* Tells of those that there are now, before the run ends; microtasks are left to whoever runs them. */
void rejections_tell_now(void);

/* ---- encoding.c ---- */

int encoding_define(void);

/* ---- zones.c ---- */

int zones_define(void);

/* ---- digest.c ---- */

int digest_define(void);

/* ---- text.c ---- */

/* Lone surrogates, as QuickJS writes them (three bytes each), become U+FFFD in place. */
void text_mend(char *text, size_t size);
/* In the proleptic Gregorian calendar, from the year 1 on: days since 1970, and back. */
int64_t day_number(int64_t year, int month, int day);
int64_t year_of_day(int64_t day);
int timestamp_read(const char *text, size_t size, double *ms);
/* Whether the timestamp, which was read, has a fraction that milliseconds do not hold. */
bool timestamp_is_finer(const char *text, size_t size);
enum { TIMESTAMP_BYTES = 24 };
int timestamp_write(double ms, char text[TIMESTAMP_BYTES]);

#endif
