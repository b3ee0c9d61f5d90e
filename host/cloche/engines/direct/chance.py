"""Chance of a run: xoshiro256** (Blackman and Vigna), its state spread from the seed by splitmix64; `guest/common/chance.c`."""

from __future__ import annotations

import struct
from typing import Final

_MASK: Final = (1 << 64) - 1


class Chance:
    """Bytes that follow from the 16 of a seed."""

    def __init__(self, seed: bytes) -> None:
        halves = list(struct.unpack("<2Q", seed))
        state = []
        for index in range(4):
            half, other = index & 1, 1 - (index & 1)
            halves[half] = (halves[half] + 0x9E3779B97F4A7C15) & _MASK
            mixed = halves[half]
            mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
            mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
            state.append((mixed ^ mixed >> 31) ^ (halves[other] if index & 2 else 0))
        self._state = state if any(state) else [1, 0, 0, 0]  # zero is the one state it never leaves

    def bytes(self, size: int) -> bytes:
        made = b"".join(struct.pack("<Q", self._next()) for _ in range(0, size, 8))
        return made[:size]

    def _next(self) -> int:
        s = self._state
        result = _rotated(s[1] * 5 & _MASK, 7) * 9 & _MASK
        shifted = s[1] << 17 & _MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= shifted
        s[3] = _rotated(s[3], 45)
        return result


def _rotated(value: int, by: int) -> int:
    return (value << by | value >> (64 - by)) & _MASK
