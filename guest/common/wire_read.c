/* CBOR in, as bytes: RFC 8949 in the deterministic profile of ABI.md. The host is trusted and checked all the same. */
#include <math.h>
#include <string.h>

#include "guest.h"

int malformed(void) { return raise_fault(FAULT_INPUT); }

static uint64_t big_endian(const uint8_t *at, int size) {
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | at[i];
    return value;
}

int read_head(struct reader *r, int *major, uint64_t *argument) {
    if (r->at == r->end)
        return malformed();
    uint8_t first = *r->at++;
    int info = first & 31;
    *major = first >> 5;
    if (*major == SIMPLE)
        return malformed();
    if (info < 24) {
        *argument = (uint64_t)info;
        return 0;
    }
    if (info > 27)
        return malformed();
    int size = 1 << (info - 24);
    if (r->end - r->at < size)
        return malformed();
    *argument = big_endian(r->at, size);
    r->at += size;
    bool shorter = info == 24 ? *argument < 24 : *argument >> (size * 4) == 0;
    return shorter ? malformed() : 0;
}

static int read_major(struct reader *r, int wanted, uint64_t *argument) {
    int major;
    if (read_head(r, &major, argument))
        return -1;
    return major == wanted ? 0 : malformed();
}

int check_count(struct reader *r, uint64_t count, uint64_t each) {
    return count > (uint64_t)(r->end - r->at) / each ? malformed() : 0;
}

int take(struct reader *r, uint64_t size, const uint8_t **bytes) {
    if (check_count(r, size, 1))
        return -1;
    *bytes = r->at;
    r->at += size;
    return 0;
}

int read_array(struct reader *r, uint64_t *count) {
    return read_major(r, ARRAY, count) || check_count(r, *count, 1) ? -1 : 0;
}

int read_map(struct reader *r, uint64_t *count) {
    return read_major(r, MAP, count) || check_count(r, *count, 2) ? -1 : 0;
}

int read_uint(struct reader *r, uint64_t *value) { return read_major(r, UINT, value); }

int read_time(struct reader *r, int64_t *ms) {
    int major;
    uint64_t argument;
    if (read_head(r, &major, &argument))
        return -1;
    if (major > NEGATIVE || argument > 8640000000000000u - (major == NEGATIVE)) /* the range of JavaScript's Date */
        return malformed();
    *ms = major == UINT ? (int64_t)argument : -1 - (int64_t)argument;
    return 0;
}

int read_bytes(struct reader *r, const uint8_t **bytes, size_t *size) {
    uint64_t argument;
    if (read_major(r, BYTES, &argument) || take(r, argument, bytes))
        return -1;
    *size = (size_t)argument;
    return 0;
}

int read_text(struct reader *r, const char **text, size_t *size) {
    uint64_t argument;
    const uint8_t *bytes;
    if (read_major(r, TEXT, &argument) || take(r, argument, &bytes))
        return -1;
    if (!text_is_utf8(bytes, (size_t)argument))
        return malformed();
    *text = (const char *)bytes;
    *size = (size_t)argument;
    return 0;
}

int read_key(struct reader *r, const char **key, size_t *size) {
    struct key last = {*key, *size};
    if (read_text(r, key, size))
        return -1;
    struct key next = {*key, *size};
    return last.text && key_order(&last, &next) >= 0 ? malformed() : 0; /* out of order, or twice */
}

int read_big(struct reader *r, const uint8_t **bytes, size_t *size) {
    if (read_bytes(r, bytes, size))
        return -1;
    return *size <= 8 || **bytes == 0 ? malformed() : 0;
}

static int read_not_finite(struct reader *r, double *number) {
    const uint8_t *bytes;
    if (take(r, 2, &bytes))
        return -1;
    switch (bytes[0] << 8 | bytes[1]) {
    case 0x7c00: *number = (double)INFINITY; return 0;
    case 0xfc00: *number = -(double)INFINITY; return 0;
    case 0x7e00: *number = (double)NAN; return 0;
    default: return malformed();
    }
}

