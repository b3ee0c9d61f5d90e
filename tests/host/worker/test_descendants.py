"""Whose count a run is held against: the history of the root that began what is above it."""

from __future__ import annotations

import pytest

from cloche.history import RunId, RunKey, TenantId
from cloche.text import ID_SEPARATOR
from cloche.worker.descendants import root_of


@pytest.mark.parametrize(
    ("run", "root"),
    [
        ("a", "a"),
        ("a›n1", "a"),
        ("a›c3", "a"),
        ("a›c3›s1", "a"),
        ("a›n2›c3", "a›n2"),  # what the history before had begun has ended with it
        ("a›c3›n1›c4", "a"),  # a child that goes on is where it was
        ("a›n2›c3›n1›c4", "a›n2"),
        ("a›r1›c2", "a›r1"),  # whoever retries a run begins one
        ("nightly›t1774747800000›c2", "nightly›t1774747800000"),  # not all runs of a schedule together
        ("nightly›f1774747800000›n1›c2›n3›c1", "nightly›f1774747800000›n1"),
    ],
)
def test_the_root_of_a_run(run: str, root: str) -> None:
    tenant = TenantId("acme")
    keys = [RunKey(tenant, RunId(one.replace("›", ID_SEPARATOR))) for one in (run, root)]
    assert root_of(keys[0]) == keys[1]
