"""The log: one small protocol, in memory and in SQLite. The only code that knows SQL, and which stores there are."""

from cloche.store.checkpoints import Checkpoints, MemoryCheckpoints
from cloche.store.inbox import (
    CHILD_ENDED,
    GRANTED,
    START,
    Granted,
    InboxBounds,
    InboxMark,
    InboxRow,
    NewRequests,
    Post,
    WaitingEvent,
    child_ended,
)
from cloche.store.listings import LOOKED_AT_MAX, FailureGroup, Listings, RunFilter, RunPage
from cloche.store.memory import MemoryStore
from cloche.store.operators import AuditEntry, Hold
from cloche.store.pages import all_records, first_record, read_through, record_pages, row_pages
from cloche.store.protocol import (
    Append,
    Collected,
    Finding,
    Leases,
    NewCode,
    NewRun,
    News,
    Outcome,
    Store,
    Version,
    WorkerRow,
)
from cloche.store.runs import Lease, RunRow
from cloche.store.sqlite import SQLITE_REQUIRED, SQLITE_VERSION, SqliteStore, blob_digest
from cloche.store.tokens import TokenRow
from cloche.store.urls import MEMORY, check_url, is_there, migrate, migrations, open_store, shown
from cloche.store.usage import Metered, TenantUsage, Usage

__all__ = [
    "CHILD_ENDED",
    "GRANTED",
    "LOOKED_AT_MAX",
    "MEMORY",
    "SQLITE_REQUIRED",
    "SQLITE_VERSION",
    "START",
    "Append",
    "AuditEntry",
    "Checkpoints",
    "Collected",
    "FailureGroup",
    "Finding",
    "Granted",
    "Hold",
    "InboxBounds",
    "InboxMark",
    "InboxRow",
    "Lease",
    "Leases",
    "Listings",
    "MemoryCheckpoints",
    "MemoryStore",
    "Metered",
    "NewCode",
    "NewRequests",
    "NewRun",
    "News",
    "Outcome",
    "Post",
    "RunFilter",
    "RunPage",
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
