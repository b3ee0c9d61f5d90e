"""Dotted paths: where they may begin, and how a step id that contains dots is told apart from the keys after it."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

ROOTS: Final = ("inputData", "initData", "state", "requestContext", "stepResults", "iterationCount")


class BrokenPath(ValueError):
    """The text is not a path; the message says why."""


@dataclass(frozen=True, slots=True)
class Where:
    """A path taken apart. `step` is set when the root is `stepResults`."""

    root: str
    step: str | None
    keys: tuple[str, ...]


def keys_of(text: str) -> tuple[str, ...]:
    """The keys of a path below some value; "" and "." are the value itself.

    Raises:
        BrokenPath: A key is empty.
    """
    if text in ("", "."):
        return ()
    keys = tuple(text.split("."))
    if not all(keys):
        raise BrokenPath(f"path {text!r} has an empty key")
    return keys


def where(text: str, known: Container[str]) -> Where:
    """Take a path apart. Of the known ids the longest that fits is the step: ids may contain dots.

    Raises:
        BrokenPath: It begins at no known root, has an empty key, or names no step after `stepResults`.
    """
    root, _, rest = text.partition(".")
    if root not in ROOTS:
        raise BrokenPath(f"path {text!r} begins at {root!r}; use one of {', '.join(ROOTS)}")
    if text.endswith(".") or ".." in text:
        raise BrokenPath(f"path {text!r} has an empty key")
    keys = keys_of(rest)
    if root != "stepResults":
        return Where(root, None, keys)
    if not keys:
        raise BrokenPath(f"path {text!r} needs the id of a step: 'stepResults.<id>'")
    for length in range(len(keys), 0, -1):
        if (id := ".".join(keys[:length])) in known:
            return Where(root, id, keys[length:])
    return Where(root, keys[0], keys[1:])
