"""What a step is: a function with an id, schemas and a retry policy. Calling it is the host's work.

Schemas are read from the annotations of the function: the parameter is the input, the return type the output. A step may have
any number of parameters; where several need a value, the input is a mapping of them by name. One receives the step's context
(`parameters.parameters_of`).
"""

from __future__ import annotations

import builtins
import functools
import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Generic, TypeVar, overload

from pydantic import Field, TypeAdapter, field_validator

from cloche_codegen.conditions.predicates import Frozen
from cloche_codegen.errors import GraphError
from cloche_codegen.limits import AnyLimit, Concurrency, RateLimit, limits_of
from cloche_codegen.parameters import RESOURCE, Parameters, mapping_type, parameters_of, type_of
from cloche_codegen.schemas import adapter_of
from cloche_codegen.variables import P, R

Execute = Callable[..., Any]
S = TypeVar("S", bound="Step")
_DATA = parameters_of(lambda data: None)
_OTHER_NAMES = {  # of the options, as other systems name them
    "timeout": "timeout_s",
    "start_to_close_timeout": "timeout_s",
    "name": "id",
    "retry": "retry_config",
    "retry_policy": "retry_config",
    "max_retries": "retries",
    "retries_allowed": "retries",
    "max_attempts": "retries",
    "idempotent": "at_most_once",
    "input": "input_schema",
    "output": "output_schema",
}


