"""What a guest wrote: the commands of a turn, each checked before anything is built from it.

What a field may hold follows from its annotation in `history.messages`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields
from typing import Any

from cloche.errors import MalformedOutput
from cloche.history.bounds import Bounds, exceeded
from cloche.history.check import Validator, ends
from cloche.history.failures import Failure
from cloche.history.ids import is_child_id, is_name, is_path, was_name
from cloche.history.messages import (
    COMMAND_TYPES,
    END_OF_EVENT,
    LOG_LEVELS,
    Command,
    FailRun,
    WriteLog,
)
from cloche.history.values import decode


def split_output(
    data: bytes, bounds: Bounds | None = None, validator: Validator | None = None
) -> Iterator[list[bytes]]:
    """The commands of each event of a turn's output, in order, as the bytes the guest wrote, checked.

    `validator` makes the same checks as `history.check`, faster.

    Raises:
        MalformedOutput: not a sequence of commands closed by `f6` for each event.
        LimitExceeded: one is larger, deeper or of more items than `bounds` allow, or there are too many for one event.
    """
    at, commands = 0, list[bytes]()
    most = bounds.commands_per_event if bounds is not None else len(data)
    for end in ends(data, bounds, validator):
        if data[at] == END_OF_EVENT:
            yield commands
            commands = []
        else:
            commands.append(data[at:end])
            if len(commands) > most:  # before any of them is read: that is what costs the host more than the guest
                raise exceeded("commands_per_event", most, len(commands), "what one event asks for")
        at = end
    if commands:
        raise MalformedOutput("the guest left an event open: its output ends without the closing mark", offset=at)


def console_bytes(commands: list[bytes]) -> int:
    """The size of the log lines among these commands. The number of a command is the byte after the head of its array."""
    return sum(len(body) for body in commands if body[1] == WriteLog.number)


def unpack_command(data: bytes, *, is_new: bool = False) -> Command:
    """One command from bytes that `split_output` has checked.

    Args:
        is_new: it is not recorded yet, so its name has to be one of today.

    Raises:
        MalformedOutput: an unknown kind, a missing field or one of another type.
    """
    items = decode(data)
    if not isinstance(items, list) or not items or type(items[0]) is not int:
        raise MalformedOutput("the guest wrote something that is not a command", offset=0)
    number, *rest = items
    form = _FORMS.get(number)
    if form is None:
        raise MalformedOutput(f"the guest wrote a command of unknown kind {number}")
    name = form.command.__name__
    if len(rest) < form.needed or not all(map(_fits, rest, form.types)):
        raise MalformedOutput(f"the guest wrote a {name} command whose fields are not in the grammar")
    for index, is_valid, complaint in form.rules_of_new if is_new else form.rules:
        if index < len(rest) and not is_valid(rest[index]):
            raise MalformedOutput(complaint.format(command=name, value=rest[index]))
    if form.command is FailRun:
        return FailRun(Failure.from_wire(rest[0]))
    command: Command = form.command(*rest[: len(form.types)])
    return command


def command_name(number: int) -> str:
    """What `guest/ABI.md` calls a command; the number as text where it knows none."""
    form = _NAMED.get(number)
    return form.abi_name if form is not None else str(number)


def field_names(number: int) -> tuple[str, ...]:
    """The names of a command's fields, in the order of the wire."""
    form = _NAMED.get(number)
    return tuple(one.name for one in fields(form)) if form is not None else ()


# ---- the grammar, from the classes ---------------------------------------------------------------------------------------

Rule = tuple[int, Callable[[Any], bool], str]  # which field, whether its value is valid, what is said otherwise


@dataclass(frozen=True, slots=True)
class _Form:
    command: type[Any]
    types: tuple[type, ...]
    needed: int  # fields; those after them may be absent
    rules: tuple[Rule, ...]
    rules_of_new: tuple[Rule, ...]


def _fits(item: object, kind: type[object]) -> bool:
    if kind is int:
        return type(item) is int and 0 <= item < 1 << 63
    return isinstance(item, kind)


def _is_level(level: int) -> bool:
    return level < len(LOG_LEVELS)


def _is_outcome(outcome: list[Any]) -> bool:
    if len(outcome) != 2 or type(outcome[0]) is not int:
        return False
    return outcome[0] == 0 or (outcome[0] == 1 and _is_failure(outcome[1]))


def _is_failure(failure: Any) -> bool:
    match failure:
        case {"name": str(), "message": str()}:
            return "cause" not in failure or _is_failure(failure["cause"])
    return False


def _are_options(options: dict[str, Any]) -> bool:
    token, heartbeat = options.get("token", "t"), options.get("heartbeat", 1)
    return is_name(token) and type(heartbeat) is int and 0 < heartbeat < 1 << 53


def _is_of_a_child(options: dict[str, Any]) -> bool:
    id = options.get("id", "c")
    return isinstance(id, str) and is_child_id(id)


TAGS_MAX = 64


def _are_tags(tags: dict[str, Any]) -> bool:
    if not 0 < len(tags) <= TAGS_MAX:
        return False
    return all(is_name(name) and _is_tag(value) for name, value in tags.items())


def _is_tag(value: Any) -> bool:
    if isinstance(value, str):
        return is_name(value)
    return value is None or isinstance(value, bool | float) or (type(value) is int and abs(value) < 1 << 63)


# By the annotation of a field: the type of what decoding gives.
_TYPES: dict[str, type] = {
    "CallId": int,
    "TimeMs": int,
    "Level": int,
    "Path": str,
    "Name": str,
    "str": str,
    "list[Any]": list,
    "dict[str, Any]": dict,
    "Outcome": list,
    "TimeMs | None": int,
    "HookOptions": dict,
    "ChildOptions": dict,
    "Tags": dict,
    "Failure": dict,
    "Any": object,
}
_NAME = "the guest wrote a {command} command whose name is not 1 to 200 characters that show"
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "Name": (was_name, _NAME),
    "Path": (is_path, "the guest wrote a {command} command whose path is too long, or nested too deep"),
    "Level": (_is_level, "the guest wrote a log line of unknown level {value}"),
    "Outcome": (_is_outcome, "the guest left a path without an outcome"),
    "HookOptions": (_are_options, "the guest opened a hook whose options are not in the grammar"),
    "ChildOptions": (_is_of_a_child, "the guest started a child whose options are not in the grammar"),
    "Tags": (
        _are_tags,
        "the guest set tags that are not 1 to 64 names, each with a name, a number, a bool or null",
    ),
    "Failure": (_is_failure, "the guest failed without a name and a message"),
}
_RULES_OF_NEW = {**_RULES, "Name": (is_name, _NAME)}


def _form(command: type[Command]) -> _Form:
    annotations = [str(one.type) for one in fields(command)]

    def rules(of: dict[str, tuple[Callable[[Any], bool], str]]) -> tuple[Rule, ...]:
        return tuple((index, *of[name]) for index, name in enumerate(annotations) if name in of)

    needed = sum(one.default_factory is MISSING and one.default is MISSING for one in fields(command))
    types = tuple(_TYPES[name] for name in annotations)
    return _Form(command, types, needed, rules(_RULES), rules(_RULES_OF_NEW))


_FORMS = {command.number: _form(command) for command in COMMAND_TYPES}
_NAMED: dict[int, type[Command]] = {command.number: command for command in COMMAND_TYPES}
# The fields of each command that hold a path or a name.
NAMES: dict[type[Command], tuple[str, ...]] = {
    command: tuple(one.name for one in fields(command) if one.type in ("Path", "Name")) for command in COMMAND_TYPES
}