int read_simple(struct reader *r, int *which, double *number) {
    const uint8_t *bytes;
    *which = *r->at++ & 31;
    switch (*which) {
    case 20:
    case 21:
    case 22: return 0;
    case 25: return read_not_finite(r, number);
    case 27:
        if (take(r, 8, &bytes))
            return -1;
        uint64_t bits = big_endian(bytes, 8);
        memcpy(number, &bits, 8);
        return isfinite(*number) ? 0 : malformed();
    default: return malformed();
    }
}

/* ---- what is not known ---- */

static int skip_text(struct reader *r, uint64_t size) {
    const uint8_t *bytes;
    if (take(r, size, &bytes))
        return -1;
    return text_is_utf8(bytes, (size_t)size) ? 0 : malformed();
}

static int skip_map(struct reader *r, uint64_t count, int depth) {
    const char *key = NULL;
    size_t size = 0;
    if (check_count(r, count, 2))
        return -1;
    while (count--)
        if (read_key(r, &key, &size) || skip_items(r, 1, depth))
            return -1;
    return 0;
}

static int skip_item(struct reader *r, int depth) {
    int major, which;
    uint64_t argument;
    const uint8_t *bytes;
    double number;
    if (r->at < r->end && *r->at >> 5 == SIMPLE)
        return read_simple(r, &which, &number);
    if (read_head(r, &major, &argument))
        return -1;
    if (major >= ARRAY && depth >= DEPTH_MAX)
        return malformed();
    switch (major) {
    case BYTES: return take(r, argument, &bytes);
    case TEXT: return skip_text(r, argument);
    case ARRAY: return skip_items(r, argument, depth + 1);
    case MAP: return skip_map(r, argument, depth + 1);
    case TAG: return skip_item(r, depth + 1);
    default: return 0;
    }
}

int skip_items(struct reader *r, uint64_t count, int depth) {
    if (check_count(r, count, 1))
        return -1;
    while (count--)
        if (skip_item(r, depth))
            return -1;
    return 0;
}

/* ---- time zones ---- */

static bool is_of_zone(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("._/+-", c));
}

size_t size_before_zone(const char *text, size_t size) {
    enum { ZONE_MAX = 64 };
    size_t at = size ? size - 1 : 0;
    if (!size || text[at] != ']')
        return 0;
    while (at && is_of_zone(text[at - 1]))
        at--;
    size_t length = size - 1 - at;
    return at && text[at - 1] == '[' && length && length <= ZONE_MAX ? at - 1 : 0;
}

/* ---- UTF-8 ---- */

static size_t sequence_size(const uint8_t *p, size_t left) {
    uint8_t first = p[0], low = 0x80, high = 0xbf;
    size_t size;
    if (first >= 0xc2 && first <= 0xdf)
        size = 2;
    else if (first >= 0xe0 && first <= 0xef)
        size = 3;
    else if (first >= 0xf0 && first <= 0xf4)
        size = 4;
    else
        return 0;
    if (size > left)
        return 0;
    if (first == 0xe0) low = 0xa0;  /* overlong */
    if (first == 0xed) high = 0x9f; /* surrogates */
    if (first == 0xf0) low = 0x90;  /* overlong */
    if (first == 0xf4) high = 0x8f; /* beyond U+10FFFF */
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

bool text_is_utf8(const uint8_t *text, size_t size) {
    size_t i = 0;
    while (i < size) {
        uint64_t eight;
        if (size - i >= 8 && (memcpy(&eight, text + i, 8), !(eight & 0x8080808080808080u))) {
            i += 8;
        } else if (text[i] < 0x80) {
            i++;
        } else {
            size_t length = sequence_size(text + i, size - i);
            if (!length)
                return false;
            i += length;
        }
    }
    return true;
}
