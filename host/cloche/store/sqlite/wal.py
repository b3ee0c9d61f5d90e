"""Telling a torn write-ahead log from a damaged one, before SQLite opens it (sqlite.org/fileformat2.html, section 4).

SQLite reads a WAL up to the first frame whose checksum does not fit and forgets the rest, whatever it is. That is right for a
tail that was being written when the power went out: no caller was told that it is durable. It is wrong for damage in the
middle: commits after it were acknowledged, and would be lost silently. The difference is what lies beyond the bad frame. A
commit begins only when the one before it is synced, so a good commit after a bad frame means that the bad one was good once;
except in the last commit, whose frames a disk may have written in any order: there, frames that were never written at all
(zeros, or those of the WAL's life before) are a torn tail.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_HEADER, _FRAME = 32, 24
_MAGIC = 0x377F0682  # the lowest bit says that checksums are of big-endian words
_VERSION = 3007000
_READS_MAX = 20


@dataclass(frozen=True, slots=True)
class _Wal:
    data: bytes
    order: str  # of the words that are summed
    page_bytes: int

    @property
    def frames(self) -> int:
        return (len(self.data) - _HEADER) // self.frame_bytes

    @property
    def frame_bytes(self) -> int:
        return _FRAME + self.page_bytes

    def place(self, frame: int) -> int:
        return _HEADER + frame * self.frame_bytes

    def is_commit(self, frame: int) -> bool:
        return self._words(frame)[1] != 0

    def salts(self, frame: int) -> tuple[int, int]:
        first, second = self._words(frame)[2:4]
        return first, second

    def checksum(self, frame: int) -> tuple[int, int]:
        """As it is stored; that of the header stands in front of the first frame."""
        first, second = self._words(frame)[4:6] if frame >= 0 else struct.unpack_from(">2I", self.data, 24)
        return first, second

    def is_good(self, frame: int) -> bool:
        """Whether it has a page, and its checksum goes on from that of the frame before it.

        From the one that is stored there, or, where that alone is damaged, from the one that should be.
        """
        if self._words(frame)[0] == 0:
            return False
        if self._summed(frame, self.checksum(frame - 1)) == self.checksum(frame):
            return True
        return frame > 0 and self._summed(frame, self._summed(frame - 1, self.checksum(frame - 2))) == self.checksum(
            frame
        )

    def _summed(self, frame: int, before: tuple[int, int]) -> tuple[int, int]:
        at = self.place(frame)
        head, page = self.data[at : at + 8], self.data[at + _FRAME : at + self.frame_bytes]
        return self._sum(page, self._sum(head, before))

    def _words(self, frame: int) -> tuple[int, ...]:
        return struct.unpack_from(">6I", self.data, self.place(frame))

    def _sum(self, data: bytes, start: tuple[int, int]) -> tuple[int, int]:
        return _checksum(self.order, data, *start)


def damage(store: Path) -> str | None:
    """What is wrong with the WAL of the store at `store` beyond a torn tail; None if nothing is.

    Another process may be writing meanwhile: what looks like damage is only believed if it is still the same when the file is
    read again.
    """
    file = Path(f"{store}-wal")
    before = None
    for _ in range(_READS_MAX):
        data = file.read_bytes() if file.exists() else b""
        found = _damage(data)
        if found is None or data == before:
            return found
        before = data
    return None  # it changes all the time: there is a process that writes it, and has opened it before


def _damage(data: bytes) -> str | None:
    if len(data) <= _HEADER:
        return None
    magic, version, page_bytes, _, *salts = struct.unpack_from(">6I", data)
    order = ">" if magic & 1 else "<"
    is_whole = _checksum(order, data[:24], 0, 0) == struct.unpack_from(">2I", data, 24)
    if not is_whole or magic & ~1 != _MAGIC or version != _VERSION:
        return "its header is not what was written" if _holds_commits(data) else None
    wal = _Wal(data, order, page_bytes)
    current = (salts[0], salts[1])
    bad = next((n for n in range(wal.frames) if wal.salts(n) != current or not wal.is_good(n)), wal.frames)
    beyond = [n for n in range(bad + 1, wal.frames) if wal.salts(n) == current and wal.is_commit(n) and wal.is_good(n)]
    if not beyond:
        return None
    if len(beyond) == 1 and _was_never_written(wal, bad, beyond[0], current):
        return None
    return f"frame {bad + 1} is not what was written, and {len(beyond)} later commits are"


def _was_never_written(wal: _Wal, bad: int, commit: int, current: tuple[int, int]) -> bool:
    """Whether the last commit is torn: nothing after it was begun, and what does not fit in it was never written."""
    older = range(1, 1 << 16)  # the first salt is counted up each time the WAL begins anew
    for frame in range(bad, commit):
        salts = wal.salts(frame)
        if salts == current:
            if not wal.is_good(frame) and (frame == bad or wal.is_good(frame - 1)):
                return False
        elif salts != (0, 0) and (salts[1] == current[1] or (current[0] - salts[0]) % (1 << 32) not in older):
            return False
    return commit == wal.frames - 1 or wal.salts(commit + 1) != current


def _holds_commits(data: bytes) -> bool:
    """Whether there are commits after a header that cannot be read: whatever it said, they were written."""
    for page_bytes in (1 << power for power in range(9, 17)):
        for order in "<>":
            wal = _Wal(data, order, page_bytes)
            if any(wal.is_commit(n) and wal.is_good(n) for n in range(1, min(wal.frames, 64))):
                return True
            if wal.frames and wal.is_good(0):
                return True
    return False


def _checksum(order: str, data: bytes, first: int, second: int) -> tuple[int, int]:
    """SQLite's: two sums over 32-bit words, each taking the other in."""
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for one, two in zip(words, words, strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second
