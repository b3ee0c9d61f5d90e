"""The names and numbers that travel everywhere, each with a type of its own."""

from __future__ import annotations

import re
from typing import NamedTuple, NewType, TypeAlias
from unicodedata import is_normalized, normalize

from cloche.errors import InvalidInput, UsageError
from cloche.text import ID_SEPARATOR, quoted, shown

TenantId = NewType("TenantId", str)
RunId = NewType("RunId", str)
Seq = NewType("Seq", int)  # 1-based, dense within a run; 0 is "before the first record"
CallId = NewType("CallId", int)  # 1-based, given by the guest, never used twice in a run
Path = NewType("Path", str)  # where a call stands in the workflow: its identity
TimeMs = NewType("TimeMs", int)  # milliseconds since 1970-01-01T00:00:00Z
Name: TypeAlias = str  # of a step, an event, a patch: see `is_name`
Child: TypeAlias = CallId | str  # which child of a run: by its call's number, or the id that the author gave it

DEFAULT_TENANT = TenantId("default")
ID_BYTES_MAX = 200
NAME_SIZE_MAX = 200  # characters, as the ids of a graph
PATH_SIZE_MAX = 8_192  # characters: a call is found by every place it stands in, so both cost the host
PATH_PLACES_MAX = 128

# What leaves no mark of its own, or shows what follows in another order: one name must not look like another (Unicode TR 36).
# Stands in `cloche_codegen.names` as well, for neither package knows the other; a test compares the two.
NOT_IN_NAMES = re.compile(
    r"[\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000"
    r"\u3164\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U00013430-\U0001345f"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# What was refused at first. The rest was allowed once, so stores may hold runs, steps and events that are named with it.
NEVER_IN_NAMES = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


# What a run of the system's own is called: by the run that it was begun for, the kind, and a number that is never used twice.
# In the place of the number a child may have an id, which its author has given: `=shipping`, of a step's child `s=shipping`.
# No caller can give such an id; it is shown, and may be written, as `order-17 › 3`, `order-17 › shipping`.
CHILD, STARTED_BY_STEP, RETRY, CONTINUATION = "c", "s", "r", "n"
SCHEDULED, FIRED = "t", "f"  # by a schedule, whose id stands before: at this instant, or fired by somebody then; in ms
BY_SCHEDULES = (SCHEDULED, FIRED)  # such a run is below no other run, also where one is called as its schedule is
DERIVED_BYTES_MAX = 1_000
_NORMALIZED_MAX = 2_000  # characters that are looked at: no id has as many, however Unicode writes it
_SHOWN_KINDS = f"{STARTED_BY_STEP}{RETRY}{CONTINUATION}{SCHEDULED}{FIRED}"  # but children, whose numbers stand alone
_NAMED = rf"=[^{ID_SEPARATOR}]+"
_DERIVED = re.compile(rf"({ID_SEPARATOR}(?:[{CHILD}{_SHOWN_KINDS}][1-9][0-9]*|{STARTED_BY_STEP}?{_NAMED}))+\Z")
_BEGUN_AT_END = re.compile(
    rf"{ID_SEPARATOR}([{CHILD}{STARTED_BY_STEP}](?=[1-9])|{STARTED_BY_STEP}?(?==))([0-9]+|{_NAMED})"
    rf"(?:{ID_SEPARATOR}{CONTINUATION}[1-9][0-9]*)?\Z"
)
_CONTINUATION_AT_END = re.compile(rf"{ID_SEPARATOR}{CONTINUATION}([1-9][0-9]*)\Z")
_RETRY_AT_END = re.compile(rf"{ID_SEPARATOR}{RETRY}([1-9][0-9]*)\Z")
_SCHEDULED_AT_END = re.compile(
    rf"{ID_SEPARATOR}[{''.join(BY_SCHEDULES)}][1-9][0-9]*(?:{ID_SEPARATOR}{CONTINUATION}[1-9][0-9]*)?\Z"
)
_SHOWN_SEPARATOR = " › "
_SHOWN_NUMBER = re.compile(rf"([{_SHOWN_KINDS}]?)([1-9][0-9]*)")


class RunKey(NamedTuple):
    """A run is named by its tenant and its id, in this order, in every table and every chain.

    A named tuple: it is a key of many tables, and each step looks it up ten times; the hash of a dataclass is a call of Python.
    """

    tenant: TenantId
    run: RunId

    def __str__(self) -> str:
        """For messages, after the word run: `r1`, `r1 of tenant acme`."""
        run = shown(self.run)
        return run if self.tenant == DEFAULT_TENANT else f"{run} of tenant {self.tenant}"

    @property
    def token(self) -> str:
        """`tenant:run` as a part of longer names; a colon in an id must not make it the name of something else."""
        parts = (part.replace("%", "%25").replace(":", "%3A") for part in (self.tenant, self.run))
        return ":".join(parts).replace(ID_SEPARATOR, "%1F")


def is_valid_id(text: str) -> bool:
    """1 to 200 bytes of text in NFC, nothing unseen in it and no space around it: it is printed, stored and compared."""
    return is_name(text) and len(text.encode()) <= ID_BYTES_MAX


def is_name(text: str) -> bool:
    """As an id, by characters: what a guest may call a step, an event, a patch, and a graph its nodes."""
    if not 0 < len(text) <= NAME_SIZE_MAX or text[0] == " " or text[-1] == " ":
        return False
    if text.isascii():
        return text.isprintable()
    return text == text.strip() and not NOT_IN_NAMES.search(text) and is_normalized("NFC", text)


def was_name(text: str) -> bool:
    """Whether it is a name, or was one when it was recorded: what is read from a log."""
    return is_name(text) or is_name(_as_once(text))


def _as_once(text: str) -> str:
    """`text` as a name of today, where it was a name once."""
    if text.isascii() or text != text.strip():
        return text
    return NOT_IN_NAMES.sub(lambda found: found[0] if NEVER_IN_NAMES.match(found[0]) else "_", text)


def event_name(text: object) -> str:
    """The name of an event as its sender gives it. Texts that are the same to Unicode (NFC) are the same name.

    Raises:
        InvalidInput: no workflow can wait for an event of that name.
    """
    name = normalize("NFC", text) if isinstance(text, str) and len(text) <= _NORMALIZED_MAX else ""
    if not is_name(name):
        raise InvalidInput(
            f"the event name {_brief(text)} is not 1 to {NAME_SIZE_MAX} characters of text without control characters "
            "and marks that do not show: no workflow can wait for it",
            path="name",
            problems=[],
        )
    return name


def check_idempotency_key(text: object) -> None:
    """A key by which a request is known, as its sender gives it (or None): it is kept, printed and compared like a name.

    Raises:
        InvalidInput: it is no name.
    """
    if text is not None and not (isinstance(text, str) and is_name(text)):
        raise InvalidInput(
            f"the idempotency key {_brief(text)} is not 1 to {NAME_SIZE_MAX} characters of text without control characters "
            "and marks that do not show: take the digest of what it stands for",
            path="idempotency_key",
            problems=[],
        )


def _brief(value: object) -> str:
    return repr(value[:NAME_SIZE_MAX])[: NAME_SIZE_MAX + 2] if isinstance(value, str) else quoted(value)


def is_path(text: str) -> bool:
    """Whether a call may stand there."""
    if len(text) <= PATH_PLACES_MAX:
        return True
    return len(text) <= PATH_SIZE_MAX and text.count("/") + text.count("[") <= PATH_PLACES_MAX


def run_key(run: str, tenant: str) -> RunKey:
    """The key of a run that may be there, as callers name it. Texts that are the same to Unicode (NFC) are the same name.

    An id that the system has given may be written as it is stored, or as it is shown.

    Raises:
        UsageError: one of the two is not a valid id.
    """
    _check_size("run id", run)
    return stored_run_key(run if ID_SEPARATOR in run else _as_stored(run), tenant)


def stored_run_key(run: str, tenant: str) -> RunKey:
    """As `run_key`, of an id as it is stored: nothing in it is taken for what stands between a run and its child."""
    _check_size("run id", run)
    derived = _DERIVED.search(run)
    if derived is None:
        return RunKey(tenant_id(tenant), RunId(_checked("run id", run)))
    if len(run.encode("utf-8", "surrogatepass")) > DERIVED_BYTES_MAX:
        raise UsageError(f"run id {shown(run[:ID_BYTES_MAX])!r}… is longer than {DERIVED_BYTES_MAX} bytes")
    first, *parts = run[: derived.start()], *derived[0].split(ID_SEPARATOR)[1:]
    whole = ID_SEPARATOR.join([_checked("run id", first), *map(_checked_part, parts)])
    return RunKey(tenant_id(tenant), RunId(whole))


def _as_stored(run: str) -> str:
    first, *parts = run.split(_SHOWN_SEPARATOR)
    return ID_SEPARATOR.join([first, *map(_part_as_stored, parts)])


def _part_as_stored(part: str) -> str:
    if (number := _SHOWN_NUMBER.fullmatch(part)) is not None:
        return f"{number[1] or CHILD}{number[2]}"
    return part if part.startswith(("=", f"{STARTED_BY_STEP}=")) else f"={part}"


def _checked_part(part: str) -> str:
    marker, is_named, id = part.partition("=")
    return f"{marker}={child_id(id)}" if is_named else part


def child_id(text: str) -> str:
    """The id that an author gives a child: it is one under its parent, and so one of its own kind beside numbers.

    Raises:
        UsageError: it is no valid id, or reads like two.
    """
    id = _checked("the id of a child", text)
    if _SHOWN_SEPARATOR in id:
        raise UsageError(
            f"the id of a child {id!r} has {_SHOWN_SEPARATOR!r} in it, which stands between a run and its child"
        )
    return id


def is_child_id(text: str) -> bool:
    """Whether `child_id` gives it back as it is."""
    return is_valid_id(text) and _SHOWN_SEPARATOR not in text


def check_named(what: str, text: object) -> None:
    """A name that is looked for, as a caller gives it: it may be none that there is.

    Raises:
        UsageError: it is no text, or none that could be the name of anything.
    """
    _check_size(what, text)
    if any("\ud800" <= character <= "\udfff" for character in str(text)):
        raise UsageError(f"{what} {_brief(text)} has half of a character in it (a lone surrogate)")


def derived_key(parent: RunKey, kind: str, child: Child) -> RunKey:
    """The key of the run that a call of `parent` begins.

    Raises:
        UsageError: runs are nested so deep that it is too long.
    """
    return stored_run_key(f"{parent.run}{ID_SEPARATOR}{_part(kind, child)}", parent.tenant)


def _part(kind: str, child: Child) -> str:
    if isinstance(child, int):
        return f"{kind}{child}"
    return f"={child}" if kind == CHILD else f"{kind}={child}"


def child_key(parent: RunKey, child: Child, *, derived_ids: bool) -> RunKey:
    """The key of a child that `parent` waits for, however long it is. Without `derived_ids` the parent is of an older release,
    whose children have ids of another form, where they have not one of their author's."""
    if derived_ids or isinstance(child, str):
        return RunKey(parent.tenant, RunId(f"{parent.run}{ID_SEPARATOR}{_part(CHILD, child)}"))
    return RunKey(parent.tenant, RunId(f"{parent.run}.{child}"))


def retry_key(run: RunKey) -> RunKey:
    """The key of the run that goes on from this one: `order-17 › r1` of order-17, `order-17 › r2` of that."""
    found = _RETRY_AT_END.search(run.run)
    first, number = (run.run, 0) if found is None else (run.run[: found.start()], int(found[1]))
    return derived_key(RunKey(run.tenant, RunId(first)), RETRY, CallId(number + 1))


def continuation_key(run: RunKey, more: int = 1) -> RunKey:
    """The key of a later history of this run: `order-17 › n1` follows order-17, `order-17 › n2` that."""
    return history_key(run, history_number(run) + more)


def history_key(run: RunKey, number: int) -> RunKey:
    """The key of that history of the run, from 0."""
    first = first_history(run)
    return derived_key(first, CONTINUATION, CallId(number)) if number else first


def history_number(run: RunKey) -> int:
    """Which history of its run it is, from 0."""
    found = _CONTINUATION_AT_END.search(run.run)
    return 0 if found is None else int(found[1])


def first_history(run: RunKey) -> RunKey:
    """The one that somebody has begun."""
    return RunKey(run.tenant, RunId(_CONTINUATION_AT_END.sub("", run.run)))


def schedule_run_key(tenant: str, schedule: str, kind: str, instant: TimeMs) -> RunKey:
    """The key of the run that a schedule begins at an instant: `nightly › t1774747800000`. `kind`: SCHEDULED or FIRED.

    Raises:
        UsageError: the schedule's id is no valid id.
    """
    first = RunKey(_new_tenant(tenant), RunId(_checked("schedule", schedule, is_new=True)))
    return stored_run_key(f"{first.run}{ID_SEPARATOR}{kind}{instant}", first.tenant)


def parent_of(key: RunKey) -> tuple[RunKey, Child] | None:
    """The run that waits for this one as its child, and which one it is; None of a run that no workflow's code has begun.

    Children of runs of older releases have ids of another form, and are none here.
    """
    found = _begun_by(key)
    return found[1:] if found is not None and found[0] != STARTED_BY_STEP else None


def begun_by(key: RunKey) -> tuple[RunKey, Child] | None:
    """As `parent_of`, also of a run that a step has begun."""
    found = _begun_by(key)
    return found[1:] if found is not None else None


def _begun_by(key: RunKey) -> tuple[str, RunKey, Child] | None:
    found = _BEGUN_AT_END.search(key.run)
    if found is None:
        return None
    child: Child = found[2][1:] if found[2][0] == "=" else CallId(int(found[2]))
    return found[1], RunKey(key.tenant, RunId(key.run[: found.start()])), child


def schedule_of(key: RunKey) -> str | None:
    """The id of the schedule that has begun the run; None: it was begun by something else."""
    found = _SCHEDULED_AT_END.search(key.run)
    return key.run[: found.start()] if found is not None else None


def is_derived(run: str) -> bool:
    """Whether the system has given this id."""
    return _DERIVED.search(run) is not None


def new_run_key(run: str, tenant: str) -> RunKey:
    """The key of a run that begins: as `run_key`, without what only old stores may hold."""
    id = _checked("run id", run, is_new=True)
    if _SHOWN_SEPARATOR in id:
        raise UsageError(f"run id {id!r} reads like that of a run which another one has begun: leave out the ›")
    return RunKey(_new_tenant(tenant), RunId(id))


def _new_tenant(tenant: str) -> TenantId:
    return TenantId(_checked("tenant", tenant, is_new=True))


def tenant_id(text: str) -> TenantId:
    """The id of a tenant as callers name it; as `run_key`."""
    return TenantId(_checked("tenant", text))


def _check_size(what: str, text: object) -> None:
    """Before anything goes through it: a platform passes on what a tenant has said, and that may be megabytes."""
    if not isinstance(text, str):
        raise UsageError(
            f"{what} {_brief(text)} is no text, but of type {type(text).__name__}: write {quoted(text)[:99]!r}"
        )
    if len(text) > _NORMALIZED_MAX:
        raise UsageError(f"{what} {_brief(text)}… has {len(text):,} characters, and may have {ID_BYTES_MAX} bytes")


def _checked(what: str, text: str, *, is_new: bool = False) -> str:
    _check_size(what, text)
    text = normalize("NFC", text)
    if not is_valid_id(text if is_new else _as_once(text)):
        raise UsageError(
            f"{what} {text!r} is not 1 to {ID_BYTES_MAX} bytes of text without control characters and marks that do not show"
        )
    return text
