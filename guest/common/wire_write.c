/* CBOR out, as bytes: RFC 8949 section 4.2.1 with the float64 profile of ABI.md, straight into the output window. */
#include <math.h>
#include <string.h>

#include "guest.h"

static inline int room(size_t size) {
    return size > (size_t)(TURN->limit - TURN->at) ? raise_fault(FAULT_OUTPUT) : 0;
}

int put(const void *bytes, size_t size) {
    if (room(size))
        return -1;
    memcpy(TURN->at, bytes, size);
    TURN->at += size;
    return 0;
}

static void put_big_endian(uint64_t value, int size) {
    for (int shift = 8 * (size - 1); shift >= 0; shift -= 8)
        *TURN->at++ = (uint8_t)(value >> shift);
}

int write_head(int major, uint64_t argument) {
    int info = argument < 24 ? (int)argument : argument <= 0xff ? 24 : argument <= 0xffff ? 25 : argument <= 0xffffffff ? 26 : 27;
    if (room(9))
        return -1;
    *TURN->at++ = (uint8_t)(major << 5 | info);
    if (info >= 24)
        put_big_endian(argument, 1 << (info - 24));
    return 0;
}

int write_int(int64_t value) {
    return value < 0 ? write_head(NEGATIVE, (uint64_t)(-1 - value)) : write_head(UINT, (uint64_t)value);
}

int write_text(const char *text, size_t size) { return write_head(TEXT, size) || put(text, size) ? -1 : 0; }

int write_float(double number) {
    uint64_t bits;
    if (isnan(number))
        return put("\xf9\x7e\x00", 3);
    if (isinf(number))
        return put(number > 0 ? "\xf9\x7c\x00" : "\xf9\xfc\x00", 3);
    memcpy(&bits, &number, 8);
    if (room(9))
        return -1;
    *TURN->at++ = 0xfb;
    put_big_endian(bits, 8);
    return 0;
}

int write_big(const uint8_t *bytes, size_t size, bool negative) {
    if (size <= 8) {
        uint64_t value = 0;
        for (size_t i = 0; i < size; i++)
            value = value << 8 | bytes[i];
        return write_head(negative ? NEGATIVE : UINT, value);
    }
    return write_head(TAG, negative ? 3 : 2) || write_head(BYTES, size) || put(bytes, size) ? -1 : 0;
}

int key_order(const struct key *a, const struct key *b) {
    if (a->size != b->size)
        return a->size < b->size ? -1 : 1;
    return memcmp(a->text, b->text, a->size);
}

/* ---- refusals ---- */

struct message {
    char text[600];
    size_t size;
};

static void append(struct message *m, const char *text, size_t size) {
    size_t left = sizeof m->text - m->size;
    if (size > left)
        size = left;
    memcpy(m->text + m->size, text, size);
    m->size += size;
}

static bool is_identifier(const char *key, size_t size) {
    for (size_t i = 0; i < size; i++) {
        char c = key[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
        if (!letter && !(i && c >= '0' && c <= '9'))
            return false;
    }
    return size > 0;
}

static void append_place(struct message *m, const struct place *place) {
    enum { KEY_MAX = 60 };
    if (!place->up) {
        append(m, place->key, place->key_size);
    } else if (!place->key) {
        char digits[24];
        int count = 0;
        for (int64_t i = place->index; i || !count; i /= 10)
            digits[sizeof digits - 1 - (size_t)count++] = (char)('0' + i % 10);
        append(m, "[", 1);
        append(m, digits + sizeof digits - count, (size_t)count);
        append(m, "]", 1);
    } else {
        bool plain = is_identifier(place->key, place->key_size);
        append(m, plain ? "." : "[\"", plain ? 1 : 2);
        append(m, place->key, place->key_size > KEY_MAX ? KEY_MAX : place->key_size);
        append(m, "\"]", plain ? 0 : 2);
    }
}

int refuse(const struct place *place, const char *why) {
    const struct place *chain[DEPTH_MAX + 4];
    struct message m = {.size = 0};
    int count = 0;
    for (; place && count < DEPTH_MAX + 4; place = place->up)
        chain[count++] = place;
    while (count--)
        append_place(&m, chain[count]);
    append(&m, " ", 1);
    append(&m, why, strlen(why));
    return throw_type_error(m.text, m.size);
}
