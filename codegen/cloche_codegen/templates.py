"""Texts with places: `"Order ${inputData.id} of ${stepResults.price.total}"`.

A place is `${scope.path}` with one of the scopes `inputData`, `initData`, `state`, `requestContext`, `stepResults.<id>`.
Checked while building: no padding, a known scope, an id after `stepResults`, a key after `requestContext`. How a value
is shown is `conditions.values.text_of`. Source: Mastra's templates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SCOPES: Final = ("inputData", "initData", "state", "requestContext", "stepResults")
_PLACE = re.compile(r"\$\{([^{}]*)(\}?)")


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a template: the path to read there."""

    path: str


class BrokenTemplate(ValueError):
    """The text is not a template; the message says which place and why."""


def parse(text: str) -> tuple[str | Place, ...]:
    """The parts of a template: literal texts (never empty) and places, in order.

    Raises:
        BrokenTemplate: A place is padded, unclosed, or names no known scope.
    """
    parts: list[str | Place] = []
    end = 0
    for found in _PLACE.finditer(text):
        if found.start() > end:
            parts.append(text[end : found.start()])
        if not found[2]:
            raise BrokenTemplate(f"placeholder {found[0]!r} is never closed")
        parts.append(_place(found[1]))
        end = found.end()
    if end < len(text):
        parts.append(text[end:])
    return tuple(parts)


def _place(path: str) -> Place:
    shown = f"placeholder '${{{path}}}'"
    if path != path.strip():
        raise BrokenTemplate(f"{shown} is padded; write '${{{path.strip()}}}'")
    scope, dot, rest = path.partition(".")
    if scope not in SCOPES:
        raise BrokenTemplate(f"{shown} has an unknown scope; use one of {', '.join(SCOPES)}")
    if scope == "stepResults" and not rest:
        raise BrokenTemplate(f"{shown} needs the id of a step: '${{stepResults.<id>}}'")
    if scope == "requestContext" and not rest:
        raise BrokenTemplate(f"{shown} needs a key: '${{requestContext.<key>}}'")
    if dot and not all(rest.split(".")):
        raise BrokenTemplate(f"{shown} has an empty key")
    return Place(path)
