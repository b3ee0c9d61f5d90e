/* Where in the workflow's source an error was made: the frames of its stack that lie there.
 *
 * They are read from the text that the engine itself keeps in each error, `    at name (workflow.js:12:5)` line by line, whatever
 * workflow code has put in the place of `stack`.
 */
#include <stdlib.h>
#include <string.h>

#include "guest.h"

enum { FRAMES_MAX = 16, NAME_MAX = 200 };
static const char file[] = "workflow.js:", before_name[] = "    at ";

struct frame {
    uint32_t line, column;
    const char *name;
    size_t size; /* of the name */
};

static bool read_frame(const char *at, const char *end, struct frame *frame) {
    char *after;
    if ((size_t)(end - at) < sizeof before_name || memcmp(at, before_name, sizeof before_name - 1))
        return false;
    at += sizeof before_name - 1;
    const char *place = NULL;
    for (const char *found = at; (found = strstr(found, file)) && found < end; found++)
        place = found; /* the last one: a name can hold anything */
    if (!place)
        return false;
    frame->name = at;
    frame->size = place - at >= 2 && place[-1] == '(' ? (size_t)(place - at) - 2 : 0;
    frame->line = (uint32_t)strtoul(place + sizeof file - 1, &after, 10);
    frame->column = *after == ':' ? (uint32_t)strtoul(after + 1, NULL, 10) : 1;
    return true;
}

static int read_frames(const char *text, struct frame frames[FRAMES_MAX]) {
    int count = 0;
    for (const char *end; count < FRAMES_MAX && (end = strchr(text, '\n')); text = end + 1)
        count += read_frame(text, end, &frames[count]);
    return count;
}

/* The engine's text, which is to be freed; NULL if there is none. */
static const char *text_of(JSValueConst error) {
    if (!JS_IsObject(error) || JS_GetClassID(error) != guest.class_error)
        return NULL;
    JSValue stack = JS_Call(guest.ctx, guest.trace_of, error, 0, NULL);
    const char *text = JS_IsString(stack) ? JS_ToCString(guest.ctx, stack) : NULL;
    JS_FreeValue(guest.ctx, stack);
    return text;
}

bool find_place(JSValueConst error, uint32_t *line, uint32_t *column) {
    struct frame frames[FRAMES_MAX];
    const char *text = text_of(error);
    int count = text ? read_frames(text, frames) : 0;
    if (count) {
        *line = frames[0].line;
        *column = frames[0].column;
    }
    JS_FreeCString(guest.ctx, text);
    return count > 0;
}

static int write_frames(const struct frame *frames, int count) {
    if (write_text("trace", 5) || write_head(4, (uint64_t)count))
        return -1;
    while (count-- > 0) {
        const struct frame *frame = &frames[count];
        char name[NAME_MAX];
        size_t size = frame->size;
        while (size > NAME_MAX || (size < frame->size && (frame->name[size] & 0xc0) == 0x80))
            size--;
        memcpy(name, frame->name, size);
        text_mend(name, size);
        if (write_head(4, 3) || write_head(0, frame->line) || write_text(name, size) || write_head(0, frame->column))
            return -1;
    }
    return 0;
}

int write_trace(JSValueConst error) {
    struct frame frames[FRAMES_MAX];
    const char *text = text_of(error);
    int count = text ? read_frames(text, frames) : 0;
    int written = count ? (write_frames(frames, count) ? -1 : 1) : 0;
    JS_FreeCString(guest.ctx, text);
    return written;
}
