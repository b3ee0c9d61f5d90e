"""The bounds of a policy that need a clock, a neighbour or the cell: what a machine cannot see (`history.bounds` has the rest).

All of it is asked before anything happens, from what the host knows of the run, and never again for what is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from cloche.engines import mode_of
from cloche.errors import NotGranted
from cloche.history import CallId, Failure, RunKey, TenantId, TimeMs
from cloche.history.bounds import exceeded
from cloche.history.effects import StartStep
from cloche.history.messages import HookReceived, Started
from cloche.history.notes import Note, RunCreated
from cloche.history.resuming import KeyOwners
from cloche.history.values import ABI, decode, encode_plain
from cloche.store import InboxBounds
from cloche.tenancy import Policy

if TYPE_CHECKING:
    from cloche.engines import Code
    from cloche.history.machine import Input

NAMES_SHOWN_MAX = 20
_LONGEST = (1 << 63) - 1  # no number of ours takes more bytes
PARENTS_MAX = 100_000  # runs whose children are known: of another one the store is asked again


class RateCounters:
    """What was taken: by tenants in this process in the last second, and by runs that have not ended, as the store had it.

    Each rate of a tenant has a bucket of one second (token bucket). Of a rate each of the store's workers has an even share, so
    that it holds for all of them and costs no write: `workers` says how many there are.
    """

    def __init__(self, monotonic: Callable[[], float], workers: Callable[[], int] = lambda: 1) -> None:
        self.children: dict[RunKey, int] = {}  # by parent, the one that started the last child last
        self.on_denied: Callable[[RunKey, str, str], None] = lambda key, limit, asked: None
        self._monotonic = monotonic
        self._workers = workers
        self._buckets: dict[
            tuple[str, str], tuple[float, float]
        ] = {}  # (tenant, bound) -> what is left, and when it was

    def take(self, tenant: str, limit: str, per_second: int, amount: int) -> float:
        """Take `amount`, now or in a moment: how many seconds whoever takes it has to wait before it is used.

        Those who come later wait for what was taken before them: what is left may be less than nothing.
        """
        now, share = self._monotonic(), per_second / self._workers()
        left, then = self._buckets.get((tenant, limit), (share, now))
        left = min(share, left + (now - then) * share) - amount
        self._buckets[tenant, limit] = (left, now)
        return max(0.0, -left / share)

    def take_child(self, parent: RunKey, most: int) -> None:
        """
        Raises:
            LimitExceeded: the run has started so many children.
        """
        children = self.children.get(parent, 0) + 1
        if children > most:
            raise exceeded("children", most, children)
        self.children.pop(parent, None)
        self.children[parent] = children
        if len(self.children) > PARENTS_MAX:
            del self.children[next(iter(self.children))]


def check_start(policy: Policy, code: Code, started: Started) -> None:
    """Before a run begins.

    Raises:
        LimitExceeded: its code or its input is too large.
    """
    if not policy.host_closures and mode_of(code) == "host-closures":
        message = (
            f"workflow '{code.workflow}' has mode='host-closures', functions that run on the host: "
            "give its tenant a Policy(host_closures=True), or write them so that they can go under glass"
        )
        raise NotGranted(message, limit="host_closures", value=False, asked=True)
    size = len(code.source.encode())
    if size > policy.source_bytes:
        raise exceeded("source_bytes", policy.source_bytes, size, f"the source of workflow '{code.workflow}'")
    size = len(started.pack(code.abi))
    if size > policy.payload_bytes:
        raise exceeded("payload_bytes", policy.payload_bytes, size, "its input")


def check_event(created: RunCreated, payload: Any) -> None:
    """Before an event with this (plain) payload is accepted for a run; `created` is what the run's first record says.

    Raises:
        LimitExceeded: it is larger than the policy allows that the run is pinned to.
    """
    policy = _policy_of(created)
    # Which call it answers, and when, is not known yet: the longest of both, so that it fits whatever they will be.
    size = len(HookReceived(TimeMs(_LONGEST), CallId(_LONGEST), payload).pack())
    if size > policy.payload_bytes:
        raise exceeded("payload_bytes", policy.payload_bytes, size, "an event")


def inbox_bounds(created: RunCreated | None) -> InboxBounds:
    """How many events may wait for a run, and for all of its tenant: by the policy that the run is pinned to.

    None: it has not begun yet, and the default holds.
    """
    policy = _policy_of(created) if created is not None else Policy()
    return InboxBounds(**{name: getattr(policy, name) for name in InboxBounds.__dataclass_fields__})


def _policy_of(created: RunCreated) -> Policy:
    return _pinned(encode_plain([created.limits, created.policy]))


@lru_cache(1_000)
def _pinned(packed: bytes) -> Policy:
    limits, rest = decode(packed)
    return Policy.of(limits, rest)


class Sums(Protocol):
    """What lies in the store of each tenant, where its policy bounds that."""

    async def check_room(self, tenant: TenantId) -> None:
        """Before an open run goes on.

        Raises:
            StoreFull: the tenant has no room for what it would write; try again.
            StoreError: the store did not say.
        """

    def written(self, tenant: TenantId, size: int) -> None:
        """So many bytes of records are written."""


class RunLimits:
    """The policy of one run, applied."""

    @classmethod
    def of(cls, created: RunCreated, key: RunKey, counters: RateCounters) -> RunLimits:
        """That of a run, by its first record."""
        return cls(_policy_of(created), key, counters, created.depth, created.retry_of, derived_ids=created.derived_ids)

    def __init__(
        self,
        policy: Policy,
        key: RunKey,
        counters: RateCounters,
        depth: int,
        retry_of: Mapping[str, Any] = MappingProxyType({}),
        *,
        derived_ids: bool = True,
    ) -> None:
        self.policy = policy
        self.derived_ids = (
            derived_ids  # else the run is one of an older release, in its names and in its children's ids
        )
        self.keys = KeyOwners.of(key, retry_of)  # whose idempotency keys its calls have
        self.depth = depth  # how many runs stand above this one
        self.sums: Sums | None = None  # where what the tenant has in the store is bounded
        self.abi = ABI  # of the run's guest, which decides how large a message is
        self._key = key
        self._counters = counters

    def check_turn(self, started: Started | None, now: int, fuel_used: int, events: Iterable[bytes]) -> None:
        """Before a turn. `fuel_used` is that of the cell, whichever way it was made: it has the whole history in it.

        Raises:
            LimitExceeded: the run is too old, or an event is too large.
        """
        policy = self.policy
        age_s = (now - started.time) // 1000 if started is not None else 0
        if age_s > policy.run_lifetime_s:
            raise exceeded("run_lifetime_s", policy.run_lifetime_s, age_s)
        self.check_fuel(fuel_used)
        for event in events:
            if len(event) > policy.payload_bytes:
                raise exceeded("payload_bytes", policy.payload_bytes, len(event), "a message")

    def check_fuel(self, fuel_used: int) -> None:
        """After a turn as well.

        Raises:
            LimitExceeded: the run has computed too much.
        """
        if fuel_used > self.policy.fuel_per_run:
            raise exceeded("fuel_per_run", self.policy.fuel_per_run, fuel_used)

    def append_wait_s(self, size: int) -> float:
        """How many seconds to wait before records of so many bytes are written: the tenant may write so fast, and no faster."""
        return self._counters.take(self._key.tenant, "log_bytes_per_second", self.policy.log_bytes_per_second, size)

    def check_inbound(self, one: Input) -> None:
        """Before data is given to the run from outside.

        Raises:
            LimitExceeded: it is too large; nothing was given.
        """
        size = 0 if isinstance(one, Note) else len(one.pack(self.abi))
        if size > self.policy.payload_bytes:
            raise exceeded("payload_bytes", self.policy.payload_bytes, size, "what it is given")

    def check_written(self, value: Any) -> None:
        """Before a step's output, a plain value, is recorded while it runs.

        Raises:
            LimitExceeded: it is too large.
        """
        if (size := len(encode_plain(value))) > self.policy.payload_bytes:
            raise exceeded("payload_bytes", self.policy.payload_bytes, size, "what a step writes")

    def check_labels(self, labels: Iterable[str]) -> None:
        """
        Raises:
            LimitExceeded: a label is too long.
        """
        for label in labels:
            if (size := len(label.encode())) > self.policy.label_bytes:
                raise exceeded("label_bytes", self.policy.label_bytes, size, "a label")

    def refusal(self, start: StartStep, named: str) -> Failure | None:
        """Why a step must not begin, as the failure of its call: the same if there is no such step as if it is not allowed.

        `named` is the id of the step that the call reaches: a grant of either is enough."""
        policy = self.policy
        if any(policy.grants(id, start.arguments) for id in dict.fromkeys((start.name, named))):
            return None
        self._counters.on_denied(self._key, "steps", start.name)
        granted = [grant.step for grant in policy.steps or ()]
        listed = ", ".join(granted[:NAMES_SHOWN_MAX]) + (", …" if len(granted) > NAMES_SHOWN_MAX else "") or "none"
        what = " with this input" if start.name in granted else ""
        message = f"step '{start.name}' is not granted to tenant {self._key.tenant}{what}; granted are: {listed}"
        return Failure.from_exception(NotGranted(message, limit="steps", value=granted, asked=start.name))

    def start_wait_s(self, start: StartStep) -> float:
        """How many seconds to wait before a step begins: the tenant's may begin so fast, and no faster."""
        if start.redispatched:  # what a crash made necessary is not held against the tenant
            return 0.0
        return self._counters.take(self._key.tenant, "step_starts_per_second", self.policy.step_starts_per_second, 1)

    def child_depth(self, workflow: Any, *, is_new: bool) -> int:
        """The depth of a child that may be started, or found again.

        Raises:
            LimitExceeded: it may not.
        """
        policy = self.policy
        id = workflow if isinstance(workflow, str) else workflow.id
        if policy.child_workflows is not None and id not in policy.child_workflows:
            self._counters.on_denied(self._key, "child_workflows", id)
            message = f"workflow '{id}' is not granted to tenant {self._key.tenant} as a child"
            raise NotGranted(message, limit="child_workflows", value=list(policy.child_workflows), asked=id)
        if self.depth + 1 > policy.child_depth:
            raise exceeded("child_depth", policy.child_depth, self.depth + 1, "a child")
        if is_new:
            self._counters.take_child(self._key, policy.children)
        return self.depth + 1

    @property
    def counts_children(self) -> bool:
        """Whether it is known here how many this run has: else the store is asked."""
        return self._key in self._counters.children

    def has_children(self, count: int) -> None:
        """So many the store has of this run, unless it is known here already: what began meanwhile is in it."""
        self._counters.children.setdefault(self._key, count)

    def forget(self) -> None:
        """The run has ended."""
        self._counters.children.pop(self._key, None)
