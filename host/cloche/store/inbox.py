"""The facet of a store for requests from outside: what is left there, by whom it may be accepted, and how many may wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cloche.history.ids import CallId, Child, RunKey, TenantId, TimeMs, continuation_key
from cloche.history.values import encode_plain

ENDED = '{"code": "not-suspended", "message": "the run has ended", "facts": {}}'  # the answer to what waits for it then
GRANTED = "granted"  # the answer to a request that was accepted, as it is stored
START = "start"  # the kind of a request for a run that is not there yet
UNWANTED = "the run that started it was canceled, or goes on without it"  # the reason of the request to cancel a child
CANCEL = "cancel"  # the kind of a request to end a run
WAKE = "wake"  # the kind of a request to end sleeps of a run, by the numbers of their calls
CHILD_ENDED = "child"  # the kind of what the last commit of a child leaves for the run that waits for it


@dataclass(frozen=True, slots=True)
class Post:
    """A request that an append leaves for another run, in its commit: as `Inbox.post`, without a name, and never kept."""

    key: RunKey
    kind: str
    body: bytes
    token: str


def child_ended(parent: RunKey, child: Child) -> Post:
    """What tells a run that this child of it has ended: nothing but that; what came of it is in the child's log."""
    return Post(parent, CHILD_ENDED, encode_plain(child), f"{parent.token}:{CHILD_ENDED}:{_in_token(child)}")


def _in_token(child: Child) -> str:
    """An id is told from a number by its sign, and is no part of another token."""
    return str(child) if isinstance(child, int) else "=" + child.replace("%", "%25").replace(":", "%3A")


def wake_up(run: RunKey, calls: Sequence[CallId]) -> Post:
    """The request to end these sleeps of a run now. Asked twice, it ends none that begins later."""
    return Post(run, WAKE, encode_plain(list(calls)), f"{run.token}:{WAKE}:{','.join(map(str, calls))}")


def child_unwanted(child: RunKey) -> Post:
    """The request to cancel a child that nobody wants any more."""
    return Post(child, CANCEL, encode_plain(UNWANTED), cancel_token(child))


def continuation(of: RunKey, workflow: str, input: Any, deadline: TimeMs | None) -> Post:
    """The request to begin the next history of a run: as `worker.start_request` packs one."""
    key = continuation_key(of)
    more = {"continues": of.run, **({"deadline": deadline} if deadline else {})}
    return Post(key, START, encode_plain([workflow, input, {}, False, more]), start_token(key))


def start_token(key: RunKey) -> str:
    """What the request to start a run is known by."""
    return f"start:{key.token}"


def cancel_token(key: RunKey) -> str:
    """What a cancellation is known by: asking twice is asking once."""
    return f"{key.token}:{CANCEL}:"


@dataclass(frozen=True, slots=True)
class InboxRow:
    """A request of another process (resume, event, cancel), waiting for the worker that owns the run. `body` is CBOR.

    One to start a run (`START`) waits for any worker that can. `name` is that of an event, None of everything else.
    `posted_at` is in ms since 1970, never below that of the event before it that waits for the run. `token` and `kept` are as
    they were posted.
    """

    id: int
    key: RunKey
    kind: str
    body: bytes
    name: str | None = None
    posted_at: TimeMs = TimeMs(0)
    token: str = ""
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Granted:
    """A kept request that was accepted: what is left of it, so that the same token is not taken for a new one."""

    kind: str
    token: str
    posted_at: TimeMs


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """An event in the inbox, without what it carries."""

    id: int
    name: str
    posted_at: TimeMs


@dataclass(frozen=True, slots=True)
class InboxBounds:
    """How many events may wait for one run, and how many bytes they may have; and the same for all runs of its tenant.

    The fields are those of `Policy`.
    """

    waiting_events: int
    waiting_event_bytes: int
    tenant_waiting_events: int
    tenant_waiting_event_bytes: int


@dataclass(frozen=True, slots=True)
class InboxMark:
    """Up to where the inbox was looked at. What the numbers count is the store's business."""

    departures: int = -1
    row: int = 0
    epoch: str = ""  # in which these numbers count; those of another one say nothing


@dataclass(frozen=True, slots=True)
class NewRequests:
    """What has come since a mark: the requests that are no events, oldest first, and what runs wait for among the events.

    `events` are pairs of a run and the name of an event that waits for it, each once.
    """

    requests: Sequence[InboxRow]
    events: Sequence[tuple[RunKey, str]]
    mark: InboxMark


