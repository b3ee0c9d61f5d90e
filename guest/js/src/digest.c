/* crypto.subtle.digest: SHA-1, SHA-256, SHA-384 and SHA-512 (FIPS 180-4). */
#include <string.h>

#include "guest.h"

/* The fractions of the cube roots of the first 80 primes, and of the square roots of the first 16; SHA-256 takes the upper half of
 * each, SHA-384 begins with the second eight. */
static const uint64_t cube_roots[80] = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc, 0x3956c25bf348b538,
    0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118, 0xd807aa98a3030242, 0x12835b0145706fbe,
    0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2, 0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235,
    0xc19bf174cf692694, 0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5, 0x983e5152ee66dfab,
    0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4, 0xc6e00bf33da88fc2, 0xd5a79147930aa725,
    0x06ca6351e003826f, 0x142929670a0e6e70, 0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed,
    0x53380d139d95b3df, 0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30, 0xd192e819d6ef5218,
    0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8, 0x19a4c116b8d2d0c8, 0x1e376c085141ab53,
    0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8, 0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373,
    0x682e6ff3d6b2b8a3, 0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b, 0xca273eceea26619c,
    0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178, 0x06f067aa72176fba, 0x0a637dc5a2c898a6,
    0x113f9804bef90dae, 0x1b710b35131c471b, 0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc,
    0x431d67c49c100d4c, 0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};
static const uint64_t square_roots[16] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1, 0x510e527fade682d1,
    0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179, 0xcbbb9d5dc1059ed8, 0x629a292a367cd507,
    0x9159015a3070dd17, 0x152fecd8f70e5939, 0x67332667ffc00b31, 0x8eb44a8768581511, 0xdb0c2e0d64f98fa7,
    0x47b5481dbefa4fa4,
};

struct hash {
    int bits; /* of its digest: 160, 256, 384 or 512 */
    uint64_t state[8];
};

static uint32_t rotated_left(uint32_t word, int by) { return word << by | word >> (32 - by); }
static uint32_t rotated(uint32_t word, int by) { return word >> by | word << (32 - by); }
static uint64_t rotated_long(uint64_t word, int by) { return word >> by | word << (64 - by); }

static uint64_t word_at(const uint8_t *bytes, int size) {
    uint64_t word = 0;
    for (int i = 0; i < size; i++)
        word = word << 8 | bytes[i];
    return word;
}

static void add_block_of_sha_1(uint64_t *state, const uint8_t *block) {
    static const uint32_t keys[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t w[80], s[5];
    for (int i = 0; i < 80; i++)
        w[i] = i < 16 ? (uint32_t)word_at(block + 4 * i, 4) : rotated_left(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 5; i++)
        s[i] = (uint32_t)state[i];
    for (int i = 0; i < 80; i++) {
        uint32_t chosen = (s[1] & s[2]) | (~s[1] & s[3]), odd = s[1] ^ s[2] ^ s[3];
        uint32_t most = (s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3]);
        uint32_t mixed = i < 20 ? chosen : i >= 40 && i < 60 ? most : odd;
        uint32_t next = rotated_left(s[0], 5) + mixed + s[4] + keys[i / 20] + w[i];
        memmove(s + 1, s, 4 * sizeof *s);
        s[0] = next;
        s[2] = rotated_left(s[2], 30);
    }
    for (int i = 0; i < 5; i++)
        state[i] = (uint32_t)(state[i] + s[i]);
}

static void add_block_of_sha_256(uint64_t *state, const uint8_t *block) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 64; i++) {
        w[i] = (uint32_t)word_at(block + 4 * (i & 15), 4);
        if (i >= 16)
            w[i] = w[i - 16] + w[i - 7] + (rotated(w[i - 15], 7) ^ rotated(w[i - 15], 18) ^ w[i - 15] >> 3) +
                   (rotated(w[i - 2], 17) ^ rotated(w[i - 2], 19) ^ w[i - 2] >> 10);
    }
    for (int i = 0; i < 8; i++)
        s[i] = (uint32_t)state[i];
    for (int i = 0; i < 64; i++) {
        uint32_t chosen = (s[4] & s[5]) ^ (~s[4] & s[6]), most = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        uint32_t one = s[7] + (rotated(s[4], 6) ^ rotated(s[4], 11) ^ rotated(s[4], 25)) + chosen +
                       (uint32_t)(cube_roots[i] >> 32) + w[i];
        uint32_t two = (rotated(s[0], 2) ^ rotated(s[0], 13) ^ rotated(s[0], 22)) + most;
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += one;
        s[0] = one + two;
    }
    for (int i = 0; i < 8; i++)
        state[i] = (uint32_t)(state[i] + s[i]);
}

