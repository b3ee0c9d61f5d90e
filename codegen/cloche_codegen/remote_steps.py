"""`RemoteStep`: a step whose attempts are performed elsewhere, in any language. Sending them there is the host's work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloche_codegen.errors import GraphError
from cloche_codegen.limits import AnyLimit, Concurrency, RateLimit, limits_of
from cloche_codegen.parameters import Parameters, parameters_of
from cloche_codegen.steps import Execute, RetryConfig, Step

HEARTBEAT_S = 30.0
_ELSEWHERE = "cloche_remote_step"  # the attribute by which the function of such a step is known
_DATA = parameters_of(lambda data: None)


@dataclass(frozen=True, eq=False, init=False)
class RemoteStep(Step[[Any], Any]):
    """A step that is performed elsewhere. It stands wherever a step may: in the builder, in native workflows, in a registry.

    Its attempts wait in the store until a remote worker takes one. Retries, timeouts and `at_most_once` are as of any step; a
    run that waits for such steps alone holds no cell.
    """

    heartbeat_s: float = HEARTBEAT_S

    def __init__(
        self,
        id: str,
        *,
        input_schema: Any = None,
        output_schema: Any = None,
        description: str | None = None,
        retries: int | None = None,
        retry_config: RetryConfig | Mapping[str, Any] | None = None,
        timeout: float | None = None,
        timeout_s: float | None = None,
        at_most_once: bool = False,
        heartbeat_s: float = HEARTBEAT_S,
        concurrency: Concurrency | Sequence[Concurrency] | None = None,
        rate_limit: RateLimit | Sequence[RateLimit] | None = None,
        metadata: Mapping[str, Any] | None = None,
        resume_schema: Any = None,
        suspend_schema: Any = None,
        state_schema: Any = None,
        execute: Execute | None = None,
        is_async: bool = True,
        parameters: Parameters = _DATA,
        limits: tuple[AnyLimit, ...] = (),
    ) -> None:
        """
        Args:
            id: what workers ask for.
            input_schema, output_schema: annotations or JSON Schemas. The input is held against its schema before it is sent,
                the output when it comes.
            timeout: seconds that an attempt may take, from the moment in which a worker has taken it. `timeout_s` is the same.
            heartbeat_s: after so many seconds without a heartbeat the worker is taken for dead: the attempt is given to
                another one; one that is `at_most_once` has failed with `UnknownOutcome`.
            concurrency, rate_limit: as of `create_step`; an attempt counts until its worker has said how it ended.
            execute: what is called in the place of a worker, in tests: with it the step is one of this process.

        Raises:
            GraphError: a number is out of its bounds, or a step that is to run at most once has a `retry_config` with attempts.
        """
        timeout_s = timeout if timeout is not None else timeout_s
        config = RetryConfig(**retry_config) if isinstance(retry_config, Mapping) else retry_config
        _check(id, retries, timeout_s, heartbeat_s)
        if at_most_once and config is not None and config.attempts:
            what = "a step with at_most_once=True has no retries but those that it says itself: retries=2"
            raise GraphError.one("bad_step", str(id), what)
        given = dict(locals(), execute=execute or _elsewhere(id), retry_config=config, metadata=metadata or {})
        given["limits"] = limits or limits_of(id, concurrency, rate_limit)
        given["retries"] = (retries or 0) if at_most_once else retries
        for name in self.__dataclass_fields__:
            object.__setattr__(self, name, given[name])
        self.__post_init__()

    @property
    def is_remote(self) -> bool:
        """Whether it is performed elsewhere: a double of a test stands in the place of its worker."""
        return hasattr(self.execute, _ELSEWHERE)


def _check(id: Any, retries: Any, timeout_s: Any, heartbeat_s: Any) -> None:
    def wrong(message: str) -> GraphError:
        return GraphError.one("bad_step", str(id), message)

    if not isinstance(id, str) or not id:
        raise wrong("a remote step has an id, which workers ask for: RemoteStep('resize')")
    if retries is not None and (not isinstance(retries, int) or isinstance(retries, bool) or retries < 0):
        raise wrong(f"retries must be a whole number from 0, not {retries!r}")
    for name, value in (("timeout", timeout_s), ("heartbeat_s", heartbeat_s)):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (value is None and name == "timeout") and not (is_number and value > 0):
            raise wrong(f"{name} is a number of seconds above 0, not {value!r}")


def _elsewhere(id: str) -> Execute:
    async def execute(data: Any) -> Any:
        raise RuntimeError(f"step '{id}' is performed by a remote worker, and is no function of this process")

    execute.__name__ = execute.__qualname__ = id
    setattr(execute, _ELSEWHERE, True)
    return execute
