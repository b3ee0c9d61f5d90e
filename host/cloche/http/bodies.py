"""What requests carry and answers hold: JSON, or CBOR where that is asked for; with tags, so that nothing is sent twice."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isinf
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError

from cloche.errors import InvalidInput
from cloche.http.problems import Refused
from cloche.http.rules import takes_nothing
from cloche.operations.forms import from_cbor, to_cbor, to_json

JSON, CBOR, CBOR_SEQUENCE = "application/json", "application/cbor", "application/cbor-seq"
SCHEMAS = "#/components/schemas/"  # where the document of the API has its forms
PREFER_S_MAX = 30
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*(\d{1,6})(?:$|[,;\s])")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")

M = TypeVar("M", bound=BaseModel)
BODIES: dict[str, type[BaseModel]] = {}  # by name: their schemas are made when somebody asks for the document


def described(model: type[BaseModel]) -> dict[str, Any]:
    """What a route says of a body that it reads itself: a name among the forms of the document, which has the rest."""
    BODIES[model.__name__] = model
    rule: Any = model.model_config.get("json_schema_extra") or {}
    is_needed = any(one.is_required() for one in model.model_fields.values())
    is_required = is_needed or not takes_nothing(rule)  # else no body is an empty one
    form = {"schema": {"$ref": f"{SCHEMAS}{model.__name__}"}}
    return {"required": is_required, "content": dict.fromkeys((JSON, CBOR), form)}


async def body_of(request: Request, model: type[M]) -> M:
    """The body as `model` has it; without one, as `{}`.

    Raises:
        Refused: it is of another media type.
        InvalidInput: it is no JSON or deterministic CBOR, or not what the model says.
    """
    data = await request.body()
    kind = request.headers.get("content-type", JSON).split(";")[0].strip().lower()
    if kind not in (JSON, CBOR):
        raise Refused(415, "unsupported-media-type", f"the body is {kind or 'of no type'}")
    value = ({} if not data else from_cbor(data)) if kind == CBOR else json_of(data or b"{}")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors()[:20]]
        raise InvalidInput(
            f"the body is not what it should be: {'; '.join(problems)}", path="", problems=problems
        ) from None


def json_of(data: bytes) -> Any:
    """
    Raises:
        InvalidInput: it is no JSON.
    """
    try:
        return json.loads(data, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the body is not JSON: {error}", path="", problems=[]) from None


def _finite(digits: str) -> float:
    """`1e999` would become infinite, which nobody has sent."""
    value = float(digits)
    if isinf(value):
        raise ValueError(f"{digits[:20]} is larger than any number")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def accepted(request: Request, *kinds: str) -> str:
    """The first of `kinds` that the request accepts, the best liked of them; the first where it says nothing.

    Raises:
        Refused: it accepts none of them.
    """
    header = request.headers.get("accept", "").strip()
    if not header:
        return kinds[0]
    liked = sorted(((_quality(header, kind), -place) for place, kind in enumerate(kinds)), reverse=True)
    quality, place = liked[0]
    if quality <= 0:
        raise Refused(406, "not-acceptable", f"there is {', '.join(kinds)}")
    return kinds[-place]


def _quality(header: str, kind: str) -> float:
    """How much a type is liked: the most precise range that it is in counts (RFC 9110, section 12.5.1)."""
    found: dict[int, float] = {}
    for part in header.split(","):
        name, *parameters = (one.strip() for one in part.lower().split(";"))
        precision = {kind: 3, f"{kind.split('/')[0]}/*": 2, "*/*": 1}.get(name)
        if precision is not None:
            quality = next((one[2:] for one in parameters if one.startswith("q=")), "1")
            found[precision] = float(quality) if re.fullmatch(r"[01](\.\d{0,3})?", quality) else 0.0
    return found[max(found)] if found else 0.0


def answer(
    request: Request,
    value: Any,
    status: int = 200,
    *,
    headers: Mapping[str, str] | None = None,
    etag: str | None = None,
) -> Response:
    """`value` as JSON, or as CBOR where that is liked better. With `etag`, 304 if the client has it.

    Raises:
        Refused: it accepts neither.
    """
    kind = accepted(request, JSON, CBOR)
    more = {"Vary": "Accept, Authorization, Cloche-Tenant", **(headers or {})}
    if etag is not None:
        more["ETag"] = f'"{etag}-{"c" if kind == CBOR else "j"}"'
        more["Cache-Control"] = "private, no-cache"
        if is_known(request, more["ETag"]):
            return Response(None, 304, more)
    data = to_cbor(value) if kind == CBOR else to_json(value).encode("utf-8", "replace")
    return Response(data, status, more, kind)


def is_known(request: Request, etag: str) -> bool:
    """Whether the client says that it has this already (RFC 9110, section 13.1.2)."""
    known = request.headers.get("if-none-match")
    return known is not None and (
        known.strip() == "*" or etag in [one.strip().removeprefix("W/") for one in known.split(",")]
    )


def wait_s(request: Request) -> float:
    """How long the client would wait for an end, by `Prefer: wait=SECONDS` (RFC 7240); at most `PREFER_S_MAX`."""
    found = _WAIT.search(request.headers.get("prefer", ""))
    return min(int(found[1]), PREFER_S_MAX) if found else 0


def part_of(request: Request, data: bytes, kind: str, etag: str) -> Response:
    """Bytes, or the range of them that is asked for (RFC 9110, section 14): one range, else the whole."""
    headers = {"ETag": f'"{etag}"', "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache", "Vary": "Accept"}
    if is_known(request, headers["ETag"]):
        return Response(None, 304, headers)
    asked = _RANGE.fullmatch(request.headers.get("range", "").strip())
    condition = request.headers.get("if-range")
    if asked is None or asked[0] == "bytes=-" or (condition is not None and condition.strip() != headers["ETag"]):
        return Response(data, 200, headers, kind)
    first, last = _bounds(asked[1], asked[2], len(data))
    if first >= len(data) or last < first:
        return Response(None, 416, {**headers, "Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
    return Response(data[first : last + 1], 206, headers, kind)


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:  # the last so many
        return max(size - int(last[:18]), 0) if int(last[:18]) else size, size - 1
    return int(first[:18]), min(int(last[:18]), size - 1) if last else size - 1
