"""How long runs that have ended are kept, before a worker deletes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, field_validator

from cloche.status import OVER, RunStatus


def days(count: float) -> timedelta:
    """So many days: `Retention(success=days(30))`."""
    return timedelta(days=count)


class Retention(BaseModel):
    """How long a run is kept after its last record, by how it ended; None: for ever. The closest says: what `workflows` has in
    the tenant's own of `tenants`, the tenant's own, what `workflows` has, this one. Each of these speaks for itself alone.

    A run is deleted with its records; its id is not used again. It stays while a run that came of it is still in the store (a
    child, a retry), or the run that began it is open.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    success: timedelta | None = None
    failed: timedelta | None = None
    canceled: timedelta | None = None
    workflows: Mapping[str, Retention] = {}
    tenants: Mapping[str, Retention] = {}

    @field_validator("success", "failed", "canceled")
    @classmethod
    def _not_negative(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value < timedelta(0):
            raise ValueError("a time to keep runs for is not negative")
        return value

    def keeps_ms(self, tenant: str, workflow: str, status: RunStatus) -> int | None:
        """For how many ms such a run is kept; None: for ever."""
        own = self.tenants.get(tenant)
        closest = own.workflows.get(workflow, own) if own is not None else self.workflows.get(workflow, self)
        kept: timedelta | None = getattr(closest, str(status))
        return None if kept is None else int(kept.total_seconds() * 1000)

    def shortest_ms(self, status: RunStatus) -> int | None:
        """The shortest of all that is said for the status; None: such runs are all kept."""
        said = [kept for one in self._all() if (kept := getattr(one, str(status))) is not None]
        return int(min(said).total_seconds() * 1000) if said else None

    def _all(self) -> Iterator[Retention]:
        yield self
        for one in (*self.workflows.values(), *self.tenants.values()):
            yield from one._all()


assert {"success", "failed", "canceled"} == set(map(str, OVER))
