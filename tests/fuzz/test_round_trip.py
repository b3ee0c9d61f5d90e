"""The table of values through the real guest: encoded by Python, read, held and written by JavaScript, the same bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from fuzz.oracles import CAME_BACK, REFUSED, judge_output, through_javascript
from guest.cells import FAIL, NOW, SEED, Cell, GuestStopped, pack, sequence
from hypothesis import example, given, settings
from support.strategies import damaged, hostile, values

from cloche.history.check import check
from cloche.history.values import encode

ECHO = """const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];
export default async (input) => { await step("s")(input); return input }"""
BEFORE = pack([0, NOW, SEED, None, {}])[:-2]  # all but the input and what is given


def echo(encoded: bytes) -> tuple[bytes, bytes]:
    """A value as the argument of a step and as the result of the run."""
    output = Cell(ECHO).give(BEFORE + encoded + b"\xa0", pack([1, NOW, 1, None]))
    judge_output(output)
    asked, _, completed, _ = _split(output)
    return asked[len(b"\x85\x00\x01\x61s\x61s\x81") :], completed[2:]


def give_back(encoded: bytes) -> bytes:
    return Cell("export default async (input) => input").give(BEFORE + encoded + b"\xa0")


def _split(output: bytes) -> list[bytes]:
    items, at = [], 0
    while at < len(output):
        end = check(output, at)
        items.append(output[at:end])
        at = end
    return items


@given(values())
@settings(max_examples=150, deadline=None)
@example({"__proto__": 1, "10": 2, "2": {"constructor": []}, "": 3})
@example([1.0, 1, -0.0, 0.0, 2.0**53, 2**53, 2**53 - 1, float(2**53 - 1), 1e300])
@example([datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), datetime(1, 1, 1, tzinfo=UTC)])
def test_a_value_of_the_table_comes_back_in_its_one_form(value: Any) -> None:
    expected = through_javascript(encode(value))
    assert expected is not None
    _, _, canonical = expected

    assert echo(encode(value)) == (canonical, canonical)
    assert echo(canonical) == (canonical, canonical)


@given(damaged() | hostile)
@settings(max_examples=150, deadline=None)
def test_the_guest_takes_exactly_what_the_host_would_take(data: bytes) -> None:
    outcome, size, back = through_javascript(data) or (REFUSED, len(data), b"")
    if outcome == REFUSED or size != len(data):
        with pytest.raises(GuestStopped, match="-1"):
            give_back(data)
    elif outcome == CAME_BACK:
        assert give_back(data) == b"\x82\x07" + back + b"\xf6"
    else:
        assert sequence(give_back(data))[0][0] == FAIL


HOUR = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    "moment",
    [
        datetime.min.replace(tzinfo=HOUR),
        datetime.max.replace(microsecond=999_000, tzinfo=timezone(-timedelta(hours=1))),
    ],
)
def test_an_instant_that_leaves_the_calendar_in_utc_cannot_go_out_again(moment: datetime) -> None:
    failed, _ = sequence(give_back(encode([moment])))

    assert failed[0] == FAIL
    assert failed[1]["message"] == "result[0] is a Date outside of the years 0001 to 9999"
