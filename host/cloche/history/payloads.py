"""Large bodies in parts that are stored once, by content.

A body is cut where its content says so (content-defined chunking), so that one that grew, or changed somewhere, shares all
other parts with the one before it: a conversation that is passed on whole costs what was added. The list of parts is cut in the
same way, and so on up to one root: a tree, of which equal branches are equal too. A record holds the root; a part's name is a
hash of its content, so the chain that covers the record covers every byte below it.

Where to cut is decided at the speed of C: `bytes.translate` marks a sixth of all byte values, `bytes.find` looks for four
marked bytes in a row (1 to 2 ms a MB). Where a window has none, that of its rarer places whose next 32 bytes have the
greatest checksum is taken (25 to 50 ms a MB: rows of numbers, text with few letters). A reader only joins: how a body was cut
is no part of the format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from zlib import crc32

from cloche.errors import BrokenChain

PART_BYTES_MAX = 16384  # of any part that there may be
CUT_BYTES_MIN, CUT_BYTES_MAX = 1024, 8192  # of those that are cut today
DIGEST_BYTES = 32
_FANOUT_MIN, _FANOUT_MAX = 8, CUT_BYTES_MAX // DIGEST_BYTES
SIZE_MAX = 1 << 28  # what crosses the glass is far smaller
_DEPTH_MAX = 8  # 16 KiB · 8^8: more than any body

_MARKS = bytes(blake2b(bytes([2, value])).digest()[0] * 6 < 256 for value in range(256))
_ANCHOR = b"\x01\x01\x01\x01"
_WEAK_ANCHORS = (re.compile(rb"\x01(?=\x01)"), re.compile(rb"\x01(?=\x00{6})"), re.compile(rb"\x01"))
_STRING_BYTES = 32


@dataclass(frozen=True, slots=True)
class Payload:
    """A body as a tree: `parts` holds all of it by digest. At depth 0 the root is the body; above, a part lists digests."""

    size: int
    depth: int
    root: bytes
    parts: Mapping[bytes, bytes] = field(repr=False, hash=False)

    def join(self) -> bytes:
        """The body, whole."""
        return b"".join(self._leaves(self.root, self.depth))

    def _leaves(self, digest: bytes, depth: int) -> Iterator[bytes]:
        part = self.parts[digest]
        if depth == 0:
            yield part
        else:
            for child in children(part):
                yield from self._leaves(child, depth - 1)


def split(body: bytes) -> Payload:
    """`body` as a tree of parts. The same body gives the same tree."""
    parts: dict[bytes, bytes] = {}
    digests = [_put(parts, 0, part) for part in _cut(body)]
    depth = 0
    while len(digests) > 1:
        depth += 1
        digests = [_put(parts, depth, b"".join(group)) for group in _grouped(digests)]
    return Payload(len(body), depth, digests[0], parts)


def gather(
    size: int, depth: int, root: bytes, find: Callable[[bytes], bytes | None], known: Mapping[bytes, bytes]
) -> Payload:
    """The tree below `root`, its parts taken from `known` (which are verified) or found and verified.

    Raises:
        BrokenChain: a part is missing, or not what its digest says.
    """
    if not (_is_within(size, SIZE_MAX) and _is_within(depth, _DEPTH_MAX) and isinstance(root, bytes)):
        raise BrokenChain("its payload is not described as one")
    most = size // CUT_BYTES_MIN + 1
    parts: dict[bytes, bytes] = {}
    level, total = [root], 0
    for below in range(depth, -1, -1):
        following: list[bytes] = []
        for digest in level:
            part = parts.get(digest) or known.get(digest) or _found(digest, below, find)
            parts[digest] = part
            if below:
                following += children(part)
                if len(following) > most:  # a list that names itself ten times, ten times over
                    raise BrokenChain(f"its payload has more parts than {size} bytes have")
            else:
                total += len(part)
        level = following
    if total != size:
        raise BrokenChain(f"its payload has {total} bytes, and should have {size}")
    return Payload(size, depth, root, parts)


def _is_within(number: object, most: int) -> bool:
    return isinstance(number, int) and 0 <= number <= most


def part_digest(depth: int, data: bytes) -> bytes:
    """The name of a part. Its depth is in it: text that looks like a list of digests is not taken for one."""
    return blake2b(data, digest_size=DIGEST_BYTES, person=b"cloche part %d" % depth).digest()


def children(part: bytes) -> list[bytes]:
    """The digests that a part above the leaves lists."""
    return [part[at : at + DIGEST_BYTES] for at in range(0, len(part), DIGEST_BYTES)]


def _found(digest: bytes, depth: int, find: Callable[[bytes], bytes | None]) -> bytes:
    part = find(digest)
    if part is None:
        raise BrokenChain(f"a part of its payload is not in the store ({digest.hex()[:12]})")
    if part_digest(depth, part) != digest:
        raise BrokenChain(f"a part of its payload is not what was written ({digest.hex()[:12]})")
    return part


def _put(parts: dict[bytes, bytes], depth: int, data: bytes) -> bytes:
    digest = part_digest(depth, data)
    parts[digest] = data
    return digest


def _cut(body: bytes) -> Iterator[bytes]:
    marks = body.translate(_MARKS)
    at, size = 0, len(body)
    while size - at > CUT_BYTES_MIN:
        first, last = at + CUT_BYTES_MIN, min(at + CUT_BYTES_MAX, size)
        end = marks.find(_ANCHOR, first, last)
        if end < 0:
            if size - at <= CUT_BYTES_MAX:
                break
            end = _weak_place(body, marks, first, last)
        yield body[at:end]
        at = end
    yield body[at:]


def _weak_place(body: bytes, marks: bytes, first: int, last: int) -> int:
    for anchor in _WEAK_ANCHORS:
        places = [match.start() for match in anchor.finditer(marks, first, last)]
        if places:
            return max(places, key=lambda place: crc32(body[place : place + _STRING_BYTES]))
    return last


def _grouped(digests: list[bytes]) -> Iterator[list[bytes]]:
    """Behind one digest in 64 a list ends: which, the digests themselves say."""
    group: list[bytes] = []
    for digest in digests:
        group.append(digest)
        if (len(group) >= _FANOUT_MIN and digest[0] < 4) or len(group) == _FANOUT_MAX:
            yield group
            group = []
    if group:
        yield group
