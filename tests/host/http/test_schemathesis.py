"""What `/openapi.json` says is so: requests that it allows and forbids, to every endpoint of a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from support.commands import MATH, cloche
from support.serving import Serving

BOUNDED = settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
# Ids, names and code have rules that no JSON Schema says: such a request fits the document, and is refused with a reason.
LEFT_OUT = [positive_data_acceptance]


def test_every_endpoint_does_what_the_document_says(tmp_path: Path) -> None:
    store = str(tmp_path / "runs.db")
    made = cloche("token", "create", "--all-tenants", "--role", "admin", "--store", store)
    with Serving(MATH, store=store, token=made.out.strip()) as server:
        for number in range(3):
            server.post("/v1/workflows/math/runs", {"input": {"x": number}, "run_id": f"r{number}"}, Prefer="wait=30")
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        wrong = {}
        found: Any = schema.get_all_operations()
        operations = [one.ok() for one in found]
        for operation in operations:
            try:
                _held(operation, server)
            except Exception as error:
                wrong[operation.label] = str(error)
        assert wrong == {}
        assert len(operations) >= 30


def _held(operation: Any, server: Serving) -> None:
    @BOUNDED
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        case.call_and_validate(headers=dict(server.headers), excluded_checks=LEFT_OUT)

    check()
