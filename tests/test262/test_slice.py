"""A slice of `make test262`, where a checkout of it is at hand."""

from __future__ import annotations

import pytest

from test262.campaign import COMMIT, checkout, run, scenarios

SHARE = 0.006  # about 500 scenarios


def test_a_slice_passes() -> None:
    root = checkout()
    if root is None:
        pytest.skip(f"TEST262 names no repository of tc39/test262 (commit {COMMIT[:10]})")

    assert [(str(scenario), why) for scenario in scenarios(root, SHARE) if (why := run(root, scenario))] == []
