"""Which policies the open runs of a store are pinned to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloche.history.notes import RunCreated
from cloche.operations.replay import created
from cloche.status import FINAL
from cloche.tenancy import Policy

if TYPE_CHECKING:
    from cloche.store import Store

_DEFAULTS = {limit.name: limit.default for limit in Policy.described()}


@dataclass(frozen=True, slots=True)
class Pinned:
    """How many open runs of a tenant began with a policy that differs so from the defaults."""

    tenant: str
    runs: int
    differs: dict[str, Any]


async def pinned(store: Store) -> list[Pinned]:
    """What the open runs of a store are pinned to, by tenant. Reads their first records.

    Raises:
        HistoryError: a first record is not what was written.
    """
    found: Counter[tuple[str, str]] = Counter()
    for row in await store.runs():
        if row.status not in FINAL:
            differs = json.dumps(_differs(await created(store, row.key)), sort_keys=True)
            found[row.key.tenant, differs] += 1
    return [Pinned(tenant, runs, json.loads(differs)) for (tenant, differs), runs in sorted(found.items())]


def _differs(note: RunCreated) -> dict[str, Any]:
    """As it stands in the record: a later version may know fields that this one does not."""
    limits = {name: value for name, value in note.limits.items() if value != _DEFAULTS.get(name)}
    return {**limits, **note.policy}


def in_words(differs: Mapping[str, Any]) -> str:
    """What differs from the defaults, on one line."""
    return ", ".join(f"{name}={brief(value)}" for name, value in differs.items()) or "the defaults"


def brief(value: Any) -> str:
    """The value of a field for people."""
    if value is None:
        return "all"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_item, value))}]"
    return json.dumps(value)


def _item(item: Any) -> str:
    """A workflow's id, or a grant as JSON data."""
    if not isinstance(item, Mapping):
        return str(item)
    return f"{item['step']}(…)" if item.get("arguments") is not None else str(item["step"])
