"""The heads of a run's records, as pages ask for them: what each is about, without its payload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cloche.history import Record, RunKey
from cloche.history.heads import Heads as Heads
from cloche.history.ids import history_key
from cloche.operations.summaries import summary_of


def heads_after(key: RunKey, first: Sequence[Record], history: int | None = None) -> Heads:
    """What makes the heads of a run, or of one of its histories; `first` has its first record, where that does not come."""
    return Heads(key if history is None else history_key(key, history), first[0] if first else None)


def head_of(heads: Heads, record: Record, *, is_told: bool = True) -> list[Any]:
    """`[seq, kind, time in ms, call, path, facts]`, and with `is_told` its value as a short text."""
    return [*heads.of(record), summary_of(record)] if is_told else list(heads.of(record))


def heads_of(key: RunKey, first: Sequence[Record], records: Sequence[Record], texts: bool) -> list[list[Any]]:
    """The heads of a page."""
    heads = heads_after(key, first)
    return [head_of(heads, one, is_told=texts) for one in records]
