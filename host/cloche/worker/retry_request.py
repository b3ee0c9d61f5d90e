"""Going on from where a run failed: what is asked for, and what it would do."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from cloche.errors import UsageError
from cloche.history.resuming import Resumption, resumption
from cloche.history.values import encode
from cloche.status import RunStatus
from cloche.store import all_records

if TYPE_CHECKING:
    from cloche.history import Record, RunKey
    from cloche.store import RunRow, Store

RETRIED = (RunStatus.FAILED, RunStatus.CANCELED)


@dataclass(frozen=True, slots=True)
class Retry:
    """What is asked for: a run that goes on from `run`.

    onto: the workflow, or the version of it, whose code it goes on under; None: under its own. All events go to that code: each
        but the last must give the commands that are recorded, the last one those before the failure.
    from_step: the path of a step; its last call is made again, and all that came after it is left out.
    even_at_most_once: also where nobody knows whether a step that must not run twice has done its work.
    even_after_clean_up: also where steps have completed after the failure, which may have undone what came before.
    """

    run: str
    onto: str | None = None
    from_step: str | None = None
    even_at_most_once: bool = False
    even_after_clean_up: bool = False

    @classmethod
    def of(cls, key: RunKey, onto: str | None, from_step: str | None, *even: bool) -> Retry:
        """
        Raises:
            UsageError: it cannot be meant.
        """
        if onto is not None and from_step is not None:
            raise UsageError("under other code all that happened is given to it: leave out onto= or from_step=")
        return cls(key.run, onto, from_step, *even)

    def packed(self) -> list[Any]:
        return list(astuple(self))

    @property
    def digest(self) -> bytes:
        """What makes it the same request: the run that it begins keeps it."""
        return blake2b(encode(self.packed()), digest_size=32).digest()

    @property
    def is_plain(self) -> bool:
        """Whether nothing was asked for but to go on."""
        return self == Retry(self.run)


async def records_to_retry(store: Store, row: RunRow) -> list[Record]:
    """The records of a run that can be retried.

    Raises:
        UsageError: it has not ended, or it succeeded.
    """
    if row.status not in RETRIED:
        then = (
            "move it on as it is"
            if row.status not in (RunStatus.SUCCESS,)
            else "fork it at a step to run it again (Cloche.fork, POST /v1/runs/ID/fork)"
        )
        raise UsageError(f"run {row.key} is {row.status}: only a run that failed or was canceled is retried; {then}")
    return await all_records(store, row.key)


def planned(row: RunRow, records: list[Record], asked: Retry) -> Resumption:
    """What a retry under the run's own code would do.

    Raises:
        UsageError: it cannot be, or would do what must be asked for by name.
    """
    try:
        found = resumption(records, asked.from_step)
    except UsageError as error:
        raise UsageError(f"run {row.key} cannot be retried: {error.message}") from None
    if found.uncertain and not asked.even_at_most_once:
        raise UsageError(
            f"run {row.key} would call {', '.join(found.uncertain)} again, which is to run at most once and may have done its "
            "work: look where it works, then retry with even_at_most_once ('--even-at-most-once')"
        )
    if found.cleaned_up and not asked.even_after_clean_up:
        raise UsageError(
            f"run {row.key} has cleaned up after its failure ({', '.join(found.cleaned_up)}), which a retry would not know of: "
            "start a new run, fork it at a step, or retry with even_after_clean_up ('--even-after-clean-up')"
        )
    return found
