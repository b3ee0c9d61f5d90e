"""The names and numbers that travel everywhere, each with a type of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NewType, TypeAlias
from unicodedata import is_normalized, normalize

from cloche.errors import InvalidInput, UsageError

TenantId = NewType("TenantId", str)
RunId = NewType("RunId", str)
Seq = NewType("Seq", int)  # 1-based, dense within a run; 0 is "before the first record"
CallId = NewType("CallId", int)  # 1-based, given by the guest, never used twice in a run
Path = NewType("Path", str)  # where a call stands in the workflow: its identity
TimeMs = NewType("TimeMs", int)  # milliseconds since 1970-01-01T00:00:00Z
Name: TypeAlias = str  # of a step, an event, a patch: see `is_name`

DEFAULT_TENANT = TenantId("default")
ID_BYTES_MAX = 200
NAME_SIZE_MAX = 200  # characters, as the ids of a graph
PATH_SIZE_MAX = 8_192  # characters: a call is found by every place it stands in, so both cost the host
PATH_PLACES_MAX = 128

# What does not show, or shows what follows in another order: one name must not look like another (Unicode TR 36). Stands in
# `cloche_codegen.names` as well, for neither package knows the other; a test compares the two.
UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
# These two were allowed once, so stores may hold runs, steps and events that are named with them.
_ONCE_ALLOWED = str.maketrans("\ufffe\uffff", "__")


@dataclass(frozen=True, slots=True)
class RunKey:
    """A run is named by its tenant and its id, in this order, in every table and every chain."""

    tenant: TenantId
    run: RunId

    def __str__(self) -> str:
        """For messages, after the word run: `r1`, `r1 of tenant acme`."""
        return self.run if self.tenant == DEFAULT_TENANT else f"{self.run} of tenant {self.tenant}"

    @property
    def token(self) -> str:
        """`tenant:run` as a part of longer names; a colon in an id must not make it the name of something else."""
        return ":".join(part.replace("%", "%25").replace(":", "%3A") for part in (self.tenant, self.run))


def is_valid_id(text: str) -> bool:
    """1 to 200 bytes of text in NFC, nothing unseen in it and no space around it: it is printed, stored and compared."""
    return is_name(text) and len(text.encode()) <= ID_BYTES_MAX


def is_name(text: str) -> bool:
    """As an id, by characters: what a guest may call a step, an event, a patch, and a graph its nodes."""
    if not 0 < len(text) <= NAME_SIZE_MAX or text[0] == " " or text[-1] == " ":
        return False
    if text.isascii():
        return text.isprintable()
    return text == text.strip() and not UNSEEN.search(text) and is_normalized("NFC", text)


def was_name(text: str) -> bool:
    """Whether it is a name, or was one when it was recorded: what is read from a log."""
    return is_name(text) or is_name(text.translate(_ONCE_ALLOWED))


def event_name(text: object) -> str:
    """The name of an event as its sender gives it. Texts that are the same to Unicode (NFC) are the same name.

    Raises:
        InvalidInput: no workflow can wait for an event of that name.
    """
    name = normalize("NFC", text) if isinstance(text, str) else ""
    if not is_name(name):
        raise InvalidInput(
            f"the event name {_brief(text)} is not 1 to {NAME_SIZE_MAX} characters of text without control characters "
            "and marks that do not show: no workflow can wait for it",
            path="name",
            problems=[],
        )
    return name


def _brief(value: object) -> str:
    return repr(value[:NAME_SIZE_MAX] if isinstance(value, str) else value)[: NAME_SIZE_MAX + 2]


def is_path(text: str) -> bool:
    """Whether a call may stand there."""
    if len(text) <= PATH_PLACES_MAX:
        return True
    return len(text) <= PATH_SIZE_MAX and text.count("/") + text.count("[") <= PATH_PLACES_MAX


def run_key(run: str, tenant: str) -> RunKey:
    """The key of a run that may be there, as callers name it. Texts that are the same to Unicode (NFC) are the same name.

    Raises:
        UsageError: one of the two is not a valid id.
    """
    return RunKey(tenant_id(tenant), RunId(_checked("run id", run)))


def new_run_key(run: str, tenant: str) -> RunKey:
    """The key of a run that begins: as `run_key`, without what only old stores may hold."""
    return RunKey(TenantId(_checked("tenant", tenant, is_new=True)), RunId(_checked("run id", run, is_new=True)))


def tenant_id(text: str) -> TenantId:
    """The id of a tenant as callers name it; as `run_key`."""
    return TenantId(_checked("tenant", text))


def _checked(what: str, text: str, *, is_new: bool = False) -> str:
    text = normalize("NFC", text)
    if not is_valid_id(text if is_new else text.translate(_ONCE_ALLOWED)):
        raise UsageError(
            f"{what} {text!r} is not 1 to {ID_BYTES_MAX} bytes of text without control characters and marks that do not show"
        )
    return text