def tokens_of(key: RunKey) -> tuple[str, str]:
    """Between these two are the tokens of what was asked of a run: they begin with its name and a colon."""
    return f"{key.token}:", f"{key.token};"


class Inbox(Protocol):
    """Requests of other processes to the worker that owns a run. Raises as `Store`.

    `docs/design/inbox.md` says who may send what when, and what becomes of it.
    """

    async def post(
        self,
        key: RunKey,
        kind: str,
        body: bytes,
        token: str,
        at: TimeMs,
        *,
        kept: bool = False,
        name: str | None = None,
        bounds: InboxBounds | None = None,
    ) -> None:
        """Leave a request for the owner of the run. The same token again is the same request, until it is accepted.

        Args:
            at: the time, where the store has no clock of its own.
            kept: the answer stays, so that the same token is known for as long as the run is; a request that was refused may
                be made again, and is a new one then.
            name: of an event, which waits until the run waits for an event of that name.
            bounds: for events, counted in the transaction that keeps it.

        Raises:
            NotSuspended: it is an event, and the run has ended.
            InboxFull: as many wait as may; it was not kept.
        """

    async def new_requests(self, worker: str, after: InboxMark | None) -> NewRequests:
        """What this worker may accept and has not been given for the mark `after`; None: all that waits.

        Of requests: those to runs that no other worker owns, or that are not there yet, and those to start a run that no other
        worker has taken. Of
        events: those that their run waits for (`Append.awaited`), if no other worker owns it and it is not blocked. What
        nobody waits for is not read, bodies of events never are. Something may be given twice. All is given again after a
        worker has left or was evicted: what it has not accepted is then anybody's.

        So nothing is missed by a worker that looks again when others wrote, and asks `requests` and `first_events` whenever
        it begins or takes up a run, and `first_events` whenever a run of its own begins to wait for an event.
        """

    async def requests(self, key: RunKey | None = None, *, events: bool = True) -> list[InboxRow]:
        """All that wait, in the order of their posting: of one run, by index, or of all. `events`: those among them too."""

    async def waiting_starts(self, tenant: TenantId | None, limit: int) -> list[InboxRow]:
        """Requests to start runs that no worker has begun, the last first, up to `limit`; None: of all tenants."""

    async def first_events(self, key: RunKey, names: Sequence[str]) -> list[WaitingEvent]:
        """The oldest event that waits for the run of each of these names, in the order of their posting, by index."""

    async def has_events(self, key: RunKey) -> bool:
        """Whether any event waits for the run, of whatever name."""

    async def body(self, inbox_id: int) -> bytes | None:
        """What a request that waits has in it. None: it waits no more."""

    async def request(self, token: str) -> InboxRow | None:
        """The request that waits under this token."""

    async def take(self, inbox_id: int, worker: str) -> bool:
        """Make this worker the one that answers a request to start a run, for as long as it lives.

        False: it was answered, another worker has taken it, or this one was evicted.
        """

    async def withdraw_request(self, inbox_id: int, answer: str) -> bool:
        """Answer a request that no worker has taken. False: one has, or it was answered."""

    async def answer(self, token: str) -> str | None:
        """What became of a kept request: GRANTED, or why it was refused, as JSON. None while it waits, or if it is unknown."""

    async def is_waiting(self, inbox_id: int) -> bool:
        """Whether a request was not answered yet."""

    async def resolve(self, inbox_id: int, answer: str, *, noted: str | None = None) -> None:
        """Answer a request that no append accepts: GRANTED if there is nothing to do for it, or why it is refused.

        One that was answered before keeps its answer. `noted`: the answer is kept under this token too, in the place of one
        before, for as long as the run is in the store.
        """

    async def forget(self, token: str) -> None:
        """Drop the answer of a request that was kept."""

    async def granted(self, key: RunKey) -> list[Granted]:
        """The kept requests of a run that were accepted, by their tokens."""

    async def remember(self, key: RunKey, granted: Sequence[Granted]) -> None:
        """Know these requests as accepted, in a store that the run was moved to. One that is known already stays as it is."""

    async def awaited(self, key: RunKey) -> list[str]:
        """The names of events that the run waits for (`Append.awaited`), sorted; "" among them: it may be any name."""

    async def waiting_for(self, tenant: TenantId, name: str) -> list[RunKey]:
        """The runs of a tenant that wait for events of that name, by their ids. It looks through all that its runs wait for."""
