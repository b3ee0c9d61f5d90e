"""Records: what the log holds, and the chain that binds them.

A record is an envelope around the exact bytes of a message, or around a note of the host's own. On disk it is one CBOR
array `[1, seq, kind, time, call, path, body]`, or with a large body `[2, seq, kind, time, call, path, [size, depth, root]]`,
where the root names a tree of parts (`history.payloads`). Its hash is `BLAKE2b-256(hash of the record before ‖ those bytes)`.
The chain begins from format, tenant and run, so that a record cannot be moved to another run. All of it is written down in
`store/FORMAT.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

from cloche.errors import BrokenChain, HistoryError, StoreError
from cloche.history.ids import CallId, Path, RunKey, Seq, TimeMs
from cloche.history.payloads import SIZE_MAX, Payload, gather, split
from cloche.history.values import decode, encode_plain

CHAIN = 1  # the form of hashes: what a chain begins from
INLINE, IN_PARTS = 1, 2  # the forms of records
BODY_BYTES_MAX = 4096  # what a record holds itself: cutting a smaller body costs more than it can save
HASH_BYTES = 32
_NONE: Mapping[bytes, bytes] = MappingProxyType({})


class Kind(IntEnum):
    """What a record says. The numbers are stored: they are never changed or used again.

    Which message or note a kind holds is said by its class, in `history.messages` and `history.notes`.
    """

    RUN_CREATED = 1  # note: what the run is pinned to
    RUN_STARTED = 2  # event
    STEP_CALLED = 3  # command
    ATTEMPT_STARTED = 4  # note
    ATTEMPT_FAILED = 5  # note
    STEP_COMPLETED = 6  # event
    STEP_FAILED = 7  # event
    TIMER_SET = 8  # command
    TIMER_FIRED = 9  # event
    ENTERED = 10  # command
    LEFT = 11  # command
    LOG_LINE = 12  # command
    CALL_ABANDONED = 13  # command
    CANCEL_REQUESTED = 14  # event, not delivered: nothing is from here on
    RUN_COMPLETED = 15  # command
    RUN_FAILED = 16  # command
    RUN_CANCELED = 17  # note
    RUN_STOPPED = 18  # note: the host ended the run (guest fault, deadlock)
    STEP_SUSPENDED = 19  # event
    STEP_RESUMED = 20  # event
    STEP_BAILED = 21  # event
    HOOK_OPENED = 22  # command
    HOOK_RECEIVED = 23  # event
    RUN_PAUSED = 24  # note: one step of the graph was asked for, and is done
    RUN_CONTINUED = 25  # note
    LATE_RESULT = 26  # note: the end of a call that nobody waited for any more
    STEP_WROTE = 27  # note: output of a step while it runs
    RUN_UPGRADED = 28  # event: the run goes on under other code, which its whole history fits
    PATCHED = 29  # command: the run takes the path of a patch
    CHILD_STARTED = 30  # command: a run of its own, whose end this one waits for
    CHILD_ENDED = 31  # event
    CANCEL_DELIVERED = 32  # event: the code is told to end, and may clean up
    RUN_CANCELED_BY_CODE = 33  # command, that of a failure: code that was told to end has ended with `Canceled`
    TAGS_SET = 34  # note: names and values by which the run is found
    HOOK_FAILED = 35  # event: what was waited for will not come
    TAGGED = 36  # command: tags, by the code
    DEADLINE_SET = 37  # command
    RUN_CONTINUED_AS_NEW = 38  # command: the run goes on as its next history
    PERMIT_ASKED = 42  # note: an attempt waits for permits
    STEP_LOGGED = 46  # note: what a step printed and logged
    ATTEMPT_QUEUED = 47  # note: an attempt that has begun waited for a thread before it did anything
    ATTEMPT_SENT = 49  # note: an attempt that is performed elsewhere


ENDS = frozenset({
    Kind.RUN_COMPLETED, Kind.RUN_FAILED, Kind.RUN_CANCELED_BY_CODE, Kind.RUN_CANCELED, Kind.RUN_STOPPED,
    Kind.RUN_CONTINUED_AS_NEW,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Record:
    """`hash` covers everything before it, so a record is only made by `make_record` or read by `unpack_record`.

    `packed` is what is stored; a large body is beside it, as `payload`.
    """

    seq: Seq
    kind: Kind
    time: TimeMs
    call: CallId | None
    path: Path | None
    inline: bytes
    packed: bytes
    hash: bytes
    payload: Payload | None = None

    @property
    def body(self) -> bytes:
        """The exact bytes of the message or note. A large one is joined at each call."""
        return self.inline if self.payload is None else self.payload.join()

    def content(self) -> Any:
        """The body as a value, for people. Programs read it with `history.reading`."""
        return decode(self.body)


def genesis(run: RunKey) -> bytes:
    """The hash before the first record of a run."""
    return blake2b(encode_plain(["cloche", CHAIN, run.tenant, run.run]), digest_size=HASH_BYTES).digest()


def chained(previous: bytes, packed: bytes) -> bytes:
    """The hash of a record that comes after the one with the hash `previous`."""
    return blake2b(previous + packed, digest_size=HASH_BYTES).digest()


def make_record(
    previous: bytes, seq: Seq, kind: Kind, time: TimeMs, call: CallId | None, path: Path | None, body: bytes
) -> Record:
    """The record that comes after the one with the hash `previous`.

    Raises:
        HistoryError: its body is larger than a reader takes.
    """
    if len(body) > SIZE_MAX:
        raise HistoryError(
            f"record {seq} would hold {len(body)} bytes, and no reader takes more than {SIZE_MAX}", seq=seq
        )
    payload = None
    if len(body) <= BODY_BYTES_MAX:
        packed = encode_plain([INLINE, seq, int(kind), time, call, path, body])
    else:
        payload, body = split(body), b""
        place = [payload.size, payload.depth, payload.root]
        packed = encode_plain([IN_PARTS, seq, int(kind), time, call, path, place])
    return Record(seq, kind, time, call, path, body, packed, chained(previous, packed), payload)


def unpack_record(
    packed: bytes,
    stored_hash: bytes,
    *,
    previous: bytes,
    expected: Seq,
    find: Callable[[bytes], bytes | None] = _NONE.get,
    known: Mapping[bytes, bytes] = _NONE,
) -> Record:
    """The record of `packed`, verified to be number `expected` right after the one with the hash `previous`.

    Parts of a large body are taken from `known`, which were verified before, or asked of `find` and verified.

    Raises:
        BrokenChain: its bytes, its hash, its place or a part of its payload are not what was written.
        HistoryError: it has a form of a newer version.
    """
    if chained(previous, packed) != stored_hash:
        raise BrokenChain(f"record {expected} is not the one that was written: its hash does not match", seq=expected)
    try:
        form, *items = decode(packed)
        if form in (INLINE, IN_PARTS):
            seq, kind, time, call, path, body = items
            payload = None if form == INLINE else _payload(body, find, known)
            record = Record(seq, Kind(kind), time, call, path, b"" if payload else body, packed, stored_hash, payload)
    except BrokenChain as error:
        raise BrokenChain(f"record {expected}: {error.message}", seq=expected) from None
    except StoreError:
        raise
    except Exception as error:  # bytes that match their hash and still are no record were never written by cloche
        raise BrokenChain(f"record {expected} cannot be read: {error}", seq=expected) from error
    if form not in (INLINE, IN_PARTS):
        raise HistoryError(
            f"record {expected} has form {form}, and this cloche reads {INLINE} and {IN_PARTS}: use a newer version",
            seq=expected,
        )
    if record.seq != expected:
        raise BrokenChain(f"record {record.seq} stands where record {expected} should", seq=expected)
    return record


def _payload(place: Any, find: Callable[[bytes], bytes | None], known: Mapping[bytes, bytes]) -> Payload:
    size, depth, root = place
    return gather(size, depth, root, find, known)
