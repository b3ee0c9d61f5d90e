"""A cell as bytes: where its memory differs from that of its image, XORed with it and compressed.

A page of an interpreter's heap that changed differs in a few words, so the XOR is nearly all zeros: a sequential workflow
of the JavaScript guest takes 2 KB, after ten events or a hundred thousand. The XOR, not the page, is also what makes saving
cheap (0.4 ms in all for 0.8 MB of state).

What is written here is trusted when it is read: whoever stores it authenticates it (`run.checkpoints`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from cloche.errors import CheckpointRejected
from cloche.history.values import decode, encode_plain
from cloche.sandbox.images import Image, changed_pages

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FORMAT = 1
_LEVEL = 1  # mostly zeros: higher levels take longer and give nothing


def save(image: Image, state: bytes, fuel_used: int) -> bytes:
    """The cell of `image` whose memory, from where state begins, is `state`. Pure: any thread may do it."""
    before = image.state()
    runs = changed_pages(before, state)
    difference = b"".join(xor(data, before[at : at + len(data)]) for at, data in runs)
    places = [[at, len(data)] for at, data in runs]
    return encode_plain([FORMAT, image.digest, len(state), fuel_used, places, zstd.compress(difference, _LEVEL)])


@dataclass(frozen=True, slots=True)
class Saved:
    """What `save` kept, with nothing in it that reaches beyond `state_bytes`. `packed` is compressed yet."""

    state_bytes: int
    fuel_used: int
    places: list[list[int]]
    packed: bytes


def read(image_digest: str, saved: bytes, memory_bytes_max: int) -> Saved:
    """Look at what `save` wrote, or says that it did.

    Raises:
        CheckpointRejected: it is of another image or format, or would be larger than the limit.
    """
    wire = decode(saved)
    if not _has_form(wire):
        raise CheckpointRejected("it does not have the form of a saved cell")
    version, digest, state_bytes, fuel_used, places, packed = wire
    if version != FORMAT or digest != image_digest:
        raise CheckpointRejected("it was made by another version of the code or of cloche")
    size = sum(length for _, length in places)
    if max(size, state_bytes) > memory_bytes_max:
        raise CheckpointRejected(f"it holds {size} bytes, more than the memory limit of {memory_bytes_max}")
    if any(at + length > state_bytes for at, length in places):
        raise CheckpointRejected("its pages lie outside of its state")
    return Saved(state_bytes, fuel_used, places, packed)


def _has_form(wire: Any) -> bool:
    match wire:
        case [_, _, int(state_bytes), int(fuel_used), list(places), bytes()]:
            numbers = [state_bytes, fuel_used, *(number for place in places for number in _pair(place))]
            return all(type(number) is int and number >= 0 for number in numbers)
    return False


def _pair(place: Any) -> tuple[Any, Any]:
    return (place[0], place[1]) if isinstance(place, list) and len(place) == 2 else (-1, -1)


def unpack(image: Image, saved: bytes, memory_bytes_max: int) -> tuple[list[tuple[int, bytes]], int, int]:
    """What `save` kept: (offset, XOR with the image) of each run of pages, bytes of state, fuel used.

    Raises:
        CheckpointRejected: as `read`.
    """
    kept = read(image.digest, saved, memory_bytes_max)
    size = sum(length for _, length in kept.places)
    try:
        difference = zstd.ZstdDecompressor().decompress(kept.packed, max_length=size + 1)
    except zstd.ZstdError as error:
        raise CheckpointRejected(f"its pages cannot be read: {error}") from error
    if len(difference) != size:
        raise CheckpointRejected("its pages are not as long as it says")
    runs, start = [], 0
    for at, length in kept.places:
        runs.append((at, difference[start : start + length]))
        start += length
    return runs, kept.state_bytes, kept.fuel_used


def xor(left: bytes, right: bytes) -> bytes:
    """Byte by byte; the shorter one counts as zero beyond its end. Through integers: 20 times as fast as a loop."""
    size = max(len(left), len(right))
    return (int.from_bytes(left, "little") ^ int.from_bytes(right, "little")).to_bytes(size, "little")
