"""Every promise in PROMISES.md, and every defence in SECURITY.md, names a test, and the test is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cloche import Policy

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["host/PROMISES.md", "SECURITY.md", "tests/hostile/README.md"])
def test_every_promise_is_held_by_a_test_that_is_there(page: str) -> None:
    rows = re.findall(r"^\| (?!promise|attack|---)(.*) \| (.*?) \|$", (ROOT / page).read_text(), re.MULTILINE)
    assert len(rows) >= 10
    missing = []
    for promise, held in rows:
        named = re.findall(
            r"`((?:host|guest|guest_python|hostile|fuzz|codegen|simulation|libraries)/[\w/]+\.py)(?:::(\w+))?`", held
        )
        found = [file for file, test in named if f"def {test or 'test_'}" in (ROOT / "tests" / file).read_text()]
        if not named or len(found) != len(named):
            missing.append(promise)
    assert missing == []


def test_every_bound_of_a_policy_is_said_to_be_enforced_somewhere() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    [places] = re.findall(r"Where each bound of `Policy`.*?\n\n(.*?)\n\n", page, re.DOTALL)
    assert sorted(name for name in re.findall(r"`(\w+)`", places) if "." not in name) == sorted(Policy.model_fields)
