"""What a failure of a step says of the machine it happened on stays there: where files lie, and where objects are in memory.

A failure enters the glass, and with it a tenant's hands. Its message is the step author's and crosses; the traceback never does
(it is in the record of the attempt, for the host). A path is known by its first directory, which is one of this machine: what
else begins with a slash, routes of an API for one, is left as it is.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import cache
from typing import Any

from cloche.history import Failure

_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{8,16}\b")


def redact(failure: Failure) -> Failure:
    """`failure` as it may be told: `/srv/app/orders.db` is `…/orders.db`, and `<X object at 0x7f…>` has no address."""
    return replace(
        failure,
        message=_told(failure.message),
        data=_data(failure.data),
        cause=redact(failure.cause) if failure.cause is not None else None,
        notes=tuple(map(_told, failure.notes)),
        members=tuple(map(redact, failure.members)),
    )


def _data(value: Any) -> Any:
    match value:
        case str():
            return _told(value)
        case list():
            return [_data(item) for item in value]
        case dict():
            return {key: _data(item) for key, item in value.items()}
    return value


def _told(text: str) -> str:
    if "/" in text:
        text = _paths().sub(r"…/\g<name>", text)
    return _ADDRESS.sub("0x…", text) if "0x" in text else text


@cache
def _paths() -> re.Pattern[str]:
    first = sorted((name for name in os.listdir("/") if name.isprintable()), key=len, reverse=True)
    part = r"[^\s/:'\"<>|,;()\[\]]+"
    return re.compile(rf"(?<![\w.~:/\\-])/(?:{'|'.join(map(re.escape, first))})/(?:{part}/)*(?P<name>{part})?")
