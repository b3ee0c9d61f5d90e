/* What the guests share of the boundary (../ABI.md): limits, a turn's scratch, heads of CBOR items, refusals, chance.
 *
 * A guest includes this after it has defined INPUT_ADDRESS, OUTPUT_ADDRESS and TURN_ADDRESS, and gives two functions: `raise_fault`
 * and `throw_type_error`. Everything here works on bytes; what a value is, only the guest knows.
 */
#ifndef CLOCHE_WIRE_H
#define CLOCHE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ABI_VERSION = 2,
    WINDOW_BYTES = 8 << 20,
    EVENT_OUTPUT_MAX = 6 << 20,
    OUTPUT_WAITING_MAX = 2 << 20, /* a turn stops early above this, so that one more event always fits */
    EVENT_COMMANDS_MAX = 100000,
    DEPTH_MAX = 64, /* containers below the message */
};
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
    FAULT_BROKEN = -8,
};

enum event_kind {
    START, COMPLETED, FAILED, SUSPENDED, FIRED, RECEIVED, CHILD_ENDED, CANCEL_REQUESTED, RESUMED = 9, BAILED, UPGRADED,
    REPLAYING, HOOK_FAILED
};
enum { EVENT_KINDS = HOOK_FAILED + 1 };
enum { TAG_TIMESTAMP = 0, TAG_BIG = 2, TAG_BIG_NEGATIVE = 3, TAG_ZONED = 9557 };

/* What belongs to one turn. Every field is set at its beginning. */
struct turn {
    uint8_t *at;    /* where the next byte of output goes */
    uint8_t *limit; /* the output of the current event ends before this */
    uint32_t commands;
    int32_t fault;
    bool writing; /* a command is half written: code that runs for its values must not ask for another */
};
#define TURN ((struct turn *)TURN_ADDRESS)

/* ---- given by the guest ---- */

/* Ends the turn with `code`; the first fault counts. Always -1. */
int raise_fault(enum fault code);
/* Raises a TypeError in the guest's language. Always -1. */
int throw_type_error(const char *message, size_t size);

/* ---- wire_read.c: every length is checked before it is used. 0, or -1 with FAULT_INPUT raised ---- */

struct reader {
    const uint8_t *at, *end;
};
enum major { UINT, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE };
int malformed(void);
/* Major type 0 to 6 and its argument; heads must be as short as they can be. */
int read_head(struct reader *r, int *major, uint64_t *argument);
/* `count` further items of at least `each` bytes cannot be more than the bytes left. */
int check_count(struct reader *r, uint64_t count, uint64_t each);
int take(struct reader *r, uint64_t size, const uint8_t **bytes);
int read_array(struct reader *r, uint64_t *count);
int read_map(struct reader *r, uint64_t *count);
int read_uint(struct reader *r, uint64_t *value);
int read_time(struct reader *r, int64_t *ms);
int read_text(struct reader *r, const char **text, size_t *size);
int read_bytes(struct reader *r, const uint8_t **bytes, size_t *size);
/* A map whose keys arrive in order: `*key` was the last one, or NULL; it becomes the next. */
int read_key(struct reader *r, const char **key, size_t *size);
/* The bytes of a bignum: more than 64 bit, no leading zero. */
int read_big(struct reader *r, const uint8_t **bytes, size_t *size);
/* An item of major type 7: `*number` is NULL for false, true, null (`*which` 20, 21, 22), else where to find the float. */
int read_simple(struct reader *r, int *which, double *number);
/* Past `count` items that this guest does not know, whatever is in them; `depth` containers are open around them. */
int skip_items(struct reader *r, uint64_t count, int depth);
bool text_is_utf8(const uint8_t *text, size_t size);
/* How much of `text` stands before a time zone in brackets, which it ends with (RFC 9557); 0 if it does not. */
size_t size_before_zone(const char *text, size_t size);

/* ---- wire_write.c: into the output window. 0, or -1 with FAULT_OUTPUT raised ---- */

int put(const void *bytes, size_t size);
int write_head(int major, uint64_t argument);
int write_int(int64_t value);
int write_text(const char *text, size_t size);
int write_float(double number);
/* `size` big-endian bytes without leading zeros: an integer, or beyond 64 bits a bignum; of -1 - n if negative. */
int write_big(const uint8_t *bytes, size_t size, bool negative);

/* ---- refusals ---- */

/* Where a value stands, for the message that refuses it: linked from the innermost outwards. */
struct place {
    const struct place *up;
    const char *key; /* the root's name, a map key, or NULL for a list item */
    size_t key_size;
    int64_t index;
    void *object; /* the container itself, to find cycles */
};
#define ROOT(name) ((struct place){NULL, name, sizeof(name) - 1, 0, NULL})

/* Throws the TypeError that names the place: `arguments[0].cb is a function`. Always -1. */
int refuse(const struct place *place, const char *why);

/* ---- entries of a map, in canonical order ---- */

struct key {
    const char *text;
    size_t size;
};
int key_order(const struct key *a, const struct key *b);

/* ---- chance.c: xoshiro256**; `state` is the guest's, and part of its memory ---- */

void chance_seed(uint64_t state[4], const uint8_t seed[16]);
uint64_t chance_next(uint64_t state[4]);
void chance_fill(uint64_t state[4], uint8_t *bytes, size_t size);

#endif
