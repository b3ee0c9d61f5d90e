"""What `/openapi.json` says is so: requests that it allows and forbids, to every endpoint of a real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from support.commands import MATH, cloche
from support.serving import Serving

BOUNDED = settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
# Ids, names and code have rules that no JSON Schema says: such a request fits the document, and is refused with a reason.
LEFT_OUT = [positive_data_acceptance]
# In sequences each request has the token, also one that was to lack it: the test of every endpoint holds what is refused.
LEFT_OUT_IN_SEQUENCES = [*LEFT_OUT, negative_data_rejection]
ENDLESS = "/v1/feed"  # its own tests hold it


@contextmanager
def serving(folder: Path) -> Iterator[Serving]:
    store = str(folder / "runs.db")
    made = cloche("token", "create", "--all-tenants", "--role", "admin", "--store", store)
    with Serving(MATH, store=store, token=made.out.strip()) as server:
        yield server


def test_every_endpoint_does_what_the_document_says(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        for number in range(3):
            server.post("/v1/workflows/math/runs", {"input": {"x": number}, "run_id": f"r{number}"}, Prefer="wait=30")
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json").exclude(path=ENDLESS)
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
        _hurry(case)
        case.call_and_validate(headers=dict(server.headers), excluded_checks=LEFT_OUT)

    check()


def _hurry(case: Any) -> None:
    """A poll that the document allows waits for as long as it is told: here for a moment."""
    if case.operation.path == "/v1/steps/poll" and isinstance(case.body, dict):
        wait_s = case.body.get("wait_s", 1)
        if isinstance(wait_s, int | float) and wait_s > 0:
            case.body["wait_s"] = 0.1


def test_what_follows_from_an_answer_does_too(tmp_path: Path) -> None:
    """In sequences: what one request has made, the links of the document lead the next ones to."""
    with serving(tmp_path) as server:
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json").exclude(path=ENDLESS)
        followed: list[str] = []
        machine: Any = schema.as_state_machine()

        class Following(machine):  # type: ignore[misc]  # it is made of the document
            def get_call_kwargs(self, case: Any) -> dict[str, Any]:
                _hurry(case)
                return {"headers": dict(server.headers)}

            def validate_response(self, response: Any, case: Any, *_: Any, **options: Any) -> None:
                followed.append(case.operation.label)
                case.validate_response(response, excluded_checks=LEFT_OUT_IN_SEQUENCES, transport_kwargs=options)

        Following.run(settings=settings(BOUNDED, max_examples=20, stateful_step_count=6))
        assert len(followed) >= 40
