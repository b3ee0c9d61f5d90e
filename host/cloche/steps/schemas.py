"""Values held against schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cloche.errors import InvalidInput

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def validated(adapter: TypeAdapter[Any], value: Any, what: str) -> Any:
    """`value` as the schema sees it, defaults filled in.

    Raises:
        InvalidInput: `problems` lists every place that does not fit, as `field: reason`.
    """
    from pydantic import ValidationError

    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        problems = [_problem(item) for item in error.errors(include_url=False, include_context=False)]
        raise InvalidInput(
            f"{what} does not fit its schema: {'; '.join(problems)}", path="", problems=problems
        ) from None


def _problem(item: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "value"
    return f"{where}: {item['msg']}"
