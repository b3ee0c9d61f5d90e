/* The Python guest: what the files of its driver share.
 *
 * CPython's memory was laid out before the driver joined it, so the driver's data and the windows lie above it. State is the
 * memory from the state address on without what lies between the beginning of the input window and the end of the output
 * window; nothing that depends on how events were batched may be left in it, so a turn's scratch lies between the windows.
 *
 * Functions that return int answer 0, or -1 with a Python exception set; functions that return an object answer NULL then.
 * After a fault was raised an exception is set too: it ends what is going on, and the turn ends with the fault whether or
 * not somebody caught it.
 */
#ifndef CLOCHE_GUEST_H
#define CLOCHE_GUEST_H

#include "python.h"

/* ---- memory layout: the build gives INPUT_ADDRESS and STATE_ADDRESS ---- */

enum {
    GAP_BYTES = 4096, /* a NUL behind a source that fills the window; the turn; the length of a load's failure */
    TURN_ADDRESS = INPUT_ADDRESS + (8 << 20) + 64,
    OUTPUT_ADDRESS = INPUT_ADDRESS + (8 << 20) + GAP_BYTES,
};

#include "wire.h"

/* ---- what lasts ---- */

struct guest {
    PyObject *none, *false_, *true_;
    PyTypeObject *float_type, *int_type, *text_type, *bytes_type, *list_type, *tuple_type, *dict_type;
    PyTypeObject *data_type, *encoded_type;
    PyObject *type_error, *attribute_error, *memory_error, *fault_error;
    PyObject *main; /* the namespace in which scripts of the bake run */
    PyObject *deliver, *load, *report; /* held here, so that no code can put others in their place */
    PyObject *convert, *parse_time, *mend, *begin; /* given by world/, as those are */
    uint64_t random[4];
    int64_t now_ms;
    bool loaded, started;
};
extern struct guest guest;

/* ---- read.c ---- */

/* One event, checked, as a list; the clock is its time, and chance comes from its seed if it is a start. */
PyObject *read_event(struct reader *r);
/* The next item; `depth` containers below the message are open. */
PyObject *read_value(struct reader *r, int depth);

/* ---- write.c ---- */

int write_value(PyObject *value, int depth, const struct place *place);
/* A command in the ABI's layout. */
int write_command(PyObject *command);

/* ---- types.c ---- */

/* Makes the module `_cloche` with its types and functions. */
int types_define(void);
PyObject *data_new(void);
bool encoded_bytes(PyObject *o, const char **bytes, size_t *size);


#endif
