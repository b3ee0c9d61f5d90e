"""Runs that were asked for and that no worker has begun yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from cloche.errors import UsageError
from cloche.history.marks import tag_marks
from cloche.operations.forms import instant, to_json
from cloche.operations.replay import created, row_of
from cloche.status import RunStatus
from cloche.store import GRANTED
from cloche.text import shown
from cloche.worker.answers import refusal_of, start_token
from cloche.worker.offers import published
from cloche.worker.retry_request import Retry
from cloche.worker.start_request import StartRequest

if TYPE_CHECKING:
    from cloche.history import RunKey, TenantId, TimeMs
    from cloche.store import RunFilter, Store

LOOKED_AT_MAX = 1_000  # of requests, the last ones, that a listing reads


@dataclass(frozen=True, slots=True)
class NotBegun:
    """A run that was asked for and that no worker has begun: by a client, a schedule, another run, or as a retry.

    `since` is when it was asked for, in ms since 1970; `sentence` says what it waits for.
    """

    key: RunKey
    workflow: str
    since: TimeMs
    sentence: str
    tags: Mapping[str, str] = field(default_factory=dict)

    status: ClassVar[RunStatus] = RunStatus.PENDING

    @property
    def id(self) -> str:
        """The id of the run, for people: as `RunRow.id`."""
        return shown(self.key.run)

    def to_data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "id": self.key.run,
            "shown_id": self.id,
            "tenant": self.key.tenant,
            "workflow": self.workflow,
            "status": RunStatus.PENDING,
            "since": instant(self.since),
            "sentence": self.sentence,
            "tags": dict(self.tags),
        }


async def not_begun(store: Store, filter: RunFilter, text: str | None, limit: int) -> list[NotBegun]:
    """Those that were asked for last, first: as many as fit among the last `LOOKED_AT_MAX`, or `limit`."""
    if (filter.statuses and RunStatus.PENDING not in filter.statuses) or filter.code is not None or filter.is_retried:
        return []
    offered = (await published(store)).offers
    deployed: dict[tuple[TenantId, str], bool] = {}
    found: list[NotBegun] = []
    for row in await store.waiting_starts(filter.tenant, max(limit, LOOKED_AT_MAX)):
        request = StartRequest.unpack(row.body)
        name, tags = request.workflow, request.more.get("tags", {})
        if not _fits(filter, name, tags, row.posted_at) or (
            text is not None and text.casefold() not in to_json(request.input).casefold()
        ):
            continue
        of = row.key.tenant, name
        if of not in deployed:
            deployed[of] = await store.version_of(*of) is not None
        sentence = _sentence(name, is_offered=name in offered, is_deployed=deployed[of])
        found.append(NotBegun(row.key, name, row.posted_at, sentence, tags))
        if len(found) == limit:
            break
    return found


def _fits(filter: RunFilter, workflow: str, tags: Mapping[str, str], since: TimeMs) -> bool:
    """Of marks only tags: a run that has not begun has not failed."""
    return (
        filter.workflow in (None, workflow)
        and filter.marks.items() <= tag_marks(tags).items()
        and (filter.since is None or since >= filter.since)
        and (filter.until is None or since <= filter.until)
    )


async def waiting_start(store: Store, key: RunKey) -> StartRequest | None:
    """The request to start a run that has not begun; None if it has begun.

    Raises:
        ClocheError: the request was refused with this.
        NotFound: nobody has asked for such a run, or it was deleted.
    """
    if await store.run(key) is not None:
        return None
    if (found := await store.request(start_token(key))) is not None:
        return StartRequest.unpack(found.body)
    answer = await store.answer(start_token(key))
    if answer not in (None, GRANTED):
        raise refusal_of(str(answer))
    await row_of(store, key)
    return None


async def has_run(store: Store, key: RunKey) -> bool:
    """Whether the run is there, or was asked for."""
    return await store.run(key) is not None or await store.request(start_token(key)) is not None


async def check_same_retry(store: Store, key: RunKey, asked: Retry) -> None:
    """Of a retry that was made before, and whose run is `key`: whether it is asked for in the same way, or without more.

    Raises:
        UsageError: it is not: what is asked for now would not be done.
    """
    if asked.is_plain:
        return
    if (waiting := await store.request(start_token(key))) is not None:
        before = Retry(*StartRequest.unpack(waiting.body).more["retry"]).digest
    else:
        before = (await created(store, key)).request  # nothing, of one that an older release has begun
    if before and before != asked.digest:
        raise UsageError(
            f"run {asked.run} was retried before, otherwise, as {shown(key.run)}: what is asked for now would not be done; "
            f"look at 'cloche show \"{shown(key.run)}\"', and retry that if it has failed as well"
        )


async def why_waiting(store: Store, key: RunKey, request: StartRequest) -> str:
    """One sentence for people: why the run has not begun."""
    name = request.workflow
    is_offered = name in (await published(store)).offers
    is_deployed = not is_offered and await store.version_of(key.tenant, name) is not None
    return f"pending: {_sentence(name, is_offered=is_offered, is_deployed=is_deployed)}"


def _sentence(name: str, *, is_offered: bool, is_deployed: bool) -> str:
    if is_offered:
        return f"a worker that has workflow '{name}' begins it soon"
    if is_deployed:
        return f"'{name}' is deployed, and the next worker that is running begins it"
    return f"no worker has workflow '{name}': start 'cloche worker' with it, or deploy it"
