"""Workflows with remote steps, for servers that tests start. Heartbeats are short: a worker that is killed is missed soon."""

from __future__ import annotations

from typing import Any

from cloche import RemoteStep, create_workflow

SILENCE_S = 2.0


def _flow(step: str, **options: Any) -> Any:
    return create_workflow(id=step).then(RemoteStep(step, heartbeat_s=SILENCE_S, **options)).commit()


echo = _flow("echo")
refuse = _flow("refuse", retries=1)
write = _flow("write")
wait = _flow("wait")
wait_once = _flow("wait-once", at_most_once=True)
