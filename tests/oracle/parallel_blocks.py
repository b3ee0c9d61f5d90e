"""Arms side by side, and which of them wait for outside data: the "calls" part of `guest/js/prelude/workflow.js`.

A block ends when every arm is settled. It also ends, as a failure, when one has failed and all others that began are settled
or wait for outside data. Until then it stays pending, and is *quiet* when all that began and have not settled wait; a nested
workflow in which such a block stands waits itself, and so on upwards. Open blocks are found by where they stand: `key` is the
path of the workflow around them, "" in the run itself, or of the foreach whose items stand at `key[i]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeAlias

from cloche_codegen.conditions.values import MISSING
from oracle.host import Host
from oracle.promises import Promise, Steps
from oracle.values import Bail, Thrown, defined, failure_of, named

Call: TypeAlias = Callable[[], Promise]
Gather: TypeAlias = "Callable[[Block], Any]"


class ArmPhase(Enum):
    NOT_BEGUN = auto()
    ACTIVE = auto()
    QUIET = auto()
    SUCCEEDED = auto()
    FAILED = auto()


_OPEN = (ArmPhase.ACTIVE, ArmPhase.QUIET)


@dataclass(frozen=True, slots=True)
class Policy:
    """When a block ends. `collect`: nothing fails it, every arm gives how it ended; `least`: so many successes end it well,
    at once; `tolerated`: more failures than that end it badly, at once, and fewer are left out of the result.
    """

    collect: bool = False
    least: float = math.inf
    tolerated: float = math.inf

    @property
    def is_picky(self) -> bool:
        return math.isfinite(self.least) or math.isfinite(self.tolerated)


@dataclass(frozen=True, slots=True)
class Arms:
    """What a block is made of. `what` names it in an error; `ids` are None in a foreach.

    `call` begins the arm of an index; `width` is how many may be open at once; `gather` makes the result of the ended block.
    """

    what: str
    ids: Sequence[str] | None
    count: int
    call: Callable[[int], Promise]
    width: float
    policy: Policy
    gather: Gather

    @property
    def tolerated(self) -> float:
        """How many failures the block survives."""
        least, tolerated = self.policy.least, self.policy.tolerated
        return min(tolerated, self.count - least) if math.isfinite(least) else tolerated


@dataclass(eq=False, slots=True)
class Block:
    """Arms under way, where they stand, and how far they have come."""

    key: str
    arms: Arms
    promise: Promise
    phases: list[ArmPhase]
    values: list[Any]
    indexes: dict[str, int] | None = None
    following: int = 0
    active: int = 0
    quiet: int = 0
    succeeded: int = 0
    failed: int = 0
    is_open: bool = True
    is_asleep: bool = False

    def arm_named(self, part: str) -> int:
        """Which arm a part of a path names: "id", or "i]" in a foreach; -1 if none."""
        if self.arms.ids is None:
            digits = part[:-1]
            index = int(digits) if digits.isascii() and digits.isdigit() else -1
            return index if index < self.arms.count else -1
        if self.indexes is None:
            self.indexes = {id: index for index, id in enumerate(self.arms.ids)}
        return self.indexes.get(part, -1)

    def open_arm(self, path: str) -> int:
        """Where a path stands in the block; -1 if it is not in it or its arm is done."""
        start = 0
        if self.key or self.arms.ids is None:
            start = len(self.key) + 1
            cut = "[" if self.arms.ids is None else "/"
            if len(path) <= start or path[start - 1] != cut or not path.startswith(self.key):
                return -1
        end = start
        while end < len(path) and path[end] not in "/[":
            end += 1
        arm = self.arm_named(path[start:end])
        return arm if arm >= 0 and self.phases[arm] in _OPEN else -1


class ParallelBlocks:
    """The open blocks of a run."""

    __slots__ = ("_blocks", "_host")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._blocks: dict[str, Block] = {}
        host.on_suspended = self._wait_changed

    def begin(self, key: str, arms: Arms) -> Promise:
        """Let the arms run; the promise of what `gather` makes of them."""
        promise = Promise(self._host.microtasks)
        block = Block(key, arms, promise, [ArmPhase.NOT_BEGUN] * arms.count, [MISSING] * arms.count)
        self._blocks[key] = block
        self._advance(block)
        return promise

    # ---- where a path stands ----

    def _around(self, path: str) -> tuple[Block, int] | None:
        """The innermost open block around a path, and which of its arms it is in."""
        end = len(path)
        for at in range(end - 1, -1, -1):
            cut = path[at]
            if cut not in "/[":
                continue
            block = self._blocks.get(path[:at])
            if block is not None and (block.arms.ids is None) == (cut == "["):
                return block, block.arm_named(path[at + 1 : end])
            end = at
        block = self._blocks.get("") if end > 0 else None
        if block is not None and block.arms.ids is not None:
            return block, block.arm_named(path[:end])
        return None

    def _wait_changed(self, path: str, quiet: bool) -> None:
        """An arm, or the workflow that a block stands in, waits for outside data or does no longer."""
        found = self._around(path)
        if found is None:
            return
        block, arm = found
        if arm < 0 or block.phases[arm] is not (ArmPhase.ACTIVE if quiet else ArmPhase.QUIET):
            return
        block.phases[arm] = ArmPhase.QUIET if quiet else ArmPhase.ACTIVE
        block.active += -1 if quiet else 1
        block.quiet += 1 if quiet else -1
        self._advance(block)

    def _becomes(self, block: Block, is_asleep: bool) -> None:
        if block.is_asleep is not is_asleep:
            block.is_asleep = is_asleep
            self._wait_changed(block.key, is_asleep)

    # ---- the end of a block ----

    def _drop_rest(self, block: Block, by_command: bool) -> None:
        """Calls that are still open in the arms are not waited for. `by_command`: as `Host.drop`."""
        for call, path in self._host.open_calls():
            if block.open_arm(path) >= 0:
                self._host.drop(call, by_command)
        for key, inner in list(self._blocks.items()):
            if block.open_arm(key) >= 0:
                inner.is_open = False
                del self._blocks[key]

    def _close(self, block: Block, by_command: bool) -> None:
        block.is_open = False
        if self._blocks.get(block.key) is block:
            del self._blocks[block.key]
        self._becomes(block, False)
        if block.active + block.quiet > 0:
            self._drop_rest(block, by_command)

    def _fail(self, block: Block, error: Any) -> None:
        self._close(block, by_command=False)
        block.promise.settle(False, error)

    def _fail_first(self, block: Block) -> None:
        """With the first failure in the order of the arms. Where a policy says how many have to succeed, with how each ended,
        and that failure as its cause; without one, there never were enough of them."""
        arms, phases = block.arms, block.phases
        failed = [value for phase, value in zip(phases, block.values, strict=True) if phase is ArmPhase.FAILED]
        if failed and not arms.policy.is_picky:
            return self._fail(block, failed[0])
        if failed:
            succeeded = phases.count(ArmPhase.SUCCEEDED)
            message = (
                f"{arms.what}: of {arms.count}, {succeeded} have succeeded and {len(failed)} have failed; "
                f"the first: {failure_of(failed[0])['name']}: {failure_of(failed[0])['message']}"
            )
        else:
            message = f"{arms.what} needs {int(arms.policy.least)} to succeed and has {arms.count}"
        error = named("CompletionError", message, failed[0] if failed else MISSING).value
        reason = "min_successes" if math.isfinite(arms.policy.least) else "tolerated_failures"
        error.data = {"reason": reason, "items": [_outcome_of(block, arm) for arm in range(arms.count)]}
        return self._fail(block, error)

    def _succeed(self, block: Block) -> None:
        self._close(block, by_command=True)
        block.promise.settle(True, block.arms.gather(block))

    # ---- arms ----

    def _settle_arm(self, block: Block, arm: int, succeeded: bool, value: Any) -> None:
        if not block.is_open:
            return
        if not succeeded and isinstance(value, Bail):
            return self._fail(block, value)
        if block.arms.policy.collect:
            value = succeeded_as(value) if succeeded else failed_as(value)
            succeeded = True
        if block.phases[arm] is ArmPhase.QUIET:
            block.quiet -= 1
        else:
            block.active -= 1
        block.phases[arm] = ArmPhase.SUCCEEDED if succeeded else ArmPhase.FAILED
        block.values[arm] = value
        block.failed += not succeeded
        block.succeeded += succeeded
        return self._advance(block)

    def _run(self, block: Block, arm: int) -> Steps:
        block.phases[arm] = ArmPhase.ACTIVE
        block.active += 1
        try:
            value = yield block.arms.call(arm)
        except Thrown as thrown:
            self._settle_arm(block, arm, False, thrown.value)
        else:
            self._settle_arm(block, arm, True, value)

    def _advance(self, block: Block) -> None:
        """After anything happened to an arm: end, begin further arms, or wait."""
        if not block.is_open:
            return None
        if block.succeeded >= block.arms.policy.least:
            return self._succeed(block)
        if block.failed > block.arms.tolerated:
            return self._fail_first(block)
        stopped = block.arms.ids is None and not block.arms.policy.is_picky and block.failed > 0
        while (
            block.is_open
            and not stopped
            and block.following < block.arms.count
            and block.active + block.quiet < block.arms.width
        ):
            block.following += 1
            self._host.microtasks.start(self._run(block, block.following - 1))
        if not block.is_open:
            return None
        if block.active > 0:
            return self._becomes(block, False)
        if block.failed > 0 and not block.arms.policy.is_picky:
            return self._fail_first(block)
        if block.quiet == 0:
            return self._succeed(block)
        return self._becomes(block, True)


def keyed(block: Block) -> dict[str, Any]:
    """The results by id, of the arms that succeeded and gave something."""
    assert block.arms.ids is not None
    arms = zip(block.arms.ids, block.phases, block.values, strict=True)
    return {id: value for id, phase, value in arms if phase is ArmPhase.SUCCEEDED and value is not MISSING}


def listed(block: Block) -> list[Any]:
    return block.values


def listed_only(block: Block) -> list[Any]:
    """Of a foreach that tolerates failures: the outputs of the items that succeeded."""
    pairs = zip(block.phases, block.values, strict=True)
    return [value for phase, value in pairs if phase is ArmPhase.SUCCEEDED]


def succeeded_as(value: Any) -> dict[str, Any]:
    return defined({"status": "success", "output": value})


def _outcome_of(block: Block, arm: int) -> dict[str, Any]:
    ids, phase, value = block.arms.ids, block.phases[arm], block.values[arm]
    if phase is ArmPhase.SUCCEEDED:
        ended = succeeded_as(value)
    else:
        ended = failed_as(value) if phase is ArmPhase.FAILED else {"status": "canceled"}
    return ended if ids is None else {**ended, "name": ids[arm]}


def failed_as(error: Any) -> dict[str, Any]:
    return {"status": "failed", "error": failure_of(error)}
