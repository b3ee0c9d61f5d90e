"""Arms side by side, and who of them waits for outside data: the "calls" part of `guest/js/prelude/workflow.js`.

A block ends when every arm is settled, and it also ends, as a failure, when one has failed and all others that began are
settled or wait for outside data; until then it stays pending, and is *quiet* when all that began and have not settled wait
for outside data. A nested workflow in which such a block stands waits for outside data itself, and so on upwards.

Open blocks are found by where they stand: `key` is the path of the workflow around them ("" in the run itself), and that of
the arm `id` is `key/id`. The items of a foreach with the path `key` stand at `key[i]`. A workflow does one thing after the
other, so there is one open block at a place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from _cloche import Promise, drop

from ._failures import Bail, CompletionError, failure_of, shown
from ._loop import on_suspended, promise_of, waited_for
from ._values import MISSING, defined

NOT_BEGUN, ACTIVE, QUIET, SUCCEEDED, FAILED = range(5)
_INFINITY: Final = float("inf")
Arm: TypeAlias = "tuple[Any, ...]"  # (id, …, call)
_blocks: dict[str, Block] = {}


class _Listener:
    """Hears how the call of an arm ends."""

    __slots__ = ("arm", "block", "on")

    def __init__(self, block: Block, arm: int) -> None:
        self.block = block
        self.arm = arm
        self.on: Promise | None = None

    def step(self) -> None:
        on = self.on
        assert on is not None
        self.block.settle_arm(self.arm, on.value, on.error)


class Block(Promise):
    """Arms under way; the promise of what is made of their results.

    `collect`: nothing fails it, every arm gives how it ended. `least`: so many successes end it well, at once.
    `tolerated`: more failures than that end it badly, at once, and fewer are left out of the result.
    """

    __slots__ = (
        "active", "call", "collect", "count", "failed", "ids", "indexes", "is_asleep", "is_open", "key", "least", "made",
        "next", "quiet", "states", "stops", "succeeded", "tolerated", "values", "waits", "what", "width",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        what: str,
        ids: list[str] | None,
        count: int,
        call: Callable[[int], Any],
        width: float,
        made: Callable[[Block], Any],
        *,
        collect: bool = False,
        min_successes: int | None = None,
        tolerated_failures: int | None = None,
    ) -> None:
        is_picky = min_successes is not None or tolerated_failures is not None
        self.key, self.what, self.ids, self.count, self.call = key, what, ids, count, call
        self.width, self.made, self.collect = width, made, collect
        self.least = _INFINITY if min_successes is None else min_successes
        self.tolerated = _INFINITY if tolerated_failures is None else tolerated_failures
        if min_successes is not None:
            self.tolerated = min(self.tolerated, count - min_successes)
        self.stops = ids is None and not is_picky  # does a failure end the queue,
        self.waits = not is_picky  # and is it reported once all others that began are done?
        self.states = [NOT_BEGUN] * count
        self.values: list[Any] = [MISSING] * count
        self.indexes: dict[str, int] | None = None
        self.next = self.active = self.quiet = self.succeeded = self.failed = 0
        self.is_open = True
        self.is_asleep = False
        _blocks[key] = self
        self.advance()

    # ── where a path stands ─────────────────────────────────────────────────────────────────────────────────────────
    def arm_named(self, part: str) -> int:
        """Which arm a part of a path names: the text up to the next cut, "id" or "i]"; -1 if none."""
        if self.ids is None:
            digits = part[:-1]
            index = int(digits) if digits.isascii() and digits.isdigit() else -1
            return index if index < self.count else -1
        if self.indexes is None:
            self.indexes = {id: index for index, id in enumerate(self.ids)}
        return self.indexes.get(part, -1)

    def open_arm(self, path: str) -> int:
        """Where a path stands in the block: the arm, or -1 if it is not in the block or its arm is done."""
        start = 0
        if self.key or self.ids is None:
            start = len(self.key) + 1
            cut = "[" if self.ids is None else "/"
            if len(path) <= start or path[start - 1] != cut or not path.startswith(self.key):
                return -1
        end = start
        while end < len(path) and path[end] not in "/[":
            end += 1
        arm = self.arm_named(path[start:end])
        return arm if arm >= 0 and self.states[arm] in (ACTIVE, QUIET) else -1

    # ── the end of a block ──────────────────────────────────────────────────────────────────────────────────────────
    def close(self, *, tell_host: bool) -> None:
        self.is_open = False
        if _blocks.get(self.key) is self:
            del _blocks[self.key]
        self.becomes(False)
        if self.active + self.quiet > 0:
            self.drop_rest(tell_host)

    def drop_rest(self, tell_host: bool) -> None:
        """Whoever is still open below the arms is not waited for. `tell_host`: the host learns it from here; else it learns
        it from the failure or the end of the workflow around it."""
        for call in waited_for():
            if self.open_arm(call.path) >= 0:
                drop(call, tell_host)
        for key, inner in list(_blocks.items()):
            if self.open_arm(key) >= 0:
                inner.is_open = False
                del _blocks[key]

    def fail(self, error: BaseException) -> None:
        self.close(tell_host=False)
        self.settle(None, error)

    def fail_first(self) -> None:
        """With the first failure in the order of the arms. Where a policy says how many have to succeed, with how each ended,
        and that failure as its cause; without one, there never were enough of them."""
        first = next((value for state, value in zip(self.states, self.values, strict=True) if state == FAILED), None)
        if first is not None and self.waits:
            return self.fail(first)
        if first is None:
            told = f"{self.what} needs {self.least} to succeed and has {self.count}"
        else:
            counts = f"of {self.count}, {self.succeeded} have succeeded and {self.failed} have failed"
            told = f"{self.what}: {counts}; the first: {shown(first)}"
        reason = "tolerated_failures" if self.least == _INFINITY else "min_successes"
        items = [self.outcome_of(arm) for arm in range(self.count)]
        return self.fail(CompletionError(told, data={"reason": reason, "items": items}, cause=first))

    def outcome_of(self, arm: int) -> dict[str, Any]:
        """As a settled block gives it, with the id of an arm; one that was not waited for is `canceled`."""
        state, value = self.states[arm], self.values[arm]
        ended = (
            succeeded_as(value)
            if state == SUCCEEDED
            else failed_as(value)
            if state == FAILED
            else {"status": "canceled"}
        )
        return ended if self.ids is None else {**ended, "name": self.ids[arm]}

    def succeed(self) -> None:
        self.close(tell_host=True)
        self.settle(self.made(self))

    # ── arms ────────────────────────────────────────────────────────────────────────────────────────────────────────
    def run(self, arm: int) -> None:
        self.states[arm] = ACTIVE
        self.active += 1
        try:
            promise = promise_of(self.call(arm))
        except Exception as error:
            self.settle_arm(arm, None, error)
        else:
            promise.wake(_Listener(self, arm))

    def settle_arm(self, arm: int, value: Any, error: BaseException | None) -> None:
        if not self.is_open:
            return
        if isinstance(error, Bail):
            return self.fail(error)
        if self.collect:
            value = succeeded_as(value) if error is None else failed_as(error)
            error = None
        if self.states[arm] == QUIET:
            self.quiet -= 1
        else:
            self.active -= 1
        if error is None:
            self.states[arm], self.values[arm] = SUCCEEDED, value
            self.succeeded += 1
        else:
            self.states[arm], self.values[arm] = FAILED, error
            self.failed += 1
        self.advance()

    def advance(self) -> None:
        """After anything happened to an arm: end, begin further arms, or wait."""
        if not self.is_open:
            return
        if self.succeeded >= self.least:
            return self.succeed()
        if self.failed > self.tolerated:
            return self.fail_first()
        stopped = self.stops and self.failed > 0
        while self.is_open and not stopped and self.next < self.count and self.active + self.quiet < self.width:
            self.next += 1
            self.run(self.next - 1)
        if not self.is_open:
            return
        if self.active > 0:
            self.becomes(False)
        elif self.failed > 0 and self.waits:
            self.fail_first()
        elif self.quiet == 0:
            self.succeed()
        else:
            self.becomes(True)

    def becomes(self, asleep: bool) -> None:
        if self.is_asleep is not asleep:
            self.is_asleep = asleep
            tell(self.key, asleep)


def _around(path: str) -> tuple[Block, int] | None:
    """The innermost open block around a path, and which of its arms it is in."""
    end = len(path)
    for at in range(end - 1, -1, -1):
        cut = path[at]
        if cut != "/" and cut != "[":
            continue
        block = _blocks.get(path[:at])
        if block is not None and (block.ids is None) is (cut == "["):
            return block, block.arm_named(path[at + 1 : end])
        end = at
    outer = _blocks.get("") if end > 0 else None
    return None if outer is None or outer.ids is None else (outer, outer.arm_named(path[:end]))


def tell(path: str, quiet: bool) -> None:
    """An arm, or the workflow that a block stands in, waits for outside data or does no longer."""
    found = _around(path)
    if found is None:
        return
    block, arm = found
    if arm < 0 or block.states[arm] != (ACTIVE if quiet else QUIET):
        return
    block.states[arm] = QUIET if quiet else ACTIVE
    block.active += -1 if quiet else 1
    block.quiet += 1 if quiet else -1
    block.advance()


on_suspended.append(tell)


# ── what is made of the arms ────────────────────────────────────────────────────────────────────────────────────────
def keyed(block: Block) -> dict[str, Any]:
    """The results by id, of those arms that succeeded and gave something."""
    assert block.ids is not None
    arms = zip(block.ids, block.states, block.values, strict=True)
    return {id: value for id, state, value in arms if state == SUCCEEDED and value is not MISSING}


def listed(block: Block) -> list[Any]:
    return block.values


def listed_only(block: Block) -> list[Any]:
    """Of a foreach that tolerates failures: the outputs of the items that succeeded."""
    return [value for state, value in zip(block.states, block.values, strict=True) if state == SUCCEEDED]


def succeeded_as(value: Any) -> dict[str, Any]:
    return defined({"status": "success", "output": value})


def failed_as(error: BaseException) -> dict[str, Any]:
    return {"status": "failed", "error": failure_of(error)}
