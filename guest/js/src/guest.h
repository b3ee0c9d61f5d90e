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

enum {
    WINDOW_BYTES = 8 << 20,
    INPUT_ADDRESS = STACK_BYTES + 128, /* TURN lies between the stack and the input window */
    OUTPUT_ADDRESS = INPUT_ADDRESS + WINDOW_BYTES + 64, /* room for the NUL after a source that fills the window */
    EVENT_OUTPUT_MAX = 6 << 20,
    OUTPUT_WAITING_MAX = 2 << 20, /* a turn stops early above this, so that one more event always fits */
    EVENT_COMMANDS_MAX = 100000,
    DEPTH_MAX = 64, /* containers below the message */
};

_Static_assert(OUTPUT_ADDRESS + WINDOW_BYTES <= STATE_ADDRESS, "the windows end before state begins");
_Static_assert(OUTPUT_WAITING_MAX + EVENT_OUTPUT_MAX <= WINDOW_BYTES, "the output of one more event always fits");

#define INPUT_WINDOW ((uint8_t *)INPUT_ADDRESS)
#define OUTPUT_WINDOW ((uint8_t *)OUTPUT_ADDRESS)

enum fault {
    FAULT_INPUT = -1,
    FAULT_OUTPUT = -2,
    FAULT_MEMORY = -3,
    FAULT_NOT_LOADED = -4,
    FAULT_SOURCE = -5,
    FAULT_COMMANDS = -6,
    FAULT_CALL = -7,
};

/* What belongs to one turn. Every field is set at its beginning. */
struct turn {
    uint8_t *at;    /* where the next byte of output goes */
    uint8_t *limit; /* the output of the current event ends before this */
    uint32_t commands;
    int32_t fault;
    bool writing; /* a command is half written: getters of its values must not ask for another */
};
#define TURN ((struct turn *)STACK_BYTES)
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
    JSValue state; /* `given.state`: what steps change is merged into it */
    JSValue on_suspended, on_bailed, bail_value, on_cancel_requested, on_patches; /* given by the prelude */
    JSClassID class_object, class_array, class_error, class_date, class_uint8_array, class_array_buffer;
    double now_ms;
    uint64_t random[4];
    bool started, finished;
};
extern struct guest guest;

/* ---- main.c ---- */

/* Ends the turn with `code`; the first fault counts. Returns -1 with an exception that no code can catch. */
int raise_fault(enum fault code);
void drain_microtasks(void);

/* ---- cbor_read.c: decoding allocates nothing but the values; every length is checked before it is used ---- */

struct reader {
    const uint8_t *at, *end;
};
int read_array(struct reader *r, uint64_t *count);
int read_map(struct reader *r, uint64_t *count);
int read_uint(struct reader *r, uint64_t *value);
int read_time(struct reader *r, double *ms);
int read_text(struct reader *r, const char **text, size_t *size);
int read_bytes(struct reader *r, const uint8_t **bytes, size_t *size);
/* The next item as a new value; `depth` containers below the message are open. */
JSValue read_value(struct reader *r, int depth);
/* The entries of a map become properties of `object`; -1 when it is no map, or not well-formed. */
int read_into(struct reader *r, JSValueConst object);
/* A map whose keys arrive in order: `*key` was the last one, or NULL; it becomes the next. */
int read_key(struct reader *r, const char **key, size_t *size);

/* ---- cbor_write.c ---- */

/* Where a value stands, for the message that refuses it: linked from the innermost outwards. */
struct place {
    const struct place *up;
    const char *key; /* the root's name, a map key, or NULL for a list item */
    size_t key_size;
    int64_t index;
    void *object; /* the container itself, to find cycles */
};
#define ROOT(name) ((struct place){NULL, name, sizeof(name) - 1, 0, NULL})

int write_head(int major, uint64_t argument);
int write_int(int64_t value);
int write_text(const char *text, size_t size);
int write_string(JSValueConst text);
/* `name`, or `name#number` from the second on: the path of a step call that was given none. */
int write_numbered(JSValueConst name, uint32_t number);
int write_value(JSValueConst value, int depth, const struct place *place);
/* As write_value, but 0 when the value cannot cross (nothing is written then), 1 when it was written, -1 on a fault. */
int try_value(JSValueConst value, int depth, const struct place *place);
/* Throws the TypeError that names the place. Always -1. */
int refuse(const struct place *place, const char *why);
int throw_type_error(const char *message, size_t size);

/* ---- failures.c ---- */

/* Whatever was thrown, as a failure; `up` is where it stands, or NULL. Only a fault stops it. */
int write_failure(JSValueConst thrown, int depth, const struct place *up);
JSValue read_failure(struct reader *r, int depth);
/* [0, value] or [1, failure]; `*failed` says which. */
JSValue read_outcome(struct reader *r, bool *failed);

/* ---- calls.c: the open calls ---- */

enum call_kind { CALL_STEP = 0, CALL_TIMER = 1, CALL_HOOK = 2, CALL_CHILD = 3, CALL_OPERATION = 10 };
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
int complete_run(JSValueConst result);
int fail_run(JSValueConst thrown);

/* ---- events.c ---- */

/* Reads one event and delivers it, microtasks included: 0 or a fault. */
int deliver(struct reader *r);

/* ---- ambient.c: memory, time and chance ---- */

extern const JSMallocFunctions allocator;
void random_seed(const uint8_t seed[16]);
int ambient_define(void);

/* ---- text.c ---- */

bool text_is_utf8(const uint8_t *text, size_t size);
/* Lone surrogates, as QuickJS writes them (three bytes each), become U+FFFD in place. */
void text_mend(char *text, size_t size);
int timestamp_read(const char *text, size_t size, double *ms);
enum { TIMESTAMP_BYTES = 24 };
int timestamp_write(double ms, char text[TIMESTAMP_BYTES]);

#endif
