"""Who executes which run: one suite, each store."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path as FilePath
from typing import cast

import pytest
from support.histories import at
from support.stores import Log, begun, key

from cloche.errors import LeaseLost, SeqConflict
from cloche.history import DEFAULT_TENANT, Kind, TenantId
from cloche.status import RunStatus
from cloche.store import GRANTED, Lease, MemoryStore, SqliteStore, Store, WorkerRow


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: FilePath) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "runs.db")
    made.leases.join("A")
    made.leases.join("B")
    yield made
    assert list(made.audit()) == []
    made.close()


def committed(store: Store, run: str, status: str = "running", wake_at: int | None = None) -> Log:
    log = Log(key(run))
    append = replace(log.begin(status=status), wake_at=None if wake_at is None else at(wake_at))
    assert store.commit([append]) == [None]
    return log


def claimed(store: Store, worker: str, now: int, limit: int = 10) -> list[str]:
    return [row.key.run for row in store.leases.claim_due(worker, at(now), {DEFAULT_TENANT: limit})]


def owner(store: Store, run: str = "r1") -> tuple[str | None, int]:
    row = store.run(key(run))
    assert row is not None
    return row.owner, row.fence


def test_a_new_run_belongs_to_the_worker_that_made_it(store: Store) -> None:
    log, append = begun()
    assert store.commit([replace(append, lease=Lease("A", 1))]) == [None]
    assert (owner(store), store.leases.claim("B", key())) == (("A", 1), None)
    assert store.commit([replace(log.step(), lease=Lease("A", 1))]) == [None]


def test_an_evicted_worker_owns_no_new_run(store: Store) -> None:
    store.leases.leave("A")
    _, append = begun()
    assert store.commit([replace(append, lease=Lease("A", 1))]) == [None]
    assert owner(store) == (None, 1)


@pytest.mark.parametrize("lease", [None, Lease("A", 2), Lease("A", 3), Lease("B", 1), Lease("C", 1)])
def test_only_the_lease_of_the_run_may_append(store: Store, lease: Lease | None) -> None:
    log, append = begun()
    store.commit([replace(append, lease=Lease("A", 1))])
    before = list(store.records(key()))
    [outcome] = store.commit([replace(log.step(), lease=lease)])
    assert isinstance(outcome, LeaseLost)
    assert (list(store.records(key())), owner(store)) == (before, ("A", 1))


def test_an_old_fence_is_refused_though_nothing_was_appended_since(store: Store) -> None:
    log = committed(store, "r1")
    first = store.leases.claim("A", key())
    second = store.leases.claim("A", key())
    assert (first and first.lease, second and second.lease) == (Lease("A", 1), Lease("A", 2))
    assert first is not None
    [late] = store.commit([replace(log.step(), lease=first.lease)])
    assert isinstance(late, LeaseLost)


def test_a_lease_does_not_excuse_a_wrong_place(store: Store) -> None:
    log = committed(store, "r1")
    row = store.leases.claim("A", key())
    assert row is not None
    append = replace(log.step(), lease=row.lease)
    assert store.commit([append]) == [None]
    assert isinstance(store.commit([append])[0], SeqConflict)


def test_a_run_is_let_go_with_the_append_that_brings_it_to_rest(store: Store) -> None:
    log, append = begun()
    store.commit([replace(append, lease=Lease("A", 1))])
    end = log.append(Kind.RUN_COMPLETED, status="success")
    assert store.commit([replace(end, lease=Lease("A", 1), release=True)]) == [None]
    assert owner(store) == (None, 1)


def test_runs_that_can_go_on_are_claimed_once_longest_waiting_first(store: Store) -> None:
    committed(store, "later", "waiting", 500)
    committed(store, "due", "waiting", 90)
    committed(store, "now")
    committed(store, "queued", "pending")
    for status in ("suspended", "waiting", "paused", "success"):
        committed(store, f"is-{status}", status)
    assert store.leases.next_due() == at(90)
    assert (claimed(store, "A", 100, 1), claimed(store, "B", 100), claimed(store, "A", 100)) == (
        ["now"],
        ["queued", "due"],
        [],
    )
    assert (store.leases.next_due(), claimed(store, "A", 600), store.leases.next_due()) == (at(500), ["later"], None)


def test_what_waits_for_somebody_is_claimed_by_name(store: Store) -> None:
    committed(store, "r1", "suspended")
    assert store.leases.claim("A", key("none")) is None
    row = store.leases.claim("A", key())
    assert row is not None
    assert (row.status, row.lease) == ("suspended", Lease("A", 1))
    assert (store.leases.claim("B", key()), store.run(key())) == (None, row)


def test_a_blocked_run_that_is_claimed_is_running_again(store: Store) -> None:
    committed(store, "r1")
    row = store.leases.claim("A", key())
    assert row is not None
    with pytest.raises(LeaseLost):
        store.set_problem(key(), "{}", Lease("B", 1))
    store.set_problem(key(), "{}", row.lease)
    blocked = store.run(key())
    assert blocked is not None
    assert (blocked.status, blocked.owner, claimed(store, "B", 999)) == ("blocked", None, [])
    again = store.leases.claim("B", key())
    assert again is not None
    assert (again.status, again.problem, again.lease) == ("running", None, Lease("B", 2))


def test_letting_go_says_what_the_run_waits_for(store: Store) -> None:
    committed(store, "r1")
    row = store.leases.claim("A", key())
    assert row is not None
    assert row.lease is not None
    store.leases.release(key(), replace(row.lease, fence=9), RunStatus.WAITING, at(5))
    assert owner(store) == ("A", 1)
    store.leases.release(key(), row.lease, RunStatus.WAITING, at(5))
    assert (owner(store), claimed(store, "B", 4), claimed(store, "B", 5)) == ((None, 1), [], ["r1"])


def test_a_worker_that_leaves_frees_its_runs(store: Store) -> None:
    committed(store, "r1")
    assert claimed(store, "A", 0) == ["r1"]
    store.leases.leave("A")
    assert (claimed(store, "A", 0), claimed(store, "B", 0)) == ([], ["r1"])


def test_only_a_silent_worker_is_evicted(store: Store) -> None:
    committed(store, "r1")
    claimed(store, "A", 0)
    seen = next(row for row in store.leases.workers() if row.id == "A")
    assert (store.leases.heartbeat("A"), store.leases.evict(seen), owner(store)) == (True, False, ("A", 1))
    seen = WorkerRow("A", seen.heartbeat + 1)
    assert (store.leases.evict(seen), store.leases.evict(seen), owner(store)) == (True, False, (None, 2))
    assert (store.leases.heartbeat("A"), store.leases.claim("A", key()), claimed(store, "A", 0)) == (False, None, [])


def test_the_answer_to_a_kept_wish_stays(store: Store) -> None:
    log = committed(store, "r1")
    for token, kept in (("kept", True), ("plain", False)):
        store.post(key(), "event", b"1", token, at(1), kept=kept)
    append = replace(log.step(), taken=[row.id for row in store.requests()])
    assert (store.answer("kept"), store.commit([append]), store.requests()) == (None, [None], [])
    assert (store.answer("kept"), store.answer("plain")) == (GRANTED, None)
    for token in ("kept", "plain"):
        store.post(key(), "event", b"2", token, at(2))
    assert [row.body for row in store.requests()] == [b"2"]
    store.forget("kept")
    assert store.answer("kept") is None


def test_a_refused_request_may_be_made_again(store: Store) -> None:
    committed(store, "r1")
    store.post(key(), "resume", b"1", "t", at(1), kept=True)
    store.resolve(store.requests()[0].id, "not now")
    assert (store.answer("t"), store.requests()) == ("not now", [])
    store.post(key(), "resume", b"2", "t", at(2), kept=True)
    assert (store.answer("t"), [row.body for row in store.requests()]) == (None, [b"2"])


def test_requests_are_for_the_worker_that_may_accept_them(store: Store) -> None:
    committed(store, "r1")
    committed(store, "r2", "suspended")
    claimed(store, "A", 0)
    for run in ("r1", "r2"):
        store.post(key(run), "cancel", b"", run, at(1))
    assert [[row.key.run for row in store.requests(worker)] for worker in ("A", "B")] == [["r1", "r2"], ["r2"]]


def test_each_tenant_gets_its_share_of_what_is_due_its_own_in_order(store: Store) -> None:
    for tenant, runs in (("a", 5), ("b", 2), ("c", 1)):
        for number in range(runs):
            assert store.commit([Log(key(f"{tenant}{number}", tenant)).begin()]) == [None]
    assert store.commit([replace(Log(key("d0", "d")).begin(status="waiting"), wake_at=at(500))]) == [None]
    tenants = store.leases.due_tenants(at(100))
    assert tenants == ["a", "b", "c"]
    shares = {TenantId("c"): 2, TenantId("a"): 3, TenantId("b"): 0}
    rows = store.leases.claim_due("A", at(100), shares)
    assert [row.key.run for row in rows] == ["c0", "a0", "a1", "a2"]
    assert {row.owner for row in rows} == {"A"}
    assert store.leases.due_tenants(at(500)) == ["a", "b", "d"]


def test_an_evicted_worker_gets_no_share(store: Store) -> None:
    assert store.commit([Log(key("a0", "a")).begin()]) == [None]
    assert store.leases.claim_due("gone", at(100), {TenantId("a"): 3}) == []


def other_handle(store: Store) -> Store:
    return store.connect() if isinstance(store, MemoryStore) else SqliteStore(cast(SqliteStore, store).path)


def test_the_version_leaves_out_own_writes(store: Store) -> None:
    other = other_handle(store)
    for run, own, others in (("r1", store, other), ("r2", other, store)):
        before = own.version(), others.version()
        committed(own, run)
        own.post(key(run), "cancel", b"", run, at(1))
        own.leases.release(key(run), Lease("A", 1), RunStatus.WAITING, None)
        assert own.version() == before[0]
        assert others.version() != before[1]
    other.close()


def test_an_eviction_is_news_to_others_only(store: Store) -> None:
    other = other_handle(store)
    committed(store, "r1")
    claimed(store, "A", 0)
    before = store.version(), other.version()
    assert other.leases.evict(next(row for row in other.leases.workers() if row.id == "A"))
    assert other.version() == before[1]
    assert store.version() != before[0]
    other.close()


def test_heartbeats_come_from_any_thread(store: Store) -> None:
    log, append = begun()
    store.commit([replace(append, lease=Lease("A", 1))])
    with ThreadPoolExecutor(1) as thread:
        heartbeats = thread.submit(lambda: [store.leases.heartbeat("A") for _ in range(100)])
        for _ in range(100):
            assert store.commit([replace(log.step(), lease=Lease("A", 1))]) == [None]
        assert heartbeats.result() == [True] * 100
    assert next(row.heartbeat for row in store.leases.workers() if row.id == "A") == 100
