"""What a request from outside is known by, and how a refusal is kept for whoever waits for the answer."""

from __future__ import annotations

import json

from cloche import errors
from cloche.errors import ClocheError, UsageError
from cloche.history import RunKey, TimeMs
from cloche.store import REMOTE, AttemptName
from cloche.store.inbox import start_token

__all__ = ["pack_refusal", "refusal_of", "refused_since", "refused_token", "remote_token", "start_token", "token_of"]


def token_of(key: RunKey, kind: str, idempotency_key: str) -> str:
    """What a request with an idempotency key is known by: once per run and kind, whoever makes it."""
    return f"{key.token}:{kind}:{idempotency_key}"


def remote_token(name: AttemptName, what: str = "") -> str:
    """What is said of an attempt that is performed elsewhere: its end is said once, whoever says it (`what` is empty)."""
    attempt = f"{name.call}:{name.seq}"
    return token_of(name.key, REMOTE, f"{attempt}:{what}" if what else attempt)


def refused_token(key: RunKey) -> str:
    """What the last answer that a worker has refused is known by: of a run one, with the time of that (`refused_since`)."""
    return token_of(key, "refused", "")


def pack_refusal(error: ClocheError, at: TimeMs | None = None) -> str:
    """As JSON: code, message and facts; and when, in ms since 1970."""
    when = {} if at is None else {"at": at}
    return json.dumps({"code": error.code, "message": error.message, "facts": error.facts, **when}, default=str)


def refused_since(answer: str | None, since: TimeMs | None) -> str | None:
    """The message of what is known under a `refused_token`, if it was refused at this time or later."""
    found = json.loads(answer) if answer is not None else {}
    return found["message"] if found and (since is None or found["at"] >= since) else None


def refusal_of(answer: str) -> ClocheError:
    """The error that a request was refused with, by its code."""
    found = json.loads(answer)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ClocheError)]
    kind = next((kind for kind in kinds if kind.code == found["code"]), UsageError)
    return kind(found["message"], **found["facts"])
