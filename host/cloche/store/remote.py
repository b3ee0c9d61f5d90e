"""The facet of a store for attempts of remote steps: what waits for a worker elsewhere, and what such a worker has taken.

A row is put in the commit that records that the attempt was sent, and goes in the one that records what came of it. What a
worker says is left in the inbox, as any request; only its heartbeats are written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from cloche.history.ids import CallId, Path, RunKey, Seq, TenantId, TimeMs

REMOTE = "remote"  # the kind of a request that says what came of an attempt


class AttemptName(NamedTuple):
    """What tells an attempt from every other one."""

    key: RunKey
    call: CallId
    seq: Seq  # of the record that says that it was sent


class GivenBack(NamedTuple):
    """An attempt was pushed `tries` times, and no receiver has accepted it: the last time for `problem`. Again at `due_at`."""

    due_at: TimeMs
    tries: int
    problem: str


@dataclass(frozen=True, slots=True)
class RemoteTask:
    """One attempt of a remote step: `seq` is the record that says that it was sent, `body` CBOR: what its worker is given.

    A call has one at a time. `holder` is who has taken it, at `taken_at` ms since 1970; `beat` grows with its heartbeats.
    `timeout_ms` counts from `taken_at`; `silence_ms` is how long it may be silent. `is_pushed`: it was taken to be sent to a
    receiver.
    """

    key: RunKey
    call: CallId
    seq: Seq
    step: str
    path: Path
    sent_at: TimeMs
    silence_ms: int
    timeout_ms: int | None = None
    is_pushed: bool = False
    holder: str | None = None
    taken_at: TimeMs | None = None
    beat: int = 0
    body: bytes = field(default=b"", repr=False)
    given_back: GivenBack | None = None

    @property
    def name(self) -> AttemptName:
        return AttemptName(self.key, self.call, self.seq)


class RemoteTasks(Protocol):
    """Raises as `Store`. Rows are put and removed by `Log.commit` (`Append.sent`, `Append.returned`)."""

    async def remote_waiting(self) -> list[tuple[TenantId, str]]:
        """Tenant and step of the attempts that nobody has taken; each once, in order, by index."""

    async def take_remote(
        self,
        steps: Sequence[str],
        most: int,
        holder: str,
        at: TimeMs,
        *,
        tenant: TenantId | None = None,
        pushed: bool = False,
    ) -> list[RemoteTask]:
        """Take up to `most` that nobody has, the oldest first, of these steps: for one tenant, or for all (None).

        No two callers get the same one. `pushed`: to send them to a receiver, and those alone that are due at `at`; whoever
        asks for himself gets the others too.
        """

    async def give_back_remote(self, name: AttemptName, due_at: TimeMs, problem: str) -> bool:
        """An attempt that was pushed was not accepted: anybody may take it, and it is pushed again at `due_at`.

        False: it is not wanted any more, or was given to another.
        """

    async def beat_remote(self, name: AttemptName) -> bool:
        """Whoever has taken the attempt still lives. False: it is not wanted any more, or was given to another."""

    async def remote_tasks(
        self, *, tenant: TenantId | None = None, key: RunKey | None = None, taken: bool = False
    ) -> list[RemoteTask]:
        """What was sent, without bodies, the oldest first: all, of a tenant, of a run; `taken`: only what somebody has."""

    async def remote_secret(self, proposed: bytes) -> bytes:
        """The secret that the tokens of attempts are made with: `proposed`, if there was none."""
