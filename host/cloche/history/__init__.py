"""The sans-I/O core: records, messages, the machine of one run, replay. No clock, no disk, no asyncio."""

from cloche.history.failures import Failure
from cloche.history.ids import DEFAULT_TENANT, CallId, Path, RunId, RunKey, Seq, TenantId, TimeMs
from cloche.history.machine import Batch, RunMachine
from cloche.history.notes import Note
from cloche.history.records import Kind, Record

__all__ = [
    "DEFAULT_TENANT",
    "Batch",
    "CallId",
    "Failure",
    "Kind",
    "Note",
    "Path",
    "Record",
    "RunId",
    "RunKey",
    "RunMachine",
    "Seq",
    "TenantId",
    "TimeMs",
]
