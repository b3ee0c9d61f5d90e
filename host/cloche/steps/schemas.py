"""Values held against schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cloche.errors import InvalidInput
from cloche.history.values import plain, with_text_keys
from cloche.steps.authors import is_raised
from cloche.steps.reading import keys_are_odd, read

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError


SMALL_PARTS = 1_000  # a value of so many is compared in a few milliseconds
PROBLEMS_MAX = 20  # that are told of one value
PROBLEMS_READ_MAX = 10_000  # of which pydantic makes texts: it makes them of all, at 3 µs and 1 KB each


def validated(adapter: TypeAdapter[Any], value: Any, what: str) -> Any:
    """`value`, which may have crossed, as the schema sees it, defaults filled in. What alternatives of alternatives may cost is
    bounded.

    Raises:
        InvalidInput: it does not fit; `problems` lists the first places, as `field: reason`, `problem_count` is how many
            there are. Or a stored schema has so many alternatives that it is not known whether it fits.
    """
    from pydantic import ValidationError

    from cloche_codegen.json_schemas import Budget, OverBudget

    budget = Budget(value)
    try:
        with budget:
            return adapter.validate_python(read(adapter, value), context=budget)
    except ValidationError as error:
        raise _misfit(error, what) from None
    except OverBudget as error:
        message = f"{what} cannot be compared with its schema: {error}"
        raise InvalidInput(message, path="", problems=[], problem_count=0) from None


def checked(adapter: TypeAdapter[Any], value: Any, what: str) -> Any:
    """As `validated`, where no attempt of a step fails for what an author's validator raises.

    Raises:
        InvalidInput: it does not fit, or a validator raised something that validators do not raise.
    """
    from cloche_codegen.json_schemas import OverAtOnce

    try:
        return validated(adapter, value, what)
    except (InvalidInput, OverAtOnce):
        raise
    except BaseException as error:
        if not is_raised(error):
            raise
        message = f"{what} cannot be compared with its schema: a validator raised {type(error).__name__}"
        raise InvalidInput(message, path="", problems=[], problem_count=0) from error


def is_small(value: Any) -> bool:
    """Whether a value has so few parts that it is compared with a stranger's schema at once. Without recursion."""
    todo, left = [value], SMALL_PARTS
    while todo:
        one = todo.pop()
        if isinstance(one, dict | list | tuple):
            left -= len(one)
            if left < 0:
                return False
            todo.extend(one.values() if isinstance(one, dict) else one)
    return True


def as_plain(adapter: TypeAdapter[Any] | None, value: Any, what: str) -> Any:
    """`value`, which `adapter` has validated, as a plain value; keys that are no texts become texts where it knows them.

    Raises:
        InvalidInput: it cannot cross.
    """
    return plain(with_text_keys(value) if adapter is not None and keys_are_odd(adapter) else value, what)


def _misfit(error: ValidationError, what: str) -> InvalidInput:
    count = error.error_count()
    if count > PROBLEMS_READ_MAX:
        told = f"{count:,} places"
        return InvalidInput(f"{what} does not fit its schema: {told}", path="", problems=[told], problem_count=count)
    found = error.errors(include_url=False, include_context=False)
    problems = [_problem(item) for item in found[:PROBLEMS_MAX]]
    more = [f"and {count - PROBLEMS_MAX} more"] if count > PROBLEMS_MAX else []
    message = f"{what} does not fit its schema: {'; '.join([*problems, *more])}"
    return InvalidInput(message, path="", problems=problems, problem_count=count)


def _problem(item: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "value"
    nothing = ", and nothing was given" if not item["loc"] and item.get("input", "") is None else ""
    return f"{where}: {item['msg']}{nothing}"
