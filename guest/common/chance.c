/* Chance: xoshiro256** (Blackman and Vigna), its state spread from the seed by splitmix64. */
#include <string.h>

#include "guest.h"

static uint64_t splitmix(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void chance_seed(uint64_t state[4], const uint8_t seed[16]) {
    uint64_t halves[2];
    memcpy(halves, seed, 16);
    for (int i = 0; i < 4; i++)
        state[i] = splitmix(&halves[i & 1]) ^ (i & 2 ? halves[1 - (i & 1)] : 0);
    if (!(state[0] | state[1] | state[2] | state[3]))
        state[0] = 1; /* the one state it never leaves */
}

static uint64_t rotate_left(uint64_t value, int by) { return value << by | value >> (64 - by); }

uint64_t chance_next(uint64_t state[4]) {
    uint64_t *s = state, result = rotate_left(s[1] * 5, 7) * 9, shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

void chance_fill(uint64_t state[4], uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i += 8) {
        uint64_t eight = chance_next(state);
        memcpy(bytes + i, &eight, size - i < 8 ? size - i : 8);
    }
}
