"""Values that bodies and parameters are made of, as strict as the document says, and no stricter."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from cloche.http.addresses import NO_NAMES

_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _instant(value: Any) -> Any:
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise ValueError("a time is written as RFC 3339 has it, like 2026-01-31T08:00:00Z")


def _addressable(id: str) -> str:
    if id in NO_NAMES:
        raise ValueError(f"a run {id!r} would have no address: give it another id")
    return id


NewRunId = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_addressable)]
# 1.0 is an integer in JSON Schema, and some languages write it so.
Whole = Annotated[int, Field(strict=True), BeforeValidator(_whole)]
# Numbers of seconds, or of milliseconds, are none: whoever sends one has meant the other.
Instant = Annotated[datetime, BeforeValidator(_instant)]
