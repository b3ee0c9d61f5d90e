"""Every store: what is deleted is gone, and what is needed stays."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from support.apps import in_loop
from support.histories import at
from support.stores import Log, begun, committed, conflict_at, key, names

from cloche.errors import HistoryError
from cloche.history import Kind, Path, Seq
from cloche.store import (
    NewRun,
    Store,
    all_records,
    blob_digest,
)


def digests(code: bytes) -> tuple[str, str]:
    """Of a bundle of code, and of the guest that it needs."""
    return blob_digest(code), blob_digest(b"guest of " + code)


async def ended(store: Store, run: str, code: bytes = b"code", body: bytes = b"\xf6") -> Log:
    log, (bundle, guest) = Log(key(run)), digests(code)
    new = NewRun("orders", bundle, {guest: b"guest of " + code, bundle: code})
    began = log.append(Kind.RUN_CREATED, Kind.RUN_STARTED, new=new)
    done = log.append(Kind.STEP_COMPLETED, Kind.RUN_COMPLETED, body=body, status="success")
    assert await store.commit([began, done]) == [None, None]
    return log


def needs(bundle: bytes) -> list[str]:
    return [digests(bundle)[1]]


async def kept(store: Store, code: bytes) -> list[bool]:
    return [await store.blob(digest) is not None for digest in digests(code)]


@in_loop
async def test_only_runs_that_have_ended_and_are_nobodys_are_deleted(store: Store) -> None:
    await ended(store, "old"), await ended(store, "other")
    await committed(store, "open")
    assert await store.delete([key("old"), key("open"), key("none")], at(9)) == [key("old")]
    assert names(await store.runs()) == ["open", "other"]
    assert (await all_records(store, key("old")), await store.result(key("old"), Path("add"))) == ([], None)
    assert conflict_at((await store.commit([begun("old")[1]]))[0]) == ("old", 0)
    assert await store.delete([key("old")], at(10)) == []


@in_loop
async def test_a_run_brings_what_it_is_pinned_to(store: Store) -> None:
    await ended(store, "r1")
    assert await kept(store, b"code") == [True, True]
    refused, (other, _) = begun("r1")[1], digests(b"other")
    await store.commit([replace(refused, new=NewRun("orders", other, {other: b"other"}))])
    assert await kept(store, b"other") == [False, False]


@in_loop
async def test_what_no_run_needs_is_collected_and_nothing_else(store: Store) -> None:
    body = random.Random(3).randbytes(200_000)
    (
        await ended(store, "a", body=body),
        await ended(store, "b", body=body + b"more"),
        await ended(store, "c", b"old", body[::-1]),
    )
    assert (await store.collect(needs)).blobs == 0
    await store.delete([key("a"), key("c")], at(9))
    assert (await store.collect(needs)).blobs == 2
    assert (await kept(store, b"old"), await kept(store, b"code")) == ([False, False], [True, True])
    assert [record.body for record in await all_records(store, key("b"), Seq(2))] == [body + b"more"] * 2
    await store.delete([key("b")], at(9))
    assert (await store.collect(needs)).blobs == 2


@in_loop
async def test_nothing_is_collected_while_it_is_not_known_what_is_needed(store: Store) -> None:
    def cannot_say(bundle: bytes) -> list[str]:
        raise HistoryError("it is damaged")

    await ended(store, "a"), await ended(store, "b", b"old")
    await store.delete([key("b")], at(9))
    with pytest.raises(HistoryError):
        await store.collect(cannot_say)
    assert await kept(store, b"old") == [True, True]
