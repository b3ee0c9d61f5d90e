"""What a store in memory holds, and one connection to it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from cloche.history.ids import Path, RunKey, TenantId, TimeMs
from cloche.history.records import Record
from cloche.store.memory.permit_data import PermitData
from cloche.store.memory.remote_data import RemoteData
from cloche.store.memory.requests import InboxData
from cloche.store.operators import AuditEntry, Hold
from cloche.store.protocol import Version, WorkerRow
from cloche.store.runs import RunRow
from cloche.store.schedules import Firing, ScheduleRow
from cloche.store.tokens import TokenRow
from cloche.store.usage import Metered
from cloche.store.webhooks import Delivery, WebhookRow


@dataclass(eq=False, slots=True)
class MemoryData:
    """The data of one store, shared by all its connections: what the file is to SQLite."""

    rows: dict[RunKey, RunRow] = field(default_factory=dict)  # in the order of their creation
    records: dict[RunKey, list[Record]] = field(default_factory=dict)
    results: dict[tuple[RunKey, Path], Record] = field(default_factory=dict)
    tombstones: dict[RunKey, TimeMs] = field(default_factory=dict)
    metered: dict[RunKey, Metered] = field(default_factory=dict)  # what deleted runs have used stays
    blobs: dict[str, bytes] = field(default_factory=dict)
    numbers: dict[RunKey, int] = field(default_factory=dict)  # the place of each run in listings
    marks: dict[RunKey, dict[str, str]] = field(default_factory=dict)  # in the order of their creation
    last_number: int = 0
    versions: dict[tuple[TenantId, str], Version] = field(default_factory=dict)  # in the order of their last deploy
    bundles: set[tuple[TenantId, str]] = field(default_factory=set)  # deployed, and not collected yet
    inbox: InboxData = field(default_factory=InboxData)
    tokens: dict[str, TokenRow] = field(default_factory=dict)  # by id
    schedules: dict[tuple[TenantId, str], ScheduleRow] = field(default_factory=dict)
    firings: dict[tuple[TenantId, str], list[Firing]] = field(default_factory=dict)
    webhooks: dict[tuple[TenantId, str], WebhookRow] = field(default_factory=dict)  # by tenant and name
    deliveries: dict[int, Delivery] = field(default_factory=dict)  # by id
    last_delivery: int = 0
    received: dict[tuple[TenantId, str], tuple[str, TimeMs]] = field(default_factory=dict)  # run and time, by id
    remote: RemoteData = field(default_factory=RemoteData)
    permits: PermitData = field(init=False)
    departures: int = 0  # how often runs were freed of a worker that was gone
    holds: dict[tuple[TenantId, str], Hold] = field(default_factory=dict)  # by tenant and code
    audit_log: list[AuditEntry] = field(default_factory=list)
    workers: dict[str, WorkerRow] = field(default_factory=dict)
    workers_lock: threading.RLock = field(default_factory=threading.RLock)  # heartbeats come from other threads
    writes: int = 0  # of all connections

    def __post_init__(self) -> None:
        self.permits = PermitData(self.inbox)

    def is_held(self, row: RunRow) -> bool:
        """Whether an operator holds the run back."""
        return any((row.key.tenant, code) in self.holds for code in ("", row.code))

    def keep(self, blobs: Mapping[str, bytes]) -> None:
        """Keep blobs by digest; what is there already is never changed."""
        for digest, data in blobs.items():
            self.blobs.setdefault(digest, data)


class Connection:
    """One connection to the data. It counts what it wrote itself, so that it can tell what others have written."""

    __slots__ = ("_own_writes", "data")

    def __init__(self, data: MemoryData) -> None:
        self.data = data
        self._own_writes = 0

    def count_write(self) -> None:
        self.data.writes += 1
        self._own_writes += 1

    @property
    def writes_of_others(self) -> int:
        return self.data.writes - self._own_writes


class Facet:
    """One facet of a store, on a connection. A `MemoryStore` is all of them on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._use(connection)

    def _use(self, connection: Connection) -> None:
        self._connection = connection
        self._data = connection.data
