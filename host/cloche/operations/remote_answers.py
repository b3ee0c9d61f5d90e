"""What is said of an attempt of a remote step, as it is written: in a request of its worker, or in the answer to a push."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloche.errors import InvalidInput
from cloche.history.values import plain
from cloche.steps.sdk_values import from_json

Text = Annotated[str, Field(max_length=200)]


class _Said(BaseModel):
    """Nothing that is not known is taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)


IsTagged = Annotated[
    bool,
    Field(strict=True, description="Values are as JavaScript has them: objects whose first key is `~` (guest/ABI.md)."),
]


class CompleteBody(_Said):
    """The output of an attempt, and keys that it gives to the state of its run."""

    output: Any = None
    is_tagged: IsTagged = False
    state: dict[str, Any] = Field(default_factory=dict)
    bail: bool = Field(False, strict=True, description="The innermost workflow ends, as a success with this output.")


class SuspendBody(_Said):
    """What the step waits with for data from outside, and names to resume it by."""

    payload: Any = None
    labels: list[Text] = Field(default_factory=list, max_length=100)
    state: dict[str, Any] = Field(default_factory=dict)


class RaisedBody(_Said):
    """What the step raised. `bases`: the qualified names of the classes that it is an instance of, its own first."""

    name: Text
    message: str = Field("", max_length=8_192)
    data: Any = None
    bases: list[Text] = Field(default_factory=list, max_length=16)
    cause: RaisedBody | None = None


class FailBody(_Said):
    """The failure of an attempt."""

    error: RaisedBody
    is_retryable: bool = Field(True, strict=True, description="False: no attempt follows, whatever the step says.")
    retry_after_s: float = Field(0.0, strict=True, ge=0, le=1e7)
    is_tagged: IsTagged = False


class PushAnswer(_Said):
    """How a receiver answers with an end: one of these."""

    complete: CompleteBody | None = None
    fail: FailBody | None = None
    suspend: SuspendBody | None = None


def told_of(body: CompleteBody | FailBody | SuspendBody) -> dict[str, Any]:
    """The fields of a `Told` that say this.

    Raises:
        InvalidInput: the state cannot cross.
    """
    match body:
        case CompleteBody():
            what = "bailed" if body.bail else "completed"
            value = from_json(body.output) if body.is_tagged else body.output
            return {"what": what, "value": value, "state": plain(body.state, "state"), "tagged": body.is_tagged}
        case SuspendBody():
            more = {"labels": tuple(body.labels), "state": plain(body.state, "state")}
            return {"what": "suspended", "value": body.payload, **more}
        case FailBody():
            failure, after_ms = body.error.model_dump(exclude_defaults=True), round(body.retry_after_s * 1000)
            more = {"is_final": not body.is_retryable, "retry_after_ms": after_ms, "tagged": body.is_tagged}
            return {"what": "failed", "failure": from_json(failure) if body.is_tagged else failure, **more}


def told_meanwhile(value: Any, abort: str | None, *, tagged: bool) -> dict[str, Any]:
    """As `told_of`, of what an attempt says while it is performed: a value, or the signal that it aborts and why."""
    value = from_json(value) if tagged else value
    if abort is None:
        return {"what": "wrote", "value": value, "tagged": tagged}
    return {"what": "aborted", "value": {"name": abort, "reason": value}, "tagged": tagged}


def answered(data: bytes) -> CompleteBody | FailBody | SuspendBody:
    """The end that a receiver has answered with.

    Raises:
        InvalidInput: it is none.
    """
    try:
        found = PushAnswer.model_validate(json.loads(data, parse_constant=_refuse_constant))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors()[:5]]
        raise InvalidInput(f"it is no end of an attempt: {'; '.join(problems)}", path="", problems=problems) from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"it is not JSON: {error}", path="", problems=[]) from None
    said = [one for one in (found.complete, found.fail, found.suspend) if one is not None]
    if len(said) != 1:
        raise InvalidInput("it has to be one of complete, fail and suspend", path="", problems=[])
    return said[0]


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
