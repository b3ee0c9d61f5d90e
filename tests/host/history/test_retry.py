"""When a failed attempt is made again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.history.retry import DELAY_MS_MAX, RetryPolicy


def delays(policy: RetryPolicy, identity: str = "r1:1") -> list[int | None]:
    return [policy.delay_after(attempt, identity) for attempt in range(1, policy.retries + 2)]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (RetryPolicy(), [None]),
        (RetryPolicy(2), [0, 0, None]),
        (RetryPolicy(2, 100), [100, 100, None]),
        (RetryPolicy(4, 100, 2), [100, 200, 400, 800, None]),
        (RetryPolicy(3, 100, 10, delay_ms_max=500), [100, 500, 500, None]),
        (RetryPolicy(2, 1_000_000_000), [DELAY_MS_MAX, DELAY_MS_MAX, None]),
        (RetryPolicy(3, 1000, 0.5), [1000, 500, 250, None]),
    ],
    ids=repr,
)
def test_the_delay_grows_by_its_factor_up_to_its_bound(policy: RetryPolicy, expected: list[int | None]) -> None:
    assert delays(policy) == expected


def test_jitter_takes_a_part_away_and_is_the_same_on_every_replay() -> None:
    policy = RetryPolicy(20, 1000, jitter=0.5)
    first, again, other = delays(policy), delays(policy), delays(policy, "r2:1")
    assert (first == again, first == other) == (True, False)
    assert all(500 < delay <= 1000 for delay in first if delay is not None)


@given(
    st.integers(1, 10_000), st.integers(0, 10**15), st.floats(0, 1e300), st.integers(0, DELAY_MS_MAX), st.floats(0, 1)
)
def test_no_policy_gives_a_delay_beyond_its_bound(
    attempt: int, delay_ms: int, backoff: float, bound: int, jitter: float
) -> None:
    delay = RetryPolicy(10_000, delay_ms, backoff, bound, jitter).delay_after(attempt, "r")
    assert delay is not None
    assert 0 <= delay <= bound