static void add_block_of_sha_512(uint64_t *state, const uint8_t *block) {
    uint64_t w[80], s[8];
    for (int i = 0; i < 80; i++) {
        w[i] = word_at(block + 8 * (i & 15), 8);
        if (i >= 16)
            w[i] = w[i - 16] + w[i - 7] + (rotated_long(w[i - 15], 1) ^ rotated_long(w[i - 15], 8) ^ w[i - 15] >> 7) +
                   (rotated_long(w[i - 2], 19) ^ rotated_long(w[i - 2], 61) ^ w[i - 2] >> 6);
    }
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 80; i++) {
        uint64_t chosen = (s[4] & s[5]) ^ (~s[4] & s[6]), most = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        uint64_t one = s[7] + (rotated_long(s[4], 14) ^ rotated_long(s[4], 18) ^ rotated_long(s[4], 41)) + chosen +
                       cube_roots[i] + w[i];
        uint64_t two = (rotated_long(s[0], 28) ^ rotated_long(s[0], 34) ^ rotated_long(s[0], 39)) + most;
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += one;
        s[0] = one + two;
    }
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

static void begin(struct hash *hash, int bits) {
    static const uint32_t of_sha_1[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    hash->bits = bits;
    for (int i = 0; i < 8; i++)
        hash->state[i] = bits == 160 ? (i < 5 ? of_sha_1[i] : 0)
                                     : bits == 256 ? square_roots[i] >> 32 : square_roots[bits == 384 ? 8 + i : i];
}

static void add_block(struct hash *hash, const uint8_t *block) {
    if (hash->bits == 160)
        add_block_of_sha_1(hash->state, block);
    else if (hash->bits == 256)
        add_block_of_sha_256(hash->state, block);
    else
        add_block_of_sha_512(hash->state, block);
}

/* What is left of the text, a one and zeros, and the number of its bits at the end of a block. */
static void add_rest(struct hash *hash, const uint8_t *rest, size_t left, uint64_t size, size_t block_size) {
    uint8_t blocks[256] = {0};
    size_t end = left + 1 + block_size / 8 > block_size ? 2 * block_size : block_size;
    memcpy(blocks, rest, left);
    blocks[left] = 0x80;
    for (int i = 0; i < 8; i++)
        blocks[end - 1 - (size_t)i] = (uint8_t)(size * 8 >> 8 * i);
    for (size_t at = 0; at < end; at += block_size)
        add_block(hash, blocks + at);
}

/* digestOf(bytes, bits): a Uint8Array. */
static JSValue digest_of(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    struct hash hash;
    uint8_t digest[64];
    size_t size;
    int32_t bits;
    uint8_t *bytes = JS_GetUint8Array(ctx, &size, argv[0]);
    (void)this_value, (void)argc;
    if (!bytes || JS_ToInt32(ctx, &bits, argv[1]))
        return JS_EXCEPTION;
    size_t at = 0, block_size = bits > 256 ? 128 : 64, word_size = block_size / 16;
    begin(&hash, bits);
    for (; size - at >= block_size; at += block_size)
        add_block(&hash, bytes + at);
    add_rest(&hash, bytes + at, size - at, size, block_size);
    for (size_t i = 0; i < sizeof digest; i++)
        digest[i] = i / word_size < 8 ? (uint8_t)(hash.state[i / word_size] >> 8 * (word_size - 1 - i % word_size)) : 0;
    return JS_NewUint8ArrayCopy(ctx, digest, (size_t)bits / 8);
}

int digest_define(void) {
    static const JSCFunctionListEntry functions[] = {JS_CFUNC_DEF("digestOf", 2, digest_of)};
    return JS_SetPropertyFunctionList(guest.ctx, guest.namespace_object, functions, 1);
}
