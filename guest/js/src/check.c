/* The export `check`: one pass over a CBOR sequence, for the host. It is the twin of `check` in `cloche.history.values`, for
 * messages so large that Python would hold up everybody else, and touches nothing but the windows. */
#include <math.h>
#include <string.h>

#include "guest.h"

enum { LEVELS = DEPTH_MAX + 1 }; /* of containers, the message among them */

struct level {
    uint64_t remaining; /* items still to come; a map counts its keys and values */
    struct key last;    /* of a map: the key before */
    bool is_map;
};

struct found {
    uint32_t end, items, depth; /* of one item: where it ends, how many are in it, how deep they lie below it */
};

struct walk {
    const uint8_t *at, *end;
    struct level levels[LEVELS];
    int open;
    struct found found;
};

static uint64_t left(const struct walk *w) { return (uint64_t)(w->end - w->at); }

/* Major type and argument in the shortest form; not for major type 7. */
static bool head(struct walk *w, int *major, uint64_t *argument) {
    if (w->at == w->end)
        return false;
    int info = *w->at & 31;
    *major = *w->at++ >> 5;
    *argument = (uint64_t)info;
    if (info < 24)
        return true;
    int size = 1 << (info - 24);
    if (info > 27 || left(w) < (uint64_t)size)
        return false;
    *argument = 0;
    for (int i = 0; i < size; i++)
        *argument = *argument << 8 | *w->at++;
    return info == 24 ? *argument >= 24 : *argument >> (size * 4) != 0;
}

static bool simple(struct walk *w) {
    int info = *w->at++ & 31;
    if (info >= 20 && info <= 22)
        return true;
    if (info == 25 && left(w) >= 2) {
        int half = w->at[0] << 8 | w->at[1];
        w->at += 2;
        return half == 0x7c00 || half == 0xfc00 || half == 0x7e00;
    }
    if (info != 27 || left(w) < 8)
        return false;
    int exponent = (w->at[0] & 0x7f) << 4 | w->at[1] >> 4;
    w->at += 8;
    return exponent != 0x7ff;
}

/* ---- tags ---- */

/* `count` digits at `*at` as a number; -1 if they are none. */
static int digits(const uint8_t **at, const uint8_t *end, int count) {
    int number = 0;
    if (end - *at < count)
        return -1;
    for (int i = 0; i < count; i++, ++*at) {
        if (**at < '0' || **at > '9')
            return -1;
        number = 10 * number + (**at - '0');
    }
    return number;
}

static bool skip(const uint8_t **at, const uint8_t *end, char wanted) { return *at < end && *(*at)++ == (uint8_t)wanted; }

static bool is_date(int year, int month, int day) {
    static const int8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leaps = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (leaps && month == 2);
}

static bool is_offset(const uint8_t *at, const uint8_t *end) {
    if (end - at == 1)
        return *at == 'Z';
    if (at == end || (*at != '+' && *at != '-'))
        return false;
    at++;
    int hours = digits(&at, end, 2);
    bool colon = skip(&at, end, ':');
    int minutes = digits(&at, end, 2);
    return colon && hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60 && at == end;
}

/* RFC 3339 without a leap second, at most nine digits after the point. */
static bool is_timestamp(const uint8_t *at, const uint8_t *end) {
    static const char between[6] = "--T::";
    int parts[6];
    for (int i = 0; i < 6; i++) {
        parts[i] = digits(&at, end, i ? 2 : 4);
        if (parts[i] < 0 || (i < 5 && !skip(&at, end, between[i])))
            return false;
    }
    if (at < end && *at == '.') {
        const uint8_t *first = ++at;
        while (at < end && *at >= '0' && *at <= '9')
            at++;
        if (at == first || at - first > 9)
            return false;
    }
    return is_date(parts[0], parts[1], parts[2]) && parts[3] < 24 && parts[4] < 60 && parts[5] < 60 && is_offset(at, end);
}

static bool tagged(struct walk *w, uint64_t tag) {
    int major;
    uint64_t size;
    if (!head(w, &major, &size) || major == SIMPLE || size > left(w))
        return false;
    const uint8_t *content = w->at;
    w->at += size;
    if (tag == TAG_TIMESTAMP)
        return major == TEXT && is_timestamp(content, w->at);
    if (tag == TAG_ZONED)
        return major == TEXT && is_timestamp(content, content + size_before_zone((const char *)content, (size_t)size));
    return (tag == TAG_BIG || tag == TAG_BIG_NEGATIVE) && major == BYTES && size > 8 && *content != 0;
}

/* ---- items ---- */

static bool string(struct walk *w, bool is_text, bool is_key, uint64_t size) {
    if (size > left(w) || (is_text && !text_is_utf8(w->at, (size_t)size)))
        return false;
    struct key text = {(const char *)w->at, (size_t)size};
    w->at += size;
    if (!is_key)
        return true;
    struct key *last = &w->levels[w->open - 1].last;
    bool follows = !last->text || key_order(last, &text) < 0;
    *last = text;
    return follows;
}

static bool container(struct walk *w, bool is_map, uint64_t count) {
    if (w->open == LEVELS || count > left(w) / (is_map ? 2 : 1))
        return false;
    count *= is_map ? 2 : 1;
    w->levels[w->open++] = (struct level){count, {NULL, 0}, is_map};
    w->found.items += (uint32_t)count;
    if (w->found.depth < (uint32_t)w->open - 1)
        w->found.depth = (uint32_t)w->open - 1;
    return true;
}

static bool one(struct walk *w, bool is_key) {
    int major;
    uint64_t argument;
    if (w->at == w->end)
        return false;
    if (*w->at >> 5 == SIMPLE)
        return !is_key && simple(w);
    if (!head(w, &major, &argument) || (is_key && major != TEXT))
        return false;
    switch (major) {
    case UINT:
    case NEGATIVE: return true;
    case TAG: return tagged(w, argument);
    case ARRAY:
    case MAP: return container(w, major == MAP, argument);
    default: return string(w, major == TEXT, is_key, argument);
    }
}

/* The item at `w->at`, with all that is in it. */
static bool item(struct walk *w) {
    w->found = (struct found){0, 0, 0};
    if (!one(w, false))
        return false;
    while (w->open) {
        struct level *level = &w->levels[w->open - 1];
        if (!level->remaining) {
            w->open--;
        } else {
            level->remaining--;
            if (!one(w, level->is_map && level->remaining % 2 == 1))
                return false;
        }
    }
    return true;
}

/* How many items the `size` bytes in the input window are; what was found of each is in the output window. -1 if they are not
 * in the grammar, or too many. */
__attribute__((export_name("check"))) int64_t check(uint32_t size) {
    if (size > WINDOW_BYTES)
        return -1;
    struct walk w = {.at = INPUT_WINDOW, .end = INPUT_WINDOW + size};
    int64_t count = 0;
    for (; w.at < w.end; count++) {
        if ((count + 1) * (int64_t)sizeof w.found > WINDOW_BYTES || !item(&w))
            return -1;
        w.found.end = (uint32_t)(w.at - INPUT_WINDOW);
        memcpy(OUTPUT_WINDOW + count * (int64_t)sizeof w.found, &w.found, sizeof w.found);
    }
    return count;
}
