"""The requests of a run, in the file of the run.

Those that wait are `["request", kind, name, body, token, kept, posted_at]` each. Of those with an idempotency key that were
accepted `["granted", kind, token, posted_at]` is there: the same again is not a new one, wherever the run has moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloche.errors import ForeignFile, MalformedOutput
from cloche.history.check import check
from cloche.history.ids import TimeMs, is_name
from cloche.history.notes import RunCreated
from cloche.history.values import decode
from cloche.run.hooks import is_beat
from cloche.run.limits import check_event, inbox_bounds
from cloche.store import START, Granted
from cloche.worker.answers import start_token
from cloche.worker.start_request import StartRequest

if TYPE_CHECKING:
    from cloche.history import RunKey
    from cloche.store import InboxRow, Store

MARK, GRANTED_MARK = "request", "granted"
KINDS = ("event", "resume", "cancel")


@dataclass(frozen=True, slots=True)
class Posting:
    """A request as it is left in a store."""

    kind: str
    name: str | None
    body: bytes
    token: str
    kept: bool
    at: TimeMs


async def packed(store: Store, key: RunKey) -> list[list[Any]]:
    """What waits for a run, in the order of posting."""
    return [_packed(row) for row in await store.requests(key) if row.kind in KINDS and not is_beat(row.name)]


def _packed(row: InboxRow) -> list[Any]:
    return [MARK, row.kind, row.name, row.body, row.token, row.kept, row.posted_at]


async def packed_granted(store: Store, key: RunKey) -> list[list[Any]]:
    """What was accepted, and would be known if it came again."""
    return [[GRANTED_MARK, one.kind, one.token, one.posted_at] for one in await store.granted(key) if one.kind in KINDS]


def is_request(item: Any) -> bool:
    """Whether an item of a file says that it is a request."""
    return isinstance(item, list) and item[:1] == [MARK]


def is_granted(item: Any) -> bool:
    """Whether an item of a file says that it is a request which was accepted."""
    return isinstance(item, list) and item[:1] == [GRANTED_MARK]


def unpacked_granted(items: Sequence[Any], key: RunKey) -> tuple[list[Granted], list[Any]]:
    """What `packed_granted` gave, of a file that anybody may have written, and the other items.

    Raises:
        ForeignFile: it is no request that could have been made for this run.
    """
    found, others = [], []
    for item in items:
        if not is_granted(item):
            others.append(item)
            continue
        kind, token, at = item[1:] if len(item) == 4 else ("", "", 0)
        is_one = (
            isinstance(kind, str)
            and kind in KINDS
            and isinstance(token, str)
            and token.startswith(f"{key.token}:{kind}:")
        )
        if not is_one or type(at) is not int or not 0 <= at < 1 << 62:
            raise ForeignFile(
                "a request that was accepted, in this file, is none that could have been made for its run"
            )
        found.append(Granted(kind, token, TimeMs(at)))
    return found, others


def packed_starts(rows: Sequence[InboxRow]) -> list[list[Any]]:
    """Requests for runs that are not there yet, among them those to start them; each with its run."""
    return [[*_packed(row), row.key.tenant, row.key.run] for row in rows]


def unpacked(items: Sequence[Sequence[Any]], key: RunKey, created: RunCreated | None) -> list[Posting]:
    """What `packed` gave, of a file that anybody may have written. `created` is None of a run that is not there yet.

    Raises:
        ForeignFile: it is no request that could have been left for this run.
        LimitExceeded: an event is larger than the run's policy allows.
    """
    found = []
    for item in items:
        try:
            _, kind, name, body, token, kept, at = item
            one = Posting(kind, name, body, token, kept, TimeMs(at))
            is_one = _is_request(one, key) or (created is None and _is_start(one, key))
        except (ValueError, TypeError, AttributeError, MalformedOutput) as error:
            raise ForeignFile(f"a request in this file cannot be read: {error}") from error
        if not is_one:
            raise ForeignFile("a request in this file is none that could have been made for its run")
        if kind == "event" and created is not None:
            check_event(created, decode(body)[1])
        found.append(one)
    return found


async def post(
    store: Store, key: RunKey, created: RunCreated | None, postings: Sequence[Posting], granted: Sequence[Granted] = ()
) -> None:
    """Leave them for the run, which is in the store and has accepted the others. One that waits there already is the same one.

    Raises:
        InboxFull: more events wait than may, by the policy that the run is pinned to.
    """
    if granted:
        await store.remember(key, granted)
    bounds = inbox_bounds(created) if created is not None else None
    for one in postings:
        await store.post(key, one.kind, one.body, one.token, one.at, kept=one.kept, name=one.name, bounds=bounds)


def _is_request(one: Posting, key: RunKey) -> bool:
    if one.kind not in KINDS or type(one.kept) is not bool or type(one.at) is not int or not 0 <= one.at < 1 << 62:
        return False
    if not one.token.startswith(f"{key.token}:{one.kind}:") or check(one.body) != len(one.body):
        return False
    value = decode(one.body)
    match one.kind:
        case "event":
            return isinstance(one.name, str) and is_name(one.name) and _is_pair(value, one.name)
        case "resume":
            return one.name is None and isinstance(value, dict) and "data" in value
        case _:
            return one.name is None and isinstance(value, str)


def _is_start(one: Posting, key: RunKey) -> bool:
    if one.kind != START or one.name is not None or one.token != start_token(key) or type(one.kept) is not bool:
        return False
    if type(one.at) is not int or not 0 <= one.at < 1 << 62 or check(one.body) != len(one.body):
        return False
    request = StartRequest.unpack(one.body)
    is_whole = isinstance(request.workflow, str) and isinstance(request.given, dict) and type(request.per_step) is bool
    return is_whole and is_name(request.workflow)


def _is_pair(value: Any, name: str) -> bool:
    """An event, or a failure in its place."""
    match value:
        case [first, _] | [first, None, {"name": str(), "message": str()}]:
            return bool(first == name)
    return False
