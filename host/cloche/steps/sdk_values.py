"""What JavaScript knows and CBOR does not, as it lies in messages: maps whose first key is "~" (guest/ABI.md).

As JSON for a Node process, which has fewer words still, and as what Python code expects.
"""

from __future__ import annotations

import base64
import math
from datetime import UTC, datetime
from typing import Any, Final

_SAFE_MAX: Final = (1 << 53) - 1
_NAMES: Final = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}


def to_json(value: Any) -> Any:
    """A plain value as JSON has it; what JSON has no word for as an object with the key "~"."""
    kind = type(value)
    if value is None or kind is str or kind is bool:
        return value
    if kind is int:
        return value if -_SAFE_MAX <= value <= _SAFE_MAX else {"~": "bigint", "digits": str(value)}
    if kind is float:
        return value if math.isfinite(value) else {"~": "number", "text": _NAMES[str(value)]}
    if kind is list:
        return [to_json(one) for one in value]
    if kind is dict:
        return {name: to_json(one) for name, one in value.items()}
    if isinstance(value, datetime):
        return {"~": "date", "iso": value.astimezone(UTC).isoformat().replace("+00:00", "Z")}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"~": "bytes", "base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {name: to_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(one) for one in value]
    return value


def from_json(value: Any) -> Any:
    """What `to_json` made, or a Node process said, as a plain value."""
    if isinstance(value, list):
        return [from_json(one) for one in value]
    if not isinstance(value, dict):
        return value
    match value.get("~"):
        case "date" if "iso" in value:
            return datetime.fromisoformat(value["iso"].replace("Z", "+00:00"))
        case "bytes":
            return base64.b64decode(value["base64"])
        case "bigint":
            return int(value["digits"])
        case "number":
            return float(value["text"].replace("Infinity", "inf").replace("NaN", "nan"))
    return {name: from_json(one) for name, one in value.items()}


def natural(value: Any) -> Any:
    """A plain value as Python code expects it.

    A Map is a dict (a list of pairs where a key is no text), a Set a list, `undefined` None, an error a dict of its name and
    message, a typed array bytes. What is none of these stays as it is.
    """
    if isinstance(value, list):
        return [natural(one) for one in value]
    if not isinstance(value, dict):
        return value
    form = _FORMS.get(value["~"]) if isinstance(value.get("~"), str) else None
    return {name: natural(one) for name, one in value.items()} if form is None else form(value)


def _of_map(form: dict[str, Any]) -> Any:
    entries = [(natural(key), natural(one)) for key, one in form["entries"]]
    return dict(entries) if all(isinstance(key, str) for key, _ in entries) else [list(entry) for entry in entries]


_FORMS: Final[dict[str, Any]] = {
    "undefined": lambda form: None,
    "date": lambda form: None,
    "map": _of_map,
    "set": lambda form: natural(form["items"]),
    "regexp": lambda form: form["source"],
    "url": lambda form: form["href"],
    "params": lambda form: form["text"],
    "buffer": lambda form: form["bytes"],
    "view": lambda form: form["bytes"],
    "error": lambda form: natural(form["failure"]),
    "object": lambda form: {name: natural(one) for name, one in form["value"].items()},
    "instance": lambda form: natural(form["data"]),
}
