"""Attempts of remote steps, as those who perform them take them and say what came of them.

Each attempt has a token: its name, and a code over it (BLAKE2b keyed with a secret of the store), which nobody can guess. It
is made when the attempt is given out, and stands nowhere. What is said under it is a request in the run's inbox, so it counts
once, whoever owns the run by then.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest
from typing import Any, Literal, cast

from cloche.errors import ClocheError, InboxFull, NotFound, NotSuspended
from cloche.history import CallId, RunId, RunKey, Seq, TenantId, TimeMs
from cloche.history.ids import new_run_key
from cloche.history.values import decode, encode_plain, plain
from cloche.run.lookups import aborted_of, chunks_of, chunks_of_other
from cloche.run.remote import ENDS, Told
from cloche.status import FINAL
from cloche.steps.context import Chunks
from cloche.steps.sdk_values import to_json
from cloche.store import GRANTED, REMOTE, AttemptName, RemoteTask, Store
from cloche.worker.answers import remote_token

__all__ = ["AttemptName", "AttemptTokens", "RemoteTask", "Said", "TenantId", "beat", "given", "say"]

PREFIX = "cra_"  # cloche remote attempt
CODE_BYTES = 24
WROTE_WAITING_MAX = 1_000  # what attempts of one run have written and no worker has taken yet
_NAME_BYTES_MAX = 4_096

Said = Literal["accepted", "known", "late"]


@dataclass(frozen=True, slots=True)
class AttemptTokens:
    """The tokens of one store's attempts."""

    secret: bytes

    @classmethod
    async def of(cls, store: Store) -> AttemptTokens:
        return cls(await store.remote_secret(secrets.token_bytes(32)))

    def make(self, name: AttemptName) -> str:
        """The token of an attempt: text that may stand in a path."""
        packed = encode_plain([name.key.tenant, name.key.run, name.call, name.seq])
        return f"{PREFIX}{_text(packed)}.{_text(self._code(packed))}"

    def read(self, token: str) -> AttemptName:
        """The attempt whose token this is.

        Raises:
            NotFound: it is none's.
        """
        packed, _, code = token.removeprefix(PREFIX).partition(".")
        try:
            name, given_code = _bytes(packed), _bytes(code)
            is_it = token.startswith(PREFIX) and compare_digest(self._code(name), given_code)
            if not is_it:
                raise no_such_attempt()
            tenant, run, call, seq = decode(name)
        except (ValueError, ClocheError):
            raise no_such_attempt() from None
        return AttemptName(RunKey(TenantId(tenant), RunId(run)), CallId(call), Seq(seq))

    def _code(self, packed: bytes) -> bytes:
        return blake2b(packed, key=self.secret, digest_size=CODE_BYTES).digest()


def no_such_attempt() -> NotFound:
    """One answer for what is no token, and for that of another tenant."""
    return NotFound("no attempt has this token", kind="attempt", id="")


def given(task: RemoteTask, tokens: AttemptTokens) -> dict[str, Any]:
    """What a worker is given of an attempt that it has taken."""
    body = decode(task.body)
    return {"token": tokens.make(task.name), **cast("dict[str, Any]", body)}


def is_at_most_once(task: RemoteTask) -> bool:
    """Whether the step of an attempt that was taken may begin once alone."""
    return bool(cast("dict[str, Any]", decode(task.body))["at_most_once"])


async def fell_silent(store: Store, name: AttemptName, now: TimeMs) -> None:
    """Whoever had taken the attempt says nothing more of it, and may have begun."""
    told = Told(name.call, name.seq, "silent", is_begun=True)
    await store.post(name.key, REMOTE, told.pack(), remote_token(name, "silent"), now)


async def beat(store: Store, name: AttemptName) -> bool:
    """The worker of this attempt lives. False: nobody wants the attempt any more."""
    return await store.beat_remote(name)


async def look(
    store: Store, name: AttemptName, stream: str | None, run: str | None, after: int, signals: Sequence[str]
) -> dict[str, Any]:
    """What a step that was given streams and signals of its run sees of them, as `Seen` of `cloche.http`.

    Raises:
        NotFound: there is no such run.
    """
    other = name.key if run is None else new_run_key(run, name.key.tenant)
    of = chunks_of if other == name.key else chunks_of_other
    found = Chunks([], False, after) if stream is None else await of(store, other, stream, after)
    why = await aborted_of(store, name.key, signals) if signals else {}
    return {
        "chunks": to_json(found.chunks),
        "is_closed": found.is_closed,
        "after": found.after,
        "aborted": to_json(why),
    }


async def say(store: Store, name: AttemptName, now: TimeMs, key: str = "", **told: Any) -> Said:
    """Leave what a worker says of an attempt, in the fields of `Told`. Its end counts once; a `key` names what is no end.

    Returns:
        `known`: an end of this attempt was accepted before, and this changes nothing. `late`: nobody waits for it any more; an
        end is recorded as a late result.

    Raises:
        NotFound: there is no such run.
        NotSuspended: it has ended.
        InboxFull: too much of what its attempts have written waits to be recorded.
        InvalidInput: the value cannot cross.
    """
    row = await store.run(name.key)
    if row is None:
        raise no_such_attempt()
    made = Told(name.call, name.seq, **told)
    plain(made.value, "value")
    is_end = made.what in ENDS
    token = remote_token(name, "" if is_end else f"{made.what}:{key}")
    if is_end and await store.answer(token) == GRANTED:
        return "known"
    if row.status in FINAL:
        message = f"run {name.key.run} has ended ({row.status}): nobody waits for this attempt"
        raise NotSuspended(message, run_id=name.key.run, suspended=[])
    is_wanted = any(one.name == name for one in await store.remote_tasks(key=name.key))
    if not is_end:
        if not is_wanted:
            return "late"
        await _check_room(store, name.key)
    await store.post(name.key, REMOTE, made.pack(), token, now, kept=is_end)
    return "accepted" if is_wanted else "late"


async def _check_room(store: Store, key: RunKey) -> None:
    waiting = len([row for row in await store.requests(key, events=False) if row.kind == REMOTE])
    if waiting >= WROTE_WAITING_MAX:
        raise InboxFull(
            f"{waiting:,} values that attempts of run {key} have written wait to be recorded: write less, or later",
            tenant=key.tenant,
            run_id=key.run,
            limit="remote_values",
            value=WROTE_WAITING_MAX,
            asked=waiting + 1,
        )


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    if len(text) > _NAME_BYTES_MAX:
        raise ValueError("longer than any name")
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
