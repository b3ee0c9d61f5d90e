"""Who has a process, and who waits for one: by times and states alone, with processes that are none."""

from __future__ import annotations

from typing import Any

import pytest

from cloche.history import TenantId
from cloche.sandbox.process import pool
from cloche.sandbox.process.pool import GONE_S, REST_S, Pool

SHARE_S = 5.0


class Stub:
    """As much of a process as the pool looks at."""

    def __init__(self, now: float) -> None:
        self.started_at = self.used_at = now
        self.has_ended = self.is_at_work = self.is_leaving = False

    def leave(self) -> None:
        self.is_leaving = True

    def end(self) -> None:
        self.has_ended = True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pool, "time", made)
    return made


def pool_of(most: int, clock: Clock, *tenants: str) -> Any:
    made = Pool(most, lambda: Stub(clock.now), SHARE_S)  # type: ignore[arg-type, return-value]
    for tenant in tenants:
        made.child(TenantId(tenant))
    return made


def has_place(made: Any, tenant: str) -> bool:
    return bool(made.place_in_s(TenantId(tenant)) == 0)


def test_one_that_rests_is_ended_for_another_tenant(clock: Clock) -> None:
    made = pool_of(2, clock, "ada", "bob")
    assert not has_place(made, "eve")
    clock.now += REST_S
    made.living("bob").used_at = clock.now
    assert has_place(made, "eve")
    assert set(made.children()) == {"bob"}
    assert not has_place(made, "ada")  # whose turn comes again


def test_one_that_never_rests_has_its_share_of_time(clock: Clock) -> None:
    made = pool_of(1, clock, "ada")
    ada = made.living("ada")
    ada.is_at_work = True
    for _ in range(int(SHARE_S) * 2):
        ada.used_at = clock.now
        assert not has_place(made, "bob")
        assert ada.is_leaving == (clock.now >= 100 + SHARE_S)
        clock.now += 0.5
    assert not has_place(made, "bob")  # what it was asked is answered yet
    ada.is_at_work = False
    assert has_place(made, "bob")
    assert ada.has_ended


def test_tenants_are_served_in_the_order_in_which_they_came(clock: Clock) -> None:
    made = pool_of(1, clock, "ada")
    for tenant in ("bob", "eve", "dan"):
        assert not has_place(made, tenant)
    assert made.waiting() == ["bob", "eve", "dan"]
    clock.now += REST_S
    assert not has_place(made, "eve")
    assert has_place(made, "bob")
    made.child(TenantId("bob"))
    assert made.waiting() == ["eve", "dan"]
    clock.now += GONE_S / 2
    assert has_place(made, "eve")


def test_who_does_not_ask_any_more_holds_up_nobody(clock: Clock) -> None:
    made = pool_of(1, clock, "ada")
    assert not has_place(made, "bob")
    clock.now += GONE_S + 1
    assert has_place(made, "eve")


def test_it_is_told_once_a_minute_that_tenants_wait(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    made = pool_of(1, clock, "ada")
    made.living("ada").is_at_work = True
    for _ in range(20):
        assert not has_place(made, "bob")
    assert [record.getMessage()[:36] for record in caplog.records] == ["tenant bob waits for a process: all "]


def test_without_a_share_one_at_work_is_left_alone(clock: Clock) -> None:
    made: Any = Pool(1, lambda: Stub(clock.now))  # type: ignore[arg-type, return-value]
    made.child(TenantId("ada")).is_at_work = True
    clock.now += 100
    assert not has_place(made, "bob")
    made.living("ada").is_at_work = False
    assert has_place(made, "bob")


def test_a_place_that_is_not_taken_is_given_on(clock: Clock) -> None:
    made = pool_of(1, clock)
    assert has_place(made, "ada")
    assert not has_place(made, "bob")
    clock.now += GONE_S + 1
    assert has_place(made, "bob")
