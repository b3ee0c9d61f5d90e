"""Values, times and names at the edges of what they can be: each crosses, or is refused by name, and is replayed alike."""

from __future__ import annotations

import pytest
from hostile.platform import Mode, attacked, javascript

CROSSING = {
    "a date after all years": ("return new Date(8.64e15);", ("failed", "TypeError")),
    "a date before all years": ("return new Date(-8.64e15);", ("failed", "TypeError")),
    "a date that is none": ("return new Date(NaN);", ("failed", "TypeError")),
    "a date after all years as an argument": ("return await step('echo')(new Date(8.64e15));", ("failed", "TypeError")),
    "half of a character": (r"return '\ud800';", ("success", "\ufffd")),
    "half of a character as an argument": (r"return await step('echo')('\udfff');", ("success", "\ufffd")),
    "half of a character as a key": (r"return {['\ud800']: 1};", ("success", "{'\ufffd': 1}")),
    "half of a character in a log line": (r"console.log('\ud800'); return 1;", ("success", "1")),
    "half of a character in an error": (r"throw new Error('\ud800');", ("failed", "Error")),
    "minus zero": ("return -0;", ("success", "-0.0")),
    "no number": ("return NaN;", ("success", "nan")),
    "a number without end": ("return await step('echo')(Infinity);", ("success", "inf")),
    "an integer of a million digits": ("return 2n ** 4_000_000n;", ("failed", "RangeError")),
}
TIMES = ("Infinity", "NaN", "1e300", "-1", "-1e300", "8.64e15")


@pytest.mark.parametrize(("body", "end"), CROSSING.values(), ids=CROSSING)
def test_what_is_at_the_edge_crosses_or_is_refused(mode: Mode, body: str, end: tuple[str, str]) -> None:
    assert attacked(mode, javascript(body)).end == end


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("waits", ["cloche.sleep('s', {})", "cloche.waitForEvent('w', 'go', {})"])
def test_a_time_that_is_none_or_never_comes(mode: Mode, time: str, waits: str) -> None:
    body = f"const first = await Promise.race([{waits.format(time)}, step('echo')(1)]).catch((e) => e); return 1;"
    assert attacked(mode, javascript(body)).end == ("success", "1")
