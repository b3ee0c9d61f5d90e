"""Appends as the arguments of a statement: a column of each field, in an order that is the same for all writers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from cloche.status import FINAL, OVER
from cloche.store.inbox import ENDED, Post
from cloche.store.postgres.blobs import Name, columns, named
from cloche.store.postgres.parts import Known, Parts
from cloche.store.postgres.remote import sent_columns
from cloche.store.postgres.statements import FEW_RECORDS, RECORD
from cloche.store.protocol import Append
from cloche.store.usage import Metered, Usage

_NO_AMOUNTS = (*Usage().amounts, None)
_OF_RUN = 22  # columns of `advance_many` that are about the run


def is_plain(append: Append) -> bool:
    """Whether it only moves a run that is there, by records that carry what they say: most do."""
    return (
        append.new is None
        and append.code is None
        and append.status not in FINAL
        and not (append.taken or append.awaited or append.unawaited or append.posts or append.marks)
        and not (
            append.sent or append.returned
        )  # what has to do with permits is written in a transaction: see `permits`
        and all(record.payload is None for record in append.records)
    )


def of_one(append: Append) -> list[Any]:
    """For `advance_one` of so many records."""
    records = [(one.seq, int(one.kind), _path(one.path), one.packed, one.hash) for one in append.records]
    few = len(records) <= FEW_RECORDS
    return [*_of_run(append), *(chain.from_iterable(records) if few else _columns(records, RECORD))]


def of_many(appends: Sequence[Append]) -> list[Any]:
    """For `advance_many`. The place of an append, from 1, is what the statement calls it by."""
    rows = [_of_run(append) for append in appends]
    records = [
        (place, append.key.tenant, record.seq, int(record.kind), _path(record.path), record.packed, record.hash)
        for place, append in enumerate(appends, 1)
        for record in append.records
    ]
    return [*_columns(rows, _OF_RUN), *_columns(records, 7)]


class Everything:
    """Appends for `write_all`, with what goes beside them."""

    def __init__(self, appends: Sequence[Append], known: Known, missing: frozenset[Name]) -> None:
        """`missing`: blobs that are not in the store. Of others it is taken for granted, and looked at, that they are."""
        self.parts = Parts(known)
        self.blobs: dict[Name, bytes] = {}
        self._needing: dict[
            Name, list[int]
        ] = {}  # the places of the appends that bring it: if none is written, it is not either
        for place, append in enumerate(appends, 1):
            for code in (append.new, append.code):
                for name, data in named(append.key.tenant, code.code, code.blobs).items() if code else ():
                    self.blobs[name] = data
                    self._needing.setdefault(name, []).append(place)
            for record in append.records:
                if record.payload is not None:
                    self.parts.put(append.key.tenant, record.payload)
        self.sent = {name: self.blobs[name] for name in sorted(self.blobs.keys() & missing)}
        self._appends = appends

    def arguments(self) -> list[Any]:
        appends = list(enumerate(self._appends, 1))
        rows = [
            (
                *_of_run(append),
                append.new.workflow if append.new else None,
                append.new.code if append.new else None,
                append.code.code if append.code else None,
            )
            for _, append in appends
        ]
        records = [
            (
                *(place, append.key.tenant, record.seq, int(record.kind), _path(record.path)),
                *(record.packed, record.hash, record.payload.root if record.payload else None),
            )
            for place, append in appends
            for record in append.records
        ]
        digests, tenants = columns(self.blobs.keys() - self.sent.keys())
        return [
            *_columns(rows, _OF_RUN + 3),
            *_columns(list(self.parts.needed), 2),
            *(tenants, digests),
            *self.parts.columns(),
            *_columns([(tenant, digest, data) for (digest, tenant), data in self.sent.items()], 3),
            *_columns(records, 8),
            *_columns([(place, id) for place, append in appends for id in append.taken], 2),
            *_columns([(n, place) for n, name in enumerate(self.sent, 1) for place in self._needing[name]], 2),
            [append.status in OVER for _, append in appends],
            *_columns([(place, *_names(append), name) for place, append in appends for name in _closed(append)], 4),
            *_columns([(place, *_names(append), name) for place, append in appends for name in append.awaited], 4),
            ENDED,
            *_columns([_post(place, append, post) for place, append in appends for post in append.posts], 7),
            *_columns([(n, a.key.tenant, *mark) for n, a in appends for mark in a.marks.items()], 4),
            *_columns([(n, *_names(a), call) for n, a in appends for call in a.returned], 4),
            *_columns([row for n, a in appends for row in sent_columns(n, a)], 12),
        ]


def _of_run(append: Append) -> tuple[Any, ...]:
    last, lease = append.records[-1], append.lease
    return (
        append.key.tenant,
        append.key.run,
        append.expect,
        str(append.status),
        append.wake_at,
        append.at,
        last.seq,
        last.hash,
        lease.worker if lease else None,
        lease.fence if lease else None,
        append.release,
        *_amounts(append.metered),
    )


def _amounts(metered: Metered | None) -> tuple[Any, ...]:
    return _NO_AMOUNTS if metered is None else (*metered.usage.amounts, metered.meter)


def _closed(append: Append) -> set[str]:
    """The names that it waits for no more. One that it also waits for anew stays as it is."""
    return set(append.unawaited) - set(append.awaited)


def _names(append: Append) -> tuple[str, str]:
    return append.key.tenant, append.key.run


def _post(place: int, append: Append, post: Post) -> tuple[Any, ...]:
    return place, post.key.tenant, post.key.run, post.kind, post.body, post.token, append.at


def _path(path: str | None) -> bytes | None:
    return None if path is None else path.encode()


def _columns(rows: Sequence[Sequence[Any]], count: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]
