"""The log: one small protocol, in memory and in SQLite. The only code that knows SQL, and which stores there are."""

from cloche.store.checkpoints import Checkpoints, MemoryCheckpoints
from cloche.store.inbox import (
    CHILD_ENDED,
    GRANTED,
    START,
    InboxBounds,
    InboxMark,
    InboxRow,
    NewRequests,
    Post,
    WaitingEvent,
    child_ended,
)
from cloche.store.memory import MemoryStore
from cloche.store.operators import AuditEntry, Hold
from cloche.store.pages import all_records, first_record, read_through, record_pages, row_pages
from cloche.store.protocol import (
    Append,
    Collected,
    Finding,
    Lease,
    Leases,
    NewCode,
    NewRun,
    News,
    Outcome,
    RunRow,
    Store,
    Version,
    WorkerRow,
)
from cloche.store.sqlite import SQLITE_REQUIRED, SQLITE_VERSION, SqliteStore, blob_digest
from cloche.store.tokens import TokenRow
from cloche.store.urls import MEMORY, check_url, is_there, migrate, migrations, open_store, shown
from cloche.store.usage import Metered, TenantUsage, Usage

__all__ = [
    "CHILD_ENDED",
    "GRANTED",
    "MEMORY",
    "SQLITE_REQUIRED",
    "SQLITE_VERSION",
    "START",
    "Append",
    "AuditEntry",
    "Checkpoints",
    "Collected",
    "Finding",
    "Hold",
    "InboxBounds",
    "InboxMark",
    "InboxRow",
    "Lease",
    "Leases",
    "MemoryCheckpoints",
    "MemoryStore",
    "Metered",
    "NewCode",
    "NewRequests",
    "NewRun",
    "News",
    "Outcome",
    "Post",
    "RunRow",
    "SqliteStore",
    "Store",
    "TenantUsage",
    "TokenRow",
    "Usage",
    "Version",
    "WaitingEvent",
    "WorkerRow",
    "all_records",
    "blob_digest",
    "check_url",
    "child_ended",
    "first_record",
    "is_there",
    "migrate",
    "migrations",
    "open_store",
    "read_through",
    "record_pages",
    "row_pages",
    "shown",
]
