"""What comes of many things at once: a list of how each of them ended, and why it is as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from _cloche import batches

from ._failures import CompletionError, failure_of
from ._values import MISSING

OPEN: Final = object()  # in place of what one gave that has not ended well


class BatchItem(dict[str, Any]):
    """How one ended: `{"status": "success", "output": …}`, `{"status": "failed", "error": …}` or `{"status": "canceled"}`.

    `ok`, `value`, `error`, `index` and `name` say the same; `error` is the exception itself, which can be raised.
    """

    __slots__ = ("_at", "_exception")

    _at: tuple[int, Any]  # its place, and what was awaited
    _exception: BaseException | None

    @property
    def index(self) -> int:
        return self._at[0]

    @property
    def status(self) -> str:
        return dict.__getitem__(self, "status")  # type: ignore[no-any-return]

    @property
    def ok(self) -> bool:
        return dict.__getitem__(self, "status") == "success"  # type: ignore[no-any-return]

    @property
    def value(self) -> Any:
        """What it gave; None of one that did not succeed."""
        return dict.get(self, "output")

    @property
    def error(self) -> BaseException | None:
        try:
            return self._exception
        except AttributeError:  # of most there is none, and ten thousand times nothing is kept
            return None

    @property
    def name(self) -> str | None:
        of = self._at[1]
        return of if of is None or isinstance(of, str) else name_of(of)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def name_of(awaitable: Any) -> str | None:
    """What people call it: the name of a step, of a task, of a coroutine's function."""
    name = getattr(awaitable, "name", None)
    if isinstance(name, str):
        return name
    named = getattr(awaitable, "named", None)
    return named() if named is not None else getattr(awaitable, "__name__", None)


def items_of(
    results: list[Any], awaitables: Sequence[Any], failures: Mapping[int, BaseException]
) -> Iterator[BatchItem]:
    """The items of a batch. `results` has what each gave, OPEN where it did not end well; `failures` what some raised."""
    new = BatchItem
    for at, value in zip(enumerate(awaitables), results, strict=True):
        if value is OPEN:
            error = failures.get(at[0])
            yield unended_item(*at) if error is None else failed_item(*at, error)
            continue
        made = new(status="success") if value is MISSING else new(status="success", output=value)
        made._at = at
        yield made


def failed_item(index: int, of: Any, error: BaseException) -> BatchItem:
    made = BatchItem(status="failed", error=failure_of(error))
    made._at, made._exception = (index, of), error
    return made


def unended_item(index: int, of: Any) -> BatchItem:
    """It was not waited for, or never began."""
    made = BatchItem(status="canceled")
    made._at = index, of
    return made


class Batch(list[BatchItem]):
    """How each ended, in order. `reason` is `completed` (all have ended), or the policy that ended it before:
    `min_successes`, `tolerated_failures`."""

    __slots__ = ("reason",)

    def __init__(self, items: Iterable[BatchItem], reason: str) -> None:
        list.__init__(self, items)
        self.reason = reason

    @property
    def succeeded(self) -> list[BatchItem]:
        return [item for item in self if item.ok]

    @property
    def failed(self) -> list[BatchItem]:
        return [item for item in self if dict.__getitem__(item, "status") == "failed"]

    @property
    def values(self) -> list[Any]:
        """What those gave that succeeded, in order."""
        return [item.value for item in self if item.ok]

    def raise_first(self) -> Batch:
        """Raise the first error, as what it was; the batch itself if there is none."""
        for item in self:
            if item.error is not None:
                raise item.error
        return self

    def __reduce__(self) -> Any:
        return list, (list(self),)


def too_few(batch: Batch) -> CompletionError:
    """What is raised with a batch whose policy cannot be met any more: its first error is the cause."""
    failed = batch.failed
    first = failed[0]["error"] if failed else None
    why = "" if first is None else f"; the first: {first['name']}: {first['message']}"
    told = f"of {len(batch)}, {len(batch.succeeded)} have succeeded and {len(failed)} have failed{why}"
    data = {"reason": batch.reason, "items": batch}
    made = CompletionError(told, data=data, cause=failed[0].error if failed else None)
    made.__dict__["batch"] = batch
    return made


batches(Batch, BatchItem)
