"""The input of a step where its schema draws something (`default_factory`): made once, recorded, and given to every attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloche.history.values import encode_plain
from cloche.steps.authors import is_raised
from cloche.steps.context import copied
from cloche.steps.schemas import as_plain, validated

if TYPE_CHECKING:
    from cloche_codegen import Step


def filled(step: Step, arguments: list[Any], bytes_max: int) -> Any:
    """The input as the schema fills it, a plain value. It is held against the schema again in each attempt.

    None where the schema draws nothing, or what it makes of the input cannot be recorded (in `bytes_max`) or does not fit it
    again: then each attempt is given the input as it came.
    """
    from cloche_codegen.schemas import draws

    adapter = step.input_adapter()
    if adapter is None or not arguments or not draws(adapter):
        return None
    try:
        made = as_plain(adapter, validated(adapter, copied(arguments[0]), "input"), "input")
        validated(adapter, copied(made), "input")
        return made if len(encode_plain(made)) <= bytes_max else None
    except (
        BaseException
    ) as error:  # it does not fit, which its attempt will say; or an author's function raised, as it will again
        if not is_raised(error):
            raise
        return None
