"""What a step's context can ask of its run where that is elsewhere: nothing but what came with the attempt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from cloche.errors import UsageError
from cloche.steps.elsewhere import NoStore


class WorkerServices(NoStore):
    """Implements `Services` of `steps.context`.

    Raises:
        UsageError: from every method: what is asked for is where the run is.
    """

    def result_schema(self, name: str) -> None:
        return None

    def result_now(self, path: str) -> Any:
        _elsewhere("get_step_result")

    async def result_of(self, path: str) -> Any:
        _elsewhere("step_result")

    def abort_run(self, reason: str) -> None:
        _elsewhere("abort")

    def write(self, value: Any) -> None:
        _elsewhere("writer")

    def set_tags(self, tags: Mapping[str, str]) -> None:
        _elsewhere("set_tags")

    async def start_child(self, workflow: Any, input_data: Any, run_id: str | None, id: str | None) -> Any:
        _elsewhere("start_child")


def _elsewhere(name: str) -> NoReturn:
    raise UsageError(f"ctx.{name} is not there in a remote step: give the step what it needs as its input")
