"""Marks: names and values by which runs are found. They follow from the records, so a store can be asked for them by index.

A tag stands under `TAG` and its name. The others are the system's: how a run failed, and which run it retries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cloche.errors import InvalidInput
from cloche.history.ids import is_name
from cloche.history.messages import FailRun, SetTags
from cloche.history.notes import RunCreated, RunStopped, TagsSet
from cloche.history.reading import Message, message_of
from cloche.history.records import Kind, Record

TAG = "tag "  # before the name of a tag: no mark of the system's begins so
ERROR, STEP, RETRY_OF = "error", "step", "retry_of"
TAGS_MAX = 32  # of a run
VALUE_CHARS_MAX = 200
_TURN = re.compile(r"\[\d+\]|#\d+(?=[/\[]|\Z)")
MARKING = frozenset({Kind.RUN_CREATED, Kind.TAGS_SET, Kind.TAGGED, Kind.RUN_FAILED, Kind.RUN_STOPPED})


def checked_tags(tags: object) -> dict[str, str]:
    """Tags as their giver has them, in the order of their names.

    Raises:
        InvalidInput: they are no mapping of names to texts, too many, or too long.
    """
    if not isinstance(tags, Mapping):
        raise InvalidInput(f"tags are a mapping of names to texts, not a {type(tags).__name__}", path="tags")
    if len(tags) > TAGS_MAX:
        raise InvalidInput(f"a run has at most {TAGS_MAX} tags, and these are {len(tags)}", path="tags")
    for name, value in tags.items():
        if not (isinstance(name, str) and is_name(name) and "=" not in name):
            raise InvalidInput(f"the tag {name!r} is not a name: up to 200 characters, and no '='", path="tags")
        if not (isinstance(value, str) and is_name(value)):
            what = f"the value of tag '{name}' is not a text of 1 to {VALUE_CHARS_MAX} characters without control characters"
            raise InvalidInput(what, path=f"tags.{name}")
    return dict(sorted(tags.items()))


def tag_marks(tags: Mapping[str, str]) -> dict[str, str]:
    """The marks of these tags."""
    return {TAG + name: value for name, value in tags.items()}


def tags_in(marks: Mapping[str, str]) -> dict[str, str]:
    """The tags among these marks, in the order of their names; those that were taken back are none."""
    return {name.removeprefix(TAG): value for name, value in sorted(marks.items()) if name.startswith(TAG) and value}


def marks_of(message: Message | Any) -> dict[str, str]:
    """What this message makes of the marks of its run."""
    match message:
        case RunCreated(tags=tags, retry_of=retry_of):
            origin = {RETRY_OF: str(retry_of["run"])} if retry_of else {}
            return {**tag_marks(tags), **origin}
        case TagsSet(tags=tags):
            return tag_marks(tags)
        case SetTags(tags=tags):
            return tag_marks({name: _text_of(value) for name, value in tags.items()})
        case FailRun(failure) | RunStopped(failure=failure):
            return {ERROR: failure.name}
    return {}


def _text_of(value: str | int | float | None) -> str:
    """A tag that the code has set, as it is looked for. No tag has the text of None, which takes one back: it is empty."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def marks_in(record: Record) -> dict[str, str]:
    """As `marks_of`, of a record that is in the log."""
    return marks_of(message_of(record)) if record.kind in MARKING else {}


def step_of(path: str) -> str:
    """What a failure at `path` is grouped by: the place in the code, without items of lists and turns of loops (`pack#2`)."""
    return _TURN.sub("", path)


def marks_of_log(records: Sequence[Record], failed_at: str | None) -> dict[str, str]:
    """By which a run is found: `records` are all of them, `failed_at` the call that failed last."""
    marks: dict[str, str] = {}
    for record in records:
        marks.update(marks_in(record))
    if ERROR in marks and failed_at is not None:
        marks[STEP] = step_of(failed_at)
    return marks
