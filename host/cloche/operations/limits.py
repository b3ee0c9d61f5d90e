"""Limits as an operator sees them: who has permits, who waits, in which order, and what comes next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from cloche.history import CallId
from cloche.history.permitted import WHOLE_RUN
from cloche.store import LimitName, LimitUse, PermitRow

if TYPE_CHECKING:
    from cloche.history import RunKey, TenantId, TimeMs
    from cloche.store import Store

ROWS_MAX = 10_000  # calls that are looked at, the oldest first


@dataclass(frozen=True, slots=True)
class PermitInfo:
    """A call that has a permit, or waits for one. `step` is the path of the call, or empty: the run itself, by its workflow.

    `since`: when it was given, or asked for, in ms since 1970. `waits_for` is the name of the limit that has none free, of
    all that the call needs; None: it has its permits.
    """

    tenant: str
    run_id: str
    step: str
    since: TimeMs
    waits_for: str | None = None


@dataclass(frozen=True, slots=True)
class LimitState:
    """A limit as it stands.

    kind: `concurrency` (so many at once) or `rate` (so many begin in `per_s` seconds).
    key: the value of the input by which it is limited; empty: it has none. tenant: whose it is; empty: all tenants share it.
    most: of how many, as the newest call that asked has it; None: nobody asks for it just now.
    used: how many permits are given, or how many beginnings are in the window. free_at: when the next leaves the window.
    holders, waiting: the calls, the oldest first. others: how many more of other tenants there are, which are not shown.
    """

    name: str
    kind: str
    key: str
    tenant: str
    most: int | None
    per_s: float | None
    used: int
    free_at: TimeMs | None = None
    holders: Sequence[PermitInfo] = ()
    waiting: Sequence[PermitInfo] = ()
    others: int = 0

    def to_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(slots=True)
class _Found:
    most: int | None = None
    holders: list[PermitRow] = field(default_factory=list)
    waiting: list[PermitRow] = field(default_factory=list)


async def limits(store: Store, tenant: TenantId | None, now: TimeMs, name: str | None = None) -> list[LimitState]:
    """The limits of that name, or all, that somebody uses just now, in the order of their names. `tenant`: those in which this
    one has a part, and its own calls; None: all."""
    found = _by_limit(await store.permits(limit=ROWS_MAX))
    uses = {one.name: one for one in await store.limit_uses(now)}
    states = []
    for packed in sorted({*found, *uses}):
        full = LimitName.unpack(packed)
        one = found.get(packed, _Found())
        if name is not None and full.name != name:
            continue
        if tenant is not None and full.tenant != tenant and not _has(tenant, (*one.holders, *one.waiting)):
            continue
        states.append(_state(full, one, uses.get(packed), tenant))
    return states


def _by_limit(rows: Iterable[PermitRow]) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    for row in rows:
        for limit in row.limits:
            one = found.setdefault(limit.name, _Found())
            one.most = limit.most
            if row.granted_at is None:
                one.waiting.append(row)
            elif not limit.per_ms:
                one.holders.append(row)
    return found


def _state(name: LimitName, found: _Found, use: LimitUse | None, tenant: TenantId | None) -> LimitState:
    is_rate = name.per_ms > 0
    used = (use.used if use is not None else 0) if is_rate else len(found.holders)
    shown = [[row for row in rows if tenant in (None, row.key.tenant)] for rows in (found.holders, found.waiting)]
    return LimitState(
        name.name,
        "rate" if is_rate else "concurrency",
        name.key,
        name.tenant,
        found.most,
        name.per_ms / 1000 if is_rate else None,
        used,
        use.until if use is not None else None,
        [_info(row) for row in shown[0]],
        [_info(row) for row in shown[1]],
        len(found.holders) + len(found.waiting) - len(shown[0]) - len(shown[1]),
    )


def _info(row: PermitRow) -> PermitInfo:
    since = row.asked_at if row.granted_at is None else row.granted_at
    waits_for = LimitName.unpack(row.waits_for).name if row.waits_for is not None else None
    return PermitInfo(row.key.tenant, row.key.run, row.path, since, waits_for)


def _has(tenant: TenantId, rows: Iterable[PermitRow]) -> bool:
    return any(row.key.tenant == tenant for row in rows)


@dataclass(frozen=True, slots=True)
class PermitWait:
    """What a call waits for: a limit, who has it, and how many of its tenant asked before it."""

    name: str
    key: str
    kind: str
    most: int
    per_s: float | None
    used: int
    free_at: TimeMs | None
    held_by: Sequence[str]
    ahead: int

    def sentence(self) -> str:
        """`a permit of limit 'stripe' (100 in 1 s): 2 of its tenant wait before it`"""
        of = f" for {self.key!r}" if self.key else ""
        how = f"{self.most} in {self.per_s:g} s" if self.per_s is not None else f"{self.most} at once"
        held = f", held by {', '.join(self.held_by)}" if self.held_by else ""
        ahead = f"; {self.ahead} of its tenant {'waits' if self.ahead == 1 else 'wait'} before it" if self.ahead else ""
        return f"a permit of limit '{self.name}'{of} ({how}{held}){ahead}"


async def wait_of(store: Store, key: RunKey, now: TimeMs, call: CallId = WHOLE_RUN) -> PermitWait | None:
    """What a call of a run waits for; None: it has its permits, or asks for none."""
    rows = await store.permits(limit=ROWS_MAX)
    row = next((one for one in rows if (one.key, one.call) == (key, call)), None)
    if row is None or row.waits_for is None:
        return None
    name, limit = LimitName.unpack(row.waits_for), row.limit(row.waits_for)
    state = _state(
        name,
        _by_limit(rows)[row.waits_for],
        {one.name: one for one in await store.limit_uses(now)}.get(row.waits_for),
        key.tenant,
    )
    before = [one for one in rows if one.waits_for == row.waits_for and one.id < row.id]
    ahead = sum(one.key.tenant == key.tenant for one in before)
    held_by = list(dict.fromkeys(one.run_id for one in state.holders))
    return PermitWait(
        name.name, name.key, state.kind, limit.most, state.per_s, state.used, state.free_at, held_by, ahead
    )
