"""A slice of `make test262`, where a checkout of it is at hand."""

from __future__ import annotations

import pytest

from test262.campaign import COMMIT, checkout, known, run, scenarios

SHARE = 0.006  # about 500 scenarios


def test_a_slice_passes() -> None:
    root = checkout()
    if root is None:
        pytest.skip(f"TEST262 names no repository of tc39/test262 (commit {COMMIT[:10]})")

    fails = {str(scenario): why for scenario in scenarios(root, SHARE) if (why := run(root, scenario))}
    assert {name: why for name, why in fails.items() if name not in known()} == {}


def test_what_does_not_pass_is_known_by_its_reason() -> None:
    reasons = set(known().values())

    assert len(reasons) == 3
    assert sum(why == "on purpose" for why in known().values()) == 14
