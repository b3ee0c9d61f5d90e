"""A request to start a run: what a client leaves in the inbox, and what makes two starts of one run the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from cloche.errors import RunConflict
from cloche.history import Kind, RunKey, TimeMs
from cloche.history.marks import checked_tags
from cloche.history.notes import unpack_created
from cloche.history.reading import unpack_started
from cloche.history.values import decode, encode, plain
from cloche.store import Store, record_pages
from cloche.worker.queue import asked


@dataclass(frozen=True, slots=True)
class StartRequest:
    """The values are plain and as they came: whoever begins the run holds them against its schemas.

    `workflow` is a workflow's id or a version's; `given` has `state` and `context` where there are any,
    `more` the `tags` and the `deadline` of the run, and of a retry what is asked for (`worker.retry_request`).
    """

    workflow: str
    input: Any
    given: Mapping[str, Any] = field(default_factory=dict)
    per_step: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        workflow: str,
        input_data: Any,
        initial_state: Mapping[str, Any] | None,
        request_context: Mapping[str, Any] | None,
        *,
        per_step: bool,
        tags: Mapping[str, str] | None = None,
        deadline: TimeMs | None = None,
    ) -> StartRequest:
        """
        Raises:
            InvalidInput: a value cannot cross the glass.
        """
        given: dict[str, Any] = {}
        if request_context:
            given["context"] = plain(request_context, "request_context")
        if initial_state:
            given["state"] = plain(initial_state, "initial_state")
        more: dict[str, Any] = {"tags": checked_tags(tags)} if tags else {}
        if deadline is not None:
            more["deadline"] = deadline
        return cls(workflow, plain(input_data, "input"), given, per_step, more)

    def digest(self, workflow: str) -> bytes:
        """What makes it the same request; `workflow` is the workflow's id, also where a version of it was named."""
        return digest_of(workflow, self.input)

    def pack(self) -> bytes:
        more = [dict(self.more)] if self.more else []  # older workers read what has none
        return encode([self.workflow, self.input, dict(self.given), self.per_step, *more])

    @classmethod
    def unpack(cls, data: bytes) -> StartRequest:
        return cls(*decode(data))


def digest_of(workflow: str, value: Any) -> bytes:
    """BLAKE2b-256 of what one start of a run is told from another by: the workflow, and the (plain) input as it came."""
    return blake2b(encode([workflow, value]), digest_size=32).digest()


async def check_same(store: Store, key: RunKey, workflow: str, digest: bytes, value: Any) -> None:
    """Of a start of a run that is there already: whether it is the start that the run began with.

    Args:
        workflow: the workflow's id.
        digest: of the request; runs of older releases, and forks, do not keep theirs.
        value: the input as the schema has it (or as it came, where that is not known), which those are compared by.

    Raises:
        RunConflict: it is another one.
    """
    row = await store.run(key)
    assert row is not None
    if row.workflow != workflow or not await _is_same(store, key, digest, value):
        raise conflict(key, row.workflow)


async def _is_same(store: Store, key: RunKey, digest: bytes, value: Any) -> bool:
    async for page in record_pages(store, key):
        for record in page:
            if record.kind is Kind.RUN_CREATED:
                created = unpack_created(record)
                if created.request:
                    return created.request == digest
                if created.queued:
                    return encode(asked(created).input) == encode(value)
            elif record.kind is Kind.RUN_STARTED:
                return encode(unpack_started(record.body).input) == encode(value)
    return False


def conflict(key: RunKey, workflow: str) -> RunConflict:
    return RunConflict(
        f"run {key} exists already, of workflow '{workflow}' with another input: "
        "use another run id, or the same input to get that run",
        run_id=key.run,
    )
