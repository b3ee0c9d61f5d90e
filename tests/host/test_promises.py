"""Every promise in PROMISES.md names a test, and the test is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_promise_is_held_by_a_test_that_is_there() -> None:
    rows = re.findall(r"^\| (?!promise|---)(.*?) \| (.*?) \|$", (ROOT / "host/PROMISES.md").read_text(), re.MULTILINE)
    assert len(rows) > 10
    missing = []
    for promise, held in rows:
        named = re.findall(r"`(host/[\w/]+\.py)(?:::(\w+))?`", held)
        found = [file for file, test in named if f"def {test or 'test_'}" in (ROOT / "tests" / file).read_text()]
        if not named or len(found) != len(named):
            missing.append(promise)
    assert missing == []
