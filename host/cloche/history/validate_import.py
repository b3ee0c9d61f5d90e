"""Records that somebody else wrote: a chain proves that nothing was changed since, not that cloche ever wrote it.

Every byte is looked at before anything is built from it, as of what a guest writes, and the message in a record must be what
its envelope says. What may follow what is the machine's to say.
"""

from __future__ import annotations

from typing import Any

from cloche.errors import BrokenChain, HistoryError, MalformedOutput
from cloche.history.check import check
from cloche.history.messages import COMMAND_TYPES, EVENT_TYPES, MESSAGE_TYPES, unpack_event
from cloche.history.notes import unpack_note
from cloche.history.output import unpack_command
from cloche.history.records import Record


def vet_bytes(data: Any, seq: int) -> None:
    """Whether `data` is one item of our encoding, and nothing else.

    Raises:
        BrokenChain: it is not.
    """
    try:
        if isinstance(data, bytes) and check(data) == len(data):
            return
    except MalformedOutput as error:
        raise BrokenChain(f"record {seq} is not in the encoding of cloche: {error.message}", seq=seq) from None
    raise BrokenChain(f"record {seq} is not one item of CBOR", seq=seq)


def vet(record: Record) -> None:
    """Whether the body of `record` is what the envelope says.

    Raises:
        BrokenChain: it is not.
    """
    body = record.body
    vet_bytes(body, record.seq)
    try:
        fits = _fits(record, body)
    except (HistoryError, MalformedOutput, ValueError, TypeError, LookupError, AttributeError) as error:
        raise BrokenChain(f"record {record.seq} holds no {record.kind.name}: {error}", seq=record.seq) from error
    if not fits:
        raise BrokenChain(f"record {record.seq} says {record.kind.name}, and its body something else", seq=record.seq)


def _fits(record: Record, body: bytes) -> bool:
    message_type = MESSAGE_TYPES.get(record.kind)
    if message_type in COMMAND_TYPES:
        command = unpack_command(body)
        place = getattr(command, "call", None), getattr(command, "path", None)
        return type(command) is message_type and place == (record.call, record.path)
    if message_type in EVENT_TYPES:
        event = unpack_event(body)
        said = event.time, getattr(event, "call", None)
        return type(event) is message_type and said == (record.time, record.call) and event.pack() == body
    return unpack_note(record).kind is record.kind
