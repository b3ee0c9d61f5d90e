"""Which transactions have ended between two looks, by the server's numbers."""

from __future__ import annotations

import pytest

from cloche.store.postgres.snapshots import Snapshot


@pytest.mark.parametrize(
    ("before", "now", "own", "ended"),
    [
        ("10:10:", "10:10:", [], 0),
        ("10:10:", "11:11:", [], 1),
        ("10:10:", "11:11:", [10], 0),
        ("10:10:", "13:13:", [11], 2),
        ("10:12:10", "12:12:", [], 1),  # one that was open has ended
        ("10:12:10", "12:12:", [10], 0),
        ("10:12:10", "10:14:10,13", [], 1),  # 12 has ended, 13 has begun
        ("10:12:10", "10:14:10,13", [12], 0),
        ("10:12:10", "10:12:10", [11], 0),  # one that had ended before does not count again
    ],
)
def test_others_are_counted_without_own(before: str, now: str, own: list[int], ended: int) -> None:
    assert Snapshot.parse(now).ended_since(Snapshot.parse(before), own) == ended
