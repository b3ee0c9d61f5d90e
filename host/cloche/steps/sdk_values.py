"""What JavaScript knows and CBOR does not, as it lies in messages: maps whose first key is "~" (guest/ABI.md).

As JSON for a Node process, which has fewer words still, and as what Python code expects.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

_SAFE_MAX: Final = (1 << 53) - 1
Of: TypeAlias = Callable[[Any], Any]
Form: TypeAlias = Callable[[dict[str, Any], Of], Any]
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
    """A plain value as a step of Python gets it.

    A Map is a dict (a list of pairs where a key is no text), a Set a list, `undefined` None, an error a dict of its name and
    message, a typed array bytes. A handle (a stream, a signal, a reference to a step, a workflow or a class) stays as it is, so
    that the step can give it back; so does what is no form at all, whatever its first key is.
    """
    return _Reading(_FORMS).of(value)


def ended(value: Any) -> Any:
    """As `natural`, of a value that goes to nobody's code: in a result, in a log that is shown. There handles are their ids and
    names, and what the web knows is its parts."""
    return _Reading(_ALL_FORMS).of(value)


class _Reading:
    """Reads values by a table of forms; a form that lacks what it should have is a plain object."""

    def __init__(self, forms: Mapping[str, Form]) -> None:
        self._forms = forms

    def of(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.of(one) for one in value]
        if not isinstance(value, dict):
            return value
        kind = value.get("~")
        form = self._forms.get(kind) if isinstance(kind, str) else None
        if form is not None:
            try:
                return form(value, self.of)
            except (LookupError, TypeError, ValueError, AttributeError):
                pass
        return {name: self.of(one) for name, one in value.items()}


def _of_map(form: dict[str, Any], of: Of) -> Any:
    entries = [(of(key), of(one)) for key, one in form["entries"]]
    return dict(entries) if all(isinstance(key, str) for key, _ in entries) else [list(entry) for entry in entries]


def _of_list(form: dict[str, Any], of: Of) -> Any:
    return [of(one) for one in form["items"]]


def _fields(form: dict[str, Any], of: Of) -> Any:
    return {name: of(one) for name, one in form["value"].items()}


def _part(name: str) -> Form:
    return lambda form, of: of(form[name])


def _parts(*names: str) -> Form:
    return lambda form, of: {name: of(form[name]) for name in names if name in form}


_FORMS: Final[dict[str, Form]] = {
    "undefined": lambda form, of: None,
    "date": lambda form, of: None,
    "map": _of_map,
    "set": _of_list,
    "regexp": _part("source"),
    "url": _part("href"),
    "params": _part("text"),
    "buffer": _part("bytes"),
    "view": _part("bytes"),
    "error": _part("failure"),
    "object": _fields,
    "instance": _part("data"),
}
_ALL_FORMS: Final[dict[str, Form]] = {
    **_FORMS,
    "step": _part("id"),
    "workflow": _part("id"),
    "class": _part("id"),
    "stream": _part("name"),
    "signal": _parts("aborted", "reason"),
    "controller": _parts("aborted", "reason"),
    "headers": _part("entries"),
    "form": _part("entries"),
    "request": _parts("method", "url", "headers", "body"),
    "response": _parts("status", "statusText", "url", "headers", "body"),
    "blob": _part("bytes"),
    "file": _parts("name", "type", "lastModified", "bytes"),
}
