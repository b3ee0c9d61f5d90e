"""The names and numbers that travel everywhere, each with a type of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from cloche.errors import UsageError

TenantId = NewType("TenantId", str)
RunId = NewType("RunId", str)
Seq = NewType("Seq", int)  # 1-based, dense within a run; 0 is "before the first record"
CallId = NewType("CallId", int)  # 1-based, given by the guest, never used twice in a run
Path = NewType("Path", str)  # where a call stands in the workflow: its identity
TimeMs = NewType("TimeMs", int)  # milliseconds since 1970-01-01T00:00:00Z

DEFAULT_TENANT = TenantId("default")
ID_BYTES_MAX = 200


@dataclass(frozen=True, slots=True)
class RunKey:
    """A run is named by its tenant and its id, in this order, in every table and every chain."""

    tenant: TenantId
    run: RunId

    def __str__(self) -> str:
        """For messages, behind the word run: `r1`, `r1 of tenant acme`."""
        return self.run if self.tenant == DEFAULT_TENANT else f"{self.run} of tenant {self.tenant}"

    @property
    def token(self) -> str:
        """`tenant:run` as a part of longer names; a colon in the tenant's id must not name another tenant's run."""
        return f"{self.tenant.replace('%', '%25').replace(':', '%3A')}:{self.run}"


def is_valid_id(text: str) -> bool:
    """1 to 200 bytes of UTF-8 without control characters or surrounding space: it is printed, stored and compared."""
    if not text or text != text.strip() or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text):
        return False
    try:
        return len(text.encode()) <= ID_BYTES_MAX
    except UnicodeEncodeError:
        return False


def run_key(run: str, tenant: str) -> RunKey:
    """The key of a run as callers name it.

    Raises:
        UsageError: one of the two is not a valid id.
    """
    return RunKey(tenant_id(tenant), RunId(_checked("run id", run)))


def tenant_id(text: str) -> TenantId:
    """The id of a tenant as callers name it; raises as `run_key`."""
    return TenantId(_checked("tenant", text))


def _checked(what: str, text: str) -> str:
    if not is_valid_id(text):
        raise UsageError(f"{what} {text!r} is not 1 to {ID_BYTES_MAX} bytes of text without control characters")
    return text
