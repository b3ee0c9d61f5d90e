"""The message in a record, typed: for everybody who reads a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from cloche.errors import HistoryError
from cloche.history.messages import (
    COMMANDS,
    EVENTS,
    LOG_LEVELS,
    MESSAGE_TYPES,
    Command,
    Event,
    Started,
    WriteLog,
    unpack_event,
)
from cloche.history.notes import AnyNote, unpack_note
from cloche.history.output import unpack_command
from cloche.history.records import Kind, Record

_LAST_WORDS_MAX = 500  # characters

Message: TypeAlias = Event | Command | AnyNote


def message_of(record: Record) -> Message:
    """What a record holds. A cancellation and a failure look alike whichever of their two kinds the record has.

    Raises:
        HistoryError, MalformedOutput, LookupError, ValueError: the body is not what the kind of the record says.
    """
    if record.kind in COMMANDS:
        return unpack_command(record.body)
    if record.kind in MESSAGE_TYPES:
        return unpack_event(record.body)
    return unpack_note(record)


def unpack_started(data: bytes) -> Started:
    """The event that a run began with, from the body of its record.

    Raises:
        HistoryError: it is another one.
    """
    event = unpack_event(data)
    if not isinstance(event, Started):
        raise HistoryError(f"a run cannot begin with '{event.abi_name}'")
    return event


def is_tagged(started: Started) -> bool:
    """Whether values of the run are as JavaScript has them (guest/ABI.md): it is of code that holds several workflows."""
    run = started.given.get("run") if isinstance(started.given, dict) else None
    return isinstance(run, dict) and "entry" in run


def last_error(records: Sequence[Record]) -> str:
    """The error that the guest logged at its last event: a rejection that nobody handled says why it waits."""
    for record in reversed(records):
        if record.kind in EVENTS:
            break
        line = unpack_command(record.body) if record.kind is Kind.LOG_LINE else None
        if isinstance(line, WriteLog) and LOG_LEVELS[line.level] == "error":
            return f". The last error that it logged: {line.text[:_LAST_WORDS_MAX]}"
    return ""
