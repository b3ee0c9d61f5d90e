"""What every store does: one suite, each store."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.histories import at
from support.stores import Log, begun, key

from cloche.errors import HistoryError, NotFound, SeqConflict, StoreError
from cloche.history import Kind, Path, Seq, TenantId
from cloche.history.records import BODY_BYTES_MAX
from cloche.status import RunStatus
from cloche.store import (
    InboxRow,
    MemoryStore,
    Metered,
    NewRun,
    RunRow,
    SqliteStore,
    Store,
    TenantUsage,
    Usage,
    Version,
    blob_digest,
)

MAKERS: dict[str, Callable[[FilePath], Store]] = {
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: SqliteStore(folder / "runs.db"),
}


@pytest.fixture(params=MAKERS)
def store(request: pytest.FixtureRequest, tmp_path: FilePath) -> Iterator[Store]:
    made = MAKERS[request.param](tmp_path)
    yield made
    assert list(made.audit()) == []  # whatever a test did through the protocol, the log is whole
    made.close()


def committed(store: Store, *runs: str, tenant: str = "default") -> list[Log]:
    pairs = [begun(run, tenant) for run in runs]
    assert store.commit([append for _, append in pairs]) == [None] * len(pairs)
    return [log for log, _ in pairs]


def names(rows: list[RunRow]) -> list[str]:
    return [row.key.run for row in rows]


def conflict_at(outcome: StoreError | None) -> tuple[str, int]:
    assert isinstance(outcome, SeqConflict)
    return outcome.run_id, outcome.expected


# ---- appending -----------------------------------------------------------------------------------------------------------


def test_an_empty_store_has_nothing(store: Store) -> None:
    assert (store.run(key()), store.runs(), store.inbox()) == (None, [], [])
    assert (list(store.records(key())), store.result(key(), Path("add")), store.blob("x")) == ([], None, None)
    assert store.commit([]) == []


def test_a_run_is_created_with_its_first_records(store: Store) -> None:
    (log,) = committed(store, "r1")
    row = RunRow(key(), "orders", "c0de", RunStatus.RUNNING, None, at(2), at(2), Seq(2), log.records[-1].hash)
    assert (store.run(key()), store.runs()) == (row, [row])
    assert list(store.records(key())) == log.records


def test_records_are_appended_behind_the_end_and_change_the_row(store: Store) -> None:
    (log,) = committed(store, "r1")
    assert store.commit([log.step()]) == [None]
    assert store.commit([log.append(Kind.TIMER_SET, path="nap", status="waiting", wake_at=at(500))]) == [None]
    end = log.records[-1]
    row = RunRow(key(), "orders", "c0de", RunStatus.WAITING, at(500), at(2), end.time, Seq(6), end.hash)
    assert (store.run(key()), list(store.records(key()))) == (row, log.records)


@pytest.mark.parametrize("after", range(6))
def test_records_are_read_from_any_place(store: Store, after: int) -> None:
    (log,) = committed(store, "r1")
    store.commit([log.step()])
    assert list(store.records(key(), Seq(after))) == log.records[after:]


def test_records_come_back_as_they_were_made(store: Store) -> None:
    (log,) = committed(store, "r1")
    body = bytes(range(256)) * 300
    assert store.commit([log.append(Kind.STEP_COMPLETED, path="größe/\x00'\"[3]", body=body)]) == [None]
    assert list(store.records(key()))[-1] == log.records[-1]


def test_an_append_that_expects_another_end_is_refused_and_the_others_are_written(store: Store) -> None:
    first, second, third = committed(store, "r1", "r2", "r3")
    stale = Log(key("r2"), list(second.records))
    store.commit([second.step()])
    outcomes = store.commit([first.step(), stale.step("other"), third.step()])
    assert [outcomes[0], outcomes[2]] == [None, None]
    assert conflict_at(outcomes[1]) == ("r2", 2)
    assert [list(store.records(log.key)) for log in (first, second, third)] == [
        first.records,
        second.records,
        third.records,
    ]


def test_a_conflict_says_what_happened(store: Store) -> None:
    (log,) = committed(store, "r1")
    stale = Log(key(), list(log.records))
    store.commit([log.step()])
    (outcome,) = store.commit([stale.step()])
    assert str(outcome) == "run r1 does not end at record 2 any more: somebody else appended to it"
    assert isinstance(outcome, StoreError)
    assert outcome.retryable


@pytest.mark.parametrize("expect", [1, 3, 99])
def test_an_append_too_early_or_too_late_is_refused(store: Store, expect: int) -> None:
    committed(store, "r1")
    ahead = Log(key())
    ahead.next(*[Kind.LOG_LINE] * expect)
    assert conflict_at(store.commit([ahead.append(Kind.LOG_LINE)])[0]) == ("r1", expect)


def test_a_run_is_created_once(store: Store) -> None:
    """The same id again, by whoever asks twice: one is created, the other is told; nothing of it is written."""
    (log, append), (_, again) = begun(), begun()
    outcomes = store.commit([append, again])
    assert (outcomes[0], conflict_at(outcomes[1])) == (None, ("r1", 0))
    assert conflict_at(store.commit([begun()[1]])[0]) == ("r1", 0)
    assert (names(store.runs()), list(store.records(key()))) == (["r1"], log.records)


def test_a_run_that_was_not_created_takes_no_records(store: Store) -> None:
    log = Log(key())
    assert conflict_at(store.commit([log.append(Kind.LOG_LINE)])[0]) == ("r1", 0)
    assert store.runs() == []


def test_several_appends_of_one_run_may_share_a_commit(store: Store) -> None:
    log, append = begun()
    assert store.commit([append, log.step("a"), log.step("b")]) == [None, None, None]
    assert list(store.records(key())) == log.records


def test_runs_of_other_tenants_are_other_runs(store: Store) -> None:
    (mine,), (theirs,) = committed(store, "r1", tenant="a"), committed(store, "r1", tenant="b")
    store.commit([mine.step()])
    assert list(store.records(key("r1", "a"))) == mine.records
    assert list(store.records(key("r1", "b"))) == theirs.records
    assert [row.key for row in store.runs(tenant="a")] == [key("r1", "a")]


# ---- listings ------------------------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_and_in_pages(store: Store) -> None:
    committed(store, "a", "b", "c", "d", "e")
    pages = [names(store.runs(limit=2, after=after)) for after in (None, "d", "b", "a")]
    assert pages == [["e", "d"], ["c", "b"], ["a"], []]
    assert (names(store.runs(limit=0)), names(store.runs(after="unknown"))) == ([], [])


def test_runs_are_filtered_by_tenant_status_and_workflow(store: Store) -> None:
    for run, tenant, workflow, status in [
        ("1", "a", "orders", "running"),
        ("2", "a", "mail", "success"),
        ("3", "b", "orders", "success"),
        ("4", "a", "orders", "success"),
    ]:
        assert store.commit([Log(key(run, tenant)).begin(workflow, status)]) == [None]
    assert names(store.runs(tenant="a")) == ["4", "2", "1"]
    assert names(store.runs(status=RunStatus.SUCCESS)) == ["4", "3", "2"]
    assert names(store.runs(workflow="orders", status=RunStatus.SUCCESS)) == ["4", "3"]
    assert names(store.runs(tenant="a", workflow="orders", status=RunStatus.SUCCESS, limit=9)) == ["4"]
    assert names(store.runs(tenant="c")) == []


def test_a_page_goes_on_behind_a_run_that_does_not_pass_the_filter_any_more(store: Store) -> None:
    logs = committed(store, "a", "b", "c")
    assert names(store.runs(status=RunStatus.RUNNING, limit=2)) == ["c", "b"]
    store.commit([logs[1].append(Kind.RUN_COMPLETED, status="success")])
    assert names(store.runs(status=RunStatus.RUNNING, limit=2, after="b")) == ["a"]


def test_a_page_of_a_tenant_goes_on_behind_its_own_run(store: Store) -> None:
    committed(store, "x", tenant="other")
    committed(store, "w", "x", "y", tenant="mine")
    assert names(store.runs(tenant="mine", after="x")) == ["w"]


def test_a_run_can_be_blocked_and_freed(store: Store) -> None:
    (log,) = committed(store, "r1")
    before = store.run(key())
    store.set_problem(key(), '{"reason": "no step"}')
    blocked = store.run(key())
    assert blocked is not None
    assert (blocked.status, blocked.problem) == ("blocked", '{"reason": "no step"}')
    store.set_problem(key(), None)
    assert (store.run(key()), list(store.records(key()))) == (before, log.records)


def test_a_run_that_is_not_there_cannot_be_blocked(store: Store) -> None:
    with pytest.raises(NotFound) as raised:
        store.set_problem(key("r9"), "why")
    assert (raised.value.message, raised.value.kind, raised.value.id) == (
        "there is no run r9 in this store",
        "run",
        "r9",
    )


# ---- tenants -------------------------------------------------------------------------------------------------------------


def version(id: str, workflow: str = "w", tenant: str = "acme", at_ms: int = 0) -> Version:
    return Version(TenantId(tenant), id, workflow, blob_digest(f"code of {id}".encode()), at(at_ms))


def test_the_version_deployed_last_is_what_a_workflow_starts_with(store: Store) -> None:
    one, two, other = version("w@1"), version("w@2", at_ms=5), version("x@1", "x")
    for each in (one, two, other):
        assert store.deploy(each, {each.digest: f"code of {each.id}".encode()}) == each
    acme = TenantId("acme")
    assert (store.version_of(acme, "w"), store.version_of(acme, "w@1"), store.version_of(acme, "x")) == (
        two,
        one,
        other,
    )
    assert store.versions(acme) == [other, two, one]
    assert store.deploy(replace(one, deployed_at=at(9)), {}) == one  # the same version, and the current one again
    assert (store.version_of(acme, "w"), store.versions(acme, "w")) == (one, [one, two])
    assert store.blob(one.digest) == b"code of w@1"


def test_versions_are_a_tenants_own(store: Store) -> None:
    store.deploy(version("w@1"), {})
    other = TenantId("umbra")
    assert (store.version_of(other, "w"), store.version_of(other, "w@1"), store.versions(other)) == (None, None, [])
    assert not store.withdraw(other, "w@1")
    assert store.deploy(version("w@1", tenant="umbra"), {}).tenant == "umbra"
    assert len(store.versions(TenantId("acme"))) == 1


def test_what_a_version_needs_is_kept_until_it_is_withdrawn(store: Store) -> None:
    one = version("w@1")
    store.deploy(one, {one.digest: b"code of w@1", blob_digest(b"wasm"): b"wasm"})
    assert store.collect(lambda packed: [blob_digest(b"wasm")]).blobs == 0
    assert store.withdraw(one.tenant, one.id)
    assert store.collect(lambda packed: [blob_digest(b"wasm")]).blobs == 2
    assert (store.version_of(one.tenant, "w"), store.blob(one.digest)) == (None, None)


def test_what_runs_use_adds_up_by_run_and_tenant_and_outlives_them(store: Store) -> None:
    logs = {name: Log(key(name, "acme")) for name in ("r1", "r2")}
    for number, log in enumerate(logs.values(), 1):
        used = Metered(Usage(fuel=10 * number, steps=1), "m")
        assert store.commit([replace(log.begin(status="success"), metered=used)]) == [None]
    more = Usage(1, 2, 3, 4, 5, 6, 7, 8)
    assert store.commit([replace(logs["r1"].append(Kind.LOG_LINE, status="success"), metered=Metered(more, "m"))]) == [
        None
    ]
    assert store.metered(key("r1", "acme")) == Metered(Usage(11, 2, 3, 4, 5, 6, 8, 8), "m")
    sums = [TenantUsage(TenantId("acme"), 2, Usage(31, 2, 3, 4, 5, 6, 9, 8))]
    assert (store.usage(), store.usage(TenantId("acme")), store.usage(TenantId("umbra"))) == (sums, sums, [])
    assert store.delete([key("r1", "acme")], at(9)) == [key("r1", "acme")]
    assert (store.usage(), store.metered(key("r1", "acme"))) == (sums, None)
    assert store.delete([key("r2", "acme")], at(9)) == [key("r2", "acme")]
    assert store.usage() == sums


def test_a_run_that_two_meters_counted_or_in_part_none_has_none(store: Store) -> None:
    for second in (Metered(Usage(fuel=1), "n"), Metered(Usage(fuel=1), None), None):
        log = Log(key(f"of {second}"))
        assert store.commit([replace(log.begin(), metered=Metered(Usage(fuel=1), "m"))]) == [None]
        assert store.commit([replace(log.append(Kind.LOG_LINE), metered=second)]) == [None]
        assert store.commit([replace(log.append(Kind.LOG_LINE), metered=Metered(Usage(fuel=1), "m"))]) == [None]
        found = store.metered(log.key)
        assert found is not None
        assert (found.meter, found.usage.fuel) == (None, 2 + (second is not None))


def test_queued_runs_are_counted_by_tenant(store: Store) -> None:
    for tenant, status in (("acme", "pending"), ("acme", "pending"), ("acme", "running"), ("umbra", "pending")):
        log = Log(key(f"r{len(store.runs())}", tenant))
        assert store.commit([log.append(Kind.RUN_CREATED, status=status, new=NewRun("w", "c0de"))]) == [None]
    assert (store.queued(TenantId("acme")), store.queued(TenantId("umbra")), store.queued(TenantId("x"))) == (2, 1, 0)


# ---- results, blobs ------------------------------------------------------------------------------------------------------


def test_the_result_of_a_path_is_its_last_end(store: Store) -> None:
    (log,) = committed(store, "r1")
    for kind, path in [
        (Kind.STEP_CALLED, "add"),
        (Kind.STEP_COMPLETED, "add"),
        (Kind.STEP_FAILED, "pay"),
        (Kind.ENTERED, "W"),
        (Kind.LEFT, "W"),
        (Kind.LEFT, "W"),
        (Kind.TIMER_FIRED, "nap"),
        (Kind.STEP_CALLED, "add"),
    ]:
        assert store.commit([log.append(kind, path=path)]) == [None]
    by_path = {path: store.result(key(), Path(path)) for path in ("add", "pay", "W", "nap", "unknown")}
    assert by_path == {"add": log.records[3], "pay": log.records[4], "W": log.records[7], "nap": None, "unknown": None}
    assert store.result(key("r2"), Path("add")) is None


def test_a_blob_is_kept_once_under_its_digest(store: Store) -> None:
    data = bytes(range(256)) * 100
    for _ in range(2):
        store.put_blob(blob_digest(data), data)
    assert (store.blob(blob_digest(data)), store.blob("unknown")) == (data, None)


def test_a_blob_is_never_changed(store: Store) -> None:
    store.put_blob(blob_digest(b"first"), b"first")
    store.put_blob(blob_digest(b"first"), b"second")
    assert store.blob(blob_digest(b"first")) == b"first"


# ---- the inbox -----------------------------------------------------------------------------------------------------------


def test_wishes_wait_in_order_and_the_same_token_is_one_wish(store: Store) -> None:
    store.post(key("r1"), "cancel", b"1", "token-1", at(1))
    store.post(key("r2"), "resume", b"2", "token-2", at(1))
    store.post(key("r1"), "cancel", b"other", "token-1", at(2))
    first, second = store.inbox()
    assert (first, second) == (
        InboxRow(first.id, key("r1"), "cancel", b"1"),
        InboxRow(second.id, key("r2"), "resume", b"2"),
    )


def test_a_wish_is_taken_in_the_commit_that_answers_it(store: Store) -> None:
    (log,) = committed(store, "r1")
    for token in "abc":
        store.post(key(), "cancel", token.encode(), token, at(1))
    first, second, third = store.inbox()
    append = log.append(Kind.CANCEL_REQUESTED, taken=[first.id, third.id])
    assert (store.commit([append]), store.inbox()) == ([None], [second])


def test_a_wish_stays_when_the_append_that_would_answer_it_is_refused(store: Store) -> None:
    (log,) = committed(store, "r1")
    stale = Log(key(), list(log.records))
    store.commit([log.step()])
    store.post(key(), "cancel", b"", "t", at(1))
    (wish,) = store.inbox()
    outcomes = store.commit([stale.append(Kind.CANCEL_REQUESTED, taken=[wish.id])])
    assert (conflict_at(outcomes[0]), store.inbox()) == (("r1", 2), [wish])


def test_a_wish_that_nobody_can_grant_is_discarded(store: Store) -> None:
    for token in "ab":
        store.post(key(), "cancel", b"", token, at(1))
    first, second = store.inbox()
    store.settle(first.id, "no")
    store.settle(99, "no")
    assert store.inbox() == [second]


def test_a_number_of_a_wish_is_not_used_again(store: Store) -> None:
    """An owner that still holds the number of a wish that was discarded must not take another wish with it."""
    store.post(key(), "cancel", b"", "a", at(1))
    (first,) = store.inbox()
    store.settle(first.id, "no")
    store.post(key(), "cancel", b"", "b", at(1))
    assert store.inbox()[0].id > first.id


# ---- any order -----------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["r1", "r2", "r3"]), st.booleans(), st.booleans()), max_size=12))
def test_both_stores_say_the_same_whatever_is_appended(moves: list[tuple[str, bool, bool]]) -> None:
    """A model test: writers that are sometimes stale, grouped at will; the stores agree on every answer and every record."""
    writers = {run: Log(key(run)) for run in ("r1", "r2", "r3")}
    with TemporaryDirectory() as folder, closing(SqliteStore(f"{folder}/runs.db")) as sqlite:
        stores: list[Store] = [MemoryStore(), sqlite]
        group = []
        for run, stale, flush in moves:
            log = Log(key(run), writers[run].records[:1]) if stale else writers[run]
            group.append(log.step() if log.records else log.begin())
            if flush:
                answers = [[str(outcome) for outcome in store.commit(group)] for store in stores]
                assert answers[0] == answers[1]
                group = []
        listings = [[(row, list(store.records(row.key))) for row in store.runs()] for store in stores]
        assert listings[0] == listings[1]
        assert [list(store.audit()) for store in stores] == [[], []]


# ---- large bodies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [BODY_BYTES_MAX, BODY_BYTES_MAX + 1, 16_384, 1_000_000])
def test_a_body_of_any_size_comes_back(store: Store, size: int) -> None:
    (log,) = committed(store, "r1")
    body = random.Random(size).randbytes(size)
    assert store.commit([log.append(Kind.STEP_COMPLETED, path="big", body=body)]) == [None]
    (record,) = store.records(key(), Seq(2))
    assert (record, record.body) == (log.records[-1], body)
    assert store.result(key(), Path("big")) == record


def test_a_large_body_may_be_passed_on_and_grow(store: Store) -> None:
    (log,) = committed(store, "r1")
    body = random.Random(1).randbytes(300_000)
    bodies = [body, body, b"more" + body, body + b"more", body]
    for number, one in enumerate(bodies):
        assert store.commit([log.append(Kind.STEP_COMPLETED, path=f"s{number}", body=one)]) == [None]
    assert [record.body for record in store.records(key(), Seq(2))] == bodies


# ---- deletion ------------------------------------------------------------------------------------------------------------


def digests(code: bytes) -> tuple[str, str]:
    """Of a bundle of code, and of the guest that it needs."""
    return blob_digest(code), blob_digest(b"guest of " + code)


def ended(store: Store, run: str, code: bytes = b"code", body: bytes = b"\xf6") -> Log:
    log, (bundle, guest) = Log(key(run)), digests(code)
    new = NewRun("orders", bundle, {guest: b"guest of " + code, bundle: code})
    began = log.append(Kind.RUN_CREATED, Kind.RUN_STARTED, new=new)
    done = log.append(Kind.STEP_COMPLETED, Kind.RUN_COMPLETED, body=body, status="success")
    assert store.commit([began, done]) == [None, None]
    return log


def needs(bundle: bytes) -> list[str]:
    return [digests(bundle)[1]]


def kept(store: Store, code: bytes) -> list[bool]:
    return [store.blob(digest) is not None for digest in digests(code)]


def test_only_runs_that_have_ended_and_are_nobodys_are_deleted(store: Store) -> None:
    ended(store, "old"), ended(store, "other")
    committed(store, "open")
    assert store.delete([key("old"), key("open"), key("none")], at(9)) == [key("old")]
    assert names(store.runs()) == ["open", "other"]
    assert (list(store.records(key("old"))), store.result(key("old"), Path("add"))) == ([], None)
    assert conflict_at(store.commit([begun("old")[1]])[0]) == ("old", 0)
    assert store.delete([key("old")], at(10)) == []


def test_a_run_brings_what_it_is_pinned_to(store: Store) -> None:
    ended(store, "r1")
    assert kept(store, b"code") == [True, True]
    refused, (other, _) = begun("r1")[1], digests(b"other")
    store.commit([replace(refused, new=NewRun("orders", other, {other: b"other"}))])
    assert kept(store, b"other") == [False, False]


def test_what_no_run_needs_is_collected_and_nothing_else(store: Store) -> None:
    body = random.Random(3).randbytes(200_000)
    ended(store, "a", body=body), ended(store, "b", body=body + b"more"), ended(store, "c", b"old", body[::-1])
    assert store.collect(needs).blobs == 0
    store.delete([key("a"), key("c")], at(9))
    assert store.collect(needs).blobs == 2
    assert (kept(store, b"old"), kept(store, b"code")) == ([False, False], [True, True])
    assert [record.body for record in store.records(key("b"), Seq(2))] == [body + b"more"] * 2
    store.delete([key("b")], at(9))
    assert store.collect(needs).blobs == 2


def test_nothing_is_collected_while_it_is_not_known_what_is_needed(store: Store) -> None:
    def cannot_say(bundle: bytes) -> list[str]:
        raise HistoryError("it is damaged")

    ended(store, "a"), ended(store, "b", b"old")
    store.delete([key("b")], at(9))
    with pytest.raises(HistoryError):
        store.collect(cannot_say)
    assert kept(store, b"old") == [True, True]
