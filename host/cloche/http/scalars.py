"""Values that bodies and parameters are made of, as strict as the document says, and no stricter."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from typing_extensions import TypeAliasType

from cloche.errors import UsageError
from cloche.http.addresses import NO_NAMES
from cloche.operations import names

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
SINCE_1970 = "^(?:19[7-9]|[2-9][0-9]{2})[0-9]-"


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _instant(value: Any) -> Any:
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise ValueError("a time is written as RFC 3339 has it, like 2026-01-31T08:00:00Z")


def _new_run_id(id: str) -> str:
    if id in NO_NAMES:
        raise ValueError(f"a run {id!r} would have no address: give it another id")
    try:
        names.check_new_run_id(id)
    except UsageError as error:
        raise ValueError(error.message) from None
    return id


def text_of(pattern: str, description: str, **more: Any) -> Any:
    """What the document says of a text whose rules are held elsewhere."""
    return WithJsonSchema({"type": "string", "pattern": pattern, "description": description, **more})


# These stand in the document once, under their names. What it says of them the operations hold.
Name = TypeAliasType(
    "Name",
    Annotated[
        str,
        text_of(
            names.NAME, "1 to 200 characters in Unicode's form NFC: none that does not show, and no space at the ends."
        ),
    ],
)
TagName = TypeAliasType("TagName", Annotated[str, text_of(names.TAG_NAME, "A name without `=`.")])
Tags = TypeAliasType("Tags", Annotated[dict[TagName, Name], Field(max_length=32)])
NewRunId = TypeAliasType(
    "NewRunId",
    Annotated[
        str,
        AfterValidator(_new_run_id),
        text_of(
            names.NAME,
            "A name of at most 200 bytes that has an address, and does not read like that of a run which another has begun.",
            **{"not": {"anyOf": [{"enum": list(NO_NAMES)}, {"pattern": names.NOT_IN_RUN_IDS}]}},
        ),
    ],
)
# 1.0 is an integer in JSON Schema, and some languages write it so.
Whole = Annotated[int, Field(strict=True), BeforeValidator(_whole)]
# Numbers of seconds, or of milliseconds, are none: whoever sends one has meant the other.
Instant = Annotated[datetime, BeforeValidator(_instant), Field(json_schema_extra={"pattern": SINCE_1970})]
