"""What schemathesis does before it asks: `.ci/schemathesis.toml` names this file."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A poll that the document allows waits for as long as it is told: here for a moment."""
    if case.operation.path == "/v1/steps/poll" and isinstance(case.body, dict):
        wait_s = case.body.get("wait_s", 1)
        if isinstance(wait_s, int | float) and wait_s > 0:
            case.body["wait_s"] = 0.05
