"""How far two clocks are apart, told from an answer that took its time."""

from __future__ import annotations

import pytest

from cloche.errors import StoreUnavailable
from cloche.history import TimeMs
from cloche.worker.skew import Skew


@pytest.mark.parametrize(
    ("store", "takes"),
    [
        (None, True),
        (10_000, True),
        (8_000, True),  # asked 2 s later
        (7_999, False),
        (17_000, True),  # answered 2 s before
        (17_001, False),
        (13_000, True),  # while it was asked: the two may be the same
    ],
)
def test_an_answer_that_took_5_s_may_be_of_any_time_between(store: int | None, takes: bool) -> None:
    skew = Skew(2.0)
    skew.compare(None if store is None else TimeMs(store), TimeMs(10_000), TimeMs(15_000))
    assert skew.is_too_large is not takes
    if not takes:
        with pytest.raises(StoreUnavailable, match=r"2\.0 s (ahead of|behind) the store's"):
            skew.check()
