"""What `/openapi.json` says is so: requests that it allows and forbids, by the hundred, on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from support.commands import MATH, cloche
from support.serving import Serving

EXAMPLES = 8  # of each endpoint
BOUNDED = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    store = str(tmp_path_factory.mktemp("served") / "runs.db")
    made = cloche("token", "create", "--all-tenants", "--role", "admin", "--store", store)
    with Serving(MATH, store=store, token=made.out.strip()) as found:
        for number in range(3):
            found.post("/v1/workflows/math/runs", {"input": {"x": number}, "run_id": f"r{number}"}, Prefer="wait=30")
        yield found


@pytest.fixture(scope="module")
def schema(server: Serving) -> Any:
    found = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    found.config.update(rate_limit=None)
    return found


described = schemathesis.pytest.from_fixture("schema")


@described.parametrize()
@BOUNDED
def test_every_endpoint_does_what_it_says(case: Any, server: Serving) -> None:
    case.call_and_validate(headers=dict(server.headers))