class RetryConfig(Frozen):
    """How often, and after what wait, a failed step is tried again.

    `attempts` are those after the first one, as `retries` is: with `attempts=1` a step is tried twice.
    """

    attempts: int = Field(default=0, ge=0)  # extra tries after the first one
    delay_s: float = Field(default=0.0, ge=0)  # before the first extra try
    factor: float = Field(default=1.0, ge=1)  # each wait is this many times the last: 1 is a fixed delay
    delay_s_max: float | None = Field(default=None, ge=0)
    jitter: float = Field(default=0.0, ge=0, le=1)  # share of the wait that is drawn by chance
    retry_on: tuple[str, ...] | None = (
        None  # names of exception classes, or these themselves; None: whatever was raised
    )

    @field_validator("retry_on", mode="before")
    @classmethod
    def _names(cls, given: object) -> object:
        """Classes are kept by name: a graph is data, and an error that crossed a process has only its name."""
        if given is None:
            return None
        several = given if isinstance(given, tuple | list | set | frozenset) else (given,)
        names = [one.__name__ if isinstance(one, type) and issubclass(one, BaseException) else one for one in several]
        return tuple(sorted(names, key=str) if isinstance(given, set | frozenset) else names)

    @field_validator("retry_on")
    @classmethod
    def _some(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and not all(names):
            raise ValueError("retry_on takes exception classes or their names")
        return names

    def covers(self, error: BaseException) -> bool:
        """Whether `retry_on` allows another try after this error: it or one of its base classes is named there."""
        return self.retry_on is None or any(kind.__name__ in self.retry_on for kind in type(error).__mro__)


class Schematic:
    """What steps and workflows have in common: an id and schemas, each given as an annotation or JSON Schema."""

    id: str
    input_schema: Any
    output_schema: Any
    state_schema: Any
    resume_schema: Any
    suspend_schema: Any

    def input_adapter(self) -> TypeAdapter[Any] | None:
        """Validates what goes in; None when no schema was given. Cached: the same object for the same annotation."""
        return adapter_of(self.input_schema, self.id)

    def output_adapter(self) -> TypeAdapter[Any] | None:
        """Revives what came out; None when no schema was given."""
        return adapter_of(self.output_schema, self.id)

    def state_adapter(self) -> TypeAdapter[Any] | None:
        """Validates the state; None when no schema was given."""
        return adapter_of(self.state_schema, self.id)

    def resume_adapter(self) -> TypeAdapter[Any] | None:
        """Validates what a suspended step is resumed with; None when no schema was given."""
        return adapter_of(self.resume_schema, self.id)

    def suspend_adapter(self) -> TypeAdapter[Any] | None:
        """Validates what a step suspends with; None when no schema was given."""
        return adapter_of(self.suspend_schema, self.id)


@dataclass(frozen=True, eq=False)
class Step(Schematic, Generic[P, R]):
    """A step with the parameters `P` (without its context) and the result `R`.

    Two are the same only if they are the same object; `clone_step` gives one more under another id.
    """

    id: str
    execute: Execute
    description: str | None = None
    input_schema: Any = None
    output_schema: Any = None
    resume_schema: Any = None
    suspend_schema: Any = None
    state_schema: Any = None
    retries: int | None = None  # extra tries; None: as the workflow says
    retry_config: RetryConfig | None = None  # None: as the workflow says; `retries` overrides its attempts
    timeout_s: float | None = None  # of one attempt
    metadata: Mapping[str, Any] = field(default_factory=dict)
    at_most_once: bool = False  # never repeated, also not after a crash in the middle of it
    limits: tuple[AnyLimit, ...] = ()  # that hold for its attempts over all workers
    is_async: bool = False  # whether `execute` is an `async def`; anything else may still return an awaitable
    parameters: Parameters = field(default=_DATA, repr=False)

    def __post_init__(self) -> None:
        """It has the name, the text and the signature of its function, as what `functools.wraps` makes."""
        for name in functools.WRAPPER_ASSIGNMENTS:
            if hasattr(self.execute, name):
                object.__setattr__(self, name, getattr(self.execute, name))
        object.__setattr__(self, "__wrapped__", self.execute)

    @property
    def takes_context(self) -> bool:
        """Whether its function has a second parameter: that was the context, in runs begun under ABI 1."""
        return self.parameters.has_second

    def argument_adapter(self, parameter: str) -> TypeAdapter[Any] | None:
        """Validates an argument; None where nothing is said of it."""
        if parameter == self.parameters.first:
            return self.input_adapter()
        return adapter_of(self.parameters.types.get(parameter), f"{self.id}.{parameter}")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[None, None, R]:
        """Inside of a native workflow: a call of the step, to be awaited.

        Outside it is the function itself, for tests of a step alone. There a sync step answers at once, and one that takes a
        context is given it: call `execute` where types are checked.
        """
        answer: Coroutine[None, None, R] = self.execute(*args, **kwargs)
        return answer


def create_step(
    *,
    id: str,
    execute: Execute,
    description: str | None = None,
    input_schema: Any = None,
    output_schema: Any = None,
    resume_schema: Any = None,
    suspend_schema: Any = None,
    state_schema: Any = None,
    retries: int | None = None,
    retry_config: RetryConfig | Mapping[str, Any] | None = None,
    timeout_s: float | None = None,
    metadata: Mapping[str, Any] | None = None,
    at_most_once: bool = False,
    concurrency: Concurrency | Sequence[Concurrency] | None = None,
    rate_limit: RateLimit | Sequence[RateLimit] | None = None,
) -> Step:
    """A step out of a function, sync or async: `(data)`, `(data, ctx)`, or any number of parameters.

    Schemas given here win over annotations.

    A step may run more than once for one call: after a failure as its retries say, and after a crash. `at_most_once` is for
    what must not: one that a crash cut off fails with `UnknownOutcome` and is never repeated. It has no retries but those
    that it says itself: with `retries=2` each of three attempts begins at most once, and one follows only where the failure of
    the one before is recorded.

    `concurrency` and `rate_limit` hold over all workers of a store: an attempt waits until it may begin, and no timeout runs
    meanwhile.

    Raises:
        GraphError: `execute` is no function but a method, an annotation cannot be resolved, or a step that is to run at most
            once has a `retry_config` with attempts; a limit is none.
    """
    return _create(Step, sys._getframe(1).f_locals, **locals())


def create_step_in(scope: Mapping[str, Any], **options: Any) -> Step:
    """As `create_step`; annotations are looked up in `scope` as in the function that calls it."""
    given = inspect.signature(create_step).bind(**options)
    given.apply_defaults()
    return _create(Step, scope, **given.arguments)


@overload
def step(execute: Execute, /) -> Step: ...
@overload
def step(
    *,
    id: str | None = None,
    description: str | None = None,
    input_schema: Any = None,
    output_schema: Any = None,
    resume_schema: Any = None,
    suspend_schema: Any = None,
    state_schema: Any = None,
    retries: int | None = None,
    retry_config: RetryConfig | Mapping[str, Any] | None = None,
    timeout_s: float | None = None,
    metadata: Mapping[str, Any] | None = None,
    at_most_once: bool = False,
    concurrency: Concurrency | Sequence[Concurrency] | None = None,
    rate_limit: RateLimit | Sequence[RateLimit] | None = None,
) -> Callable[[Execute], Step]: ...
def step(execute: Execute | None = None, /, **options: Any) -> Step | Callable[[Execute], Step]:
    """Make a function a step: `@step` or `@step(id="double", retries=2)`. The id defaults to the function's name.

    The description defaults to the first line of the docstring. Options are those of `create_step`.
    """
    # Annotations of a function defined inside another one may name that one's local classes.
    scope = sys._getframe(1).f_locals

    def make(function: Execute) -> Step:
        described = (inspect.getdoc(function) or "").partition("\n")[0] or None
        given = {"description": described, **{key: value for key, value in options.items() if value is not None}}
        return _create(Step, scope, **{"id": getattr(function, "__name__", "step"), **given, "execute": function})

    return make if execute is None else make(execute)


def clone_step(step: S, *, id: str) -> S:
    """The same step under another id, so that one workflow can use it twice."""
    return replace(step, id=id)


def _meant(kind: type[Step], name: str) -> str:
    """What somebody may have meant by an option that there is not."""
    names = [one for one in kind.__dataclass_fields__ if one not in ("execute", "is_async", "parameters", "limits")]
    names += ["concurrency", "rate_limit"]
    near = _OTHER_NAMES.get(name) or next(iter(get_close_matches(name, names, 1)), None)
    return f": did you mean {near}=?" if near else f"; there are {', '.join(names)}"


def _create(kind: type[S], scope: Mapping[str, Any], **options: Any) -> S:
    id, execute = options["id"], options["execute"]
    if isinstance(execute, str):
        advice = f"an id is given by its name: @step(id={execute!r})"
        raise GraphError.one("bad_step", execute, f"@step takes a function, not text; {advice}")
    if isinstance(execute, type):
        raise GraphError.one(
            "bad_step", str(id), f"{execute.__name__} is a class: a step is a function; write def {id}(…)"
        )
    if not callable(execute):
        raise GraphError.one("bad_step", str(id), f"execute must be a function, not {type(execute).__name__}")
    if inspect.isasyncgenfunction(execute) or inspect.isgeneratorfunction(execute):
        advice = "return a list, or write each value as it comes: ctx.writer.write(x)"
        raise GraphError.one("bad_step", str(id), f"its function has a yield, and a step returns one value: {advice}")
    given = {key: value for key, value in options.items() if value is not None}
    given["limits"] = limits_of(str(id), given.pop("concurrency", None), given.pop("rate_limit", None))
    if unknown := [key for key in given if key not in kind.__dataclass_fields__]:
        raise TypeError(f"step '{id}' has no option {unknown[0]}={_meant(kind, unknown[0])}")
    if isinstance(given.get("retry_config"), Mapping):
        given["retry_config"] = RetryConfig(**given["retry_config"])
    retries = given.get("retries")
    if retries is not None and (not isinstance(retries, int) or isinstance(retries, bool) or retries < 0):
        raise GraphError.one("bad_step", str(id), f"retries must be a whole number from 0, not {retries!r}")
    timeout = given.get("timeout_s")
    if timeout is not None and (not isinstance(timeout, int | float) or isinstance(timeout, bool) or not timeout > 0):
        raise GraphError.one("bad_step", str(id), f"timeout_s is a number of seconds above 0, not {timeout!r}")
    if given.get("at_most_once"):
        config = given.get("retry_config")
        if config is not None and config.attempts:
            what = "a step with at_most_once=True has no retries but those that it says itself: retries=2"
            raise GraphError.one("bad_step", str(id), what)
        given["retries"] = retries or 0  # whatever its workflow says
    _refuse_method(id, execute)
    parameters = _with_resources(id, execute, scope)
    types = _types(id, execute, parameters, scope)
    if parameters.is_by_name:
        given.setdefault("input_schema", mapping_type(parameters.name, parameters, types))
    elif parameters.first is not None:
        given.setdefault("input_schema", types.get(parameters.first))
    given.setdefault("output_schema", annotation_of(id, execute, _returns(execute), scope))
    is_async = inspect.iscoroutinefunction(execute)
    return kind(**given, is_async=is_async, parameters=replace(parameters, types=types))


def _refuse_method(id: str, execute: Execute) -> None:
    """A function of a class that wants the object: there is none when the step runs."""
    name = getattr(execute, "__qualname__", "")
    home = name.rpartition(".")[0]
    first = next(iter(inspect.signature(execute).parameters), None)
    if inspect.isfunction(execute) and home and not home.endswith("<locals>") and first in ("self", "cls"):
        raise GraphError.one(
            "bad_step",
            str(id),
            f"{name} is a method: a step may run in another process, where there is no {first}. Make it a function, or put "
            "@staticmethod above @step, and pass what it needs",
        )


def _with_resources(id: str, execute: Execute, scope: Mapping[str, Any]) -> Parameters:
    """Those that the host gives: with the default `resource()`, or of a class that no data can become."""
    parameters = parameters_of(execute)
    resources: dict[str, type] = {}
    for name, one in parameters.own.parameters.items():
        if one.default is not RESOURCE and one.default is not inspect.Parameter.empty:
            continue
        try:
            kind = annotation_of(id, execute, one.annotation, scope)
        except GraphError:
            continue  # told below, where it matters
        if one.default is RESOURCE and (kind is Any or not isinstance(kind, type)):
            message = f"parameter '{name}' is a resource(), which is found by its annotation: write {name}: Class = resource()"
            raise GraphError.one("bad_step", str(id), message)
        if one.default is RESOURCE or _is_no_data(kind):
            resources[name] = kind
    return replace(parameters, resources=resources) if resources else parameters


def _is_no_data(kind: Any) -> bool:
    """Whether it is a class that no value of a workflow can become: a connection, a client."""
    if not isinstance(kind, type) or kind.__module__ == "builtins" or hasattr(kind, "__pydantic_core_schema__"):
        return False
    try:
        adapter_of(kind, kind.__name__)
    except GraphError:
        return True
    return False


def _types(id: str, execute: Execute, parameters: Parameters, scope: Mapping[str, Any]) -> dict[str, Any]:
    """The annotations of the parameters as types. One that cannot be resolved is an error where it is the input's."""
    types: dict[str, Any] = {}
    for name, one in parameters.own.parameters.items():
        is_input = parameters.is_by_name or name == parameters.first
        try:
            types[name] = type_of(one, annotation_of(id, execute, one.annotation, scope))
        except GraphError:
            if is_input:
                raise
    return types


def _returns(execute: Execute) -> Any:
    return inspect.signature(execute).return_annotation


def annotation_of(id: str, execute: Execute, annotation: Any, scope: Mapping[str, Any]) -> Any:
    """The annotation as a type; a text (postponed evaluation) is looked up where the function was written."""
    if annotation is inspect.Parameter.empty:
        return None
    if annotation is None:
        return type(None)
    if not isinstance(annotation, str):
        return annotation
    target = inspect.unwrap(getattr(execute, "func", execute))
    names = {**vars(builtins), **getattr(target, "__globals__", {}), **scope}
    try:
        found = eval(annotation, names)
    except Exception as error:
        raise GraphError.one(
            "bad_schema",
            str(id),
            f"the annotation {annotation!r} cannot be resolved ({error}); define the type at module level, or pass "
            "input_schema= and output_schema=",
        ) from error
    return type(None) if found is None else found
