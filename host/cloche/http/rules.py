"""What the document says of bodies beyond the type of each member: which go together, and how texts are written.

The operations hold it all; here it is for those who read the document before they send anything.
"""

from __future__ import annotations

from typing import Any

from pydantic import WithJsonSchema

from cloche.http.scalars import SINCE_1970

NULL: dict[str, Any] = {"type": "null"}
GIVEN: dict[str, Any] = {"not": NULL}
EMPTY: dict[str, Any] = {"anyOf": [NULL, {"type": "array", "maxItems": 0}]}


def given(*names: str, without: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """These are given, and the others are not, or are null; `more` is what else holds then."""
    members = {**dict.fromkeys(names, GIVEN), **dict.fromkeys(without, NULL), **more}
    return {"required": list(names), "properties": members}


def one_of(*names: str, **with_: tuple[str, ...]) -> dict[str, Any]:
    """One of these is given, together with those which go `with_` it."""
    others = {name: tuple(one for one in names if one != name) for name in names}
    return {"oneOf": [given(name, *with_.get(name, ()), without=others[name]) for name in names]}


def _is(member: str, *values: str) -> dict[str, Any]:
    return {"required": [member], "properties": {member: {"enum": list(values)}}}


def takes_nothing(rule: dict[str, Any]) -> bool:
    """Whether an object without members is one of those that the rule allows."""
    others = [any(map(takes_nothing, rule[name])) for name in ("anyOf", "oneOf") if name in rule]
    return not rule.get("required") and all(others) and all(map(takes_nothing, rule.get("allOf", ())))


PAYLOAD_OR_ERROR: dict[str, Any] = {
    "anyOf": [given(without=("payload",)), given(without=("error",)), given("heartbeat", heartbeat={"const": True})]
}
RETRIED: dict[str, Any] = {"anyOf": [given(without=("onto",)), given(without=("from_step",))]}
_SOME_FILES = {"files": {"anyOf": [NULL, {"type": "object", "minProperties": 1}]}}
BASE64 = WithJsonSchema(
    {
        "type": "string",
        "contentEncoding": "base64",
        "pattern": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
    }
)
DEPLOYED: dict[str, Any] = {
    "allOf": [{"properties": _SOME_FILES}, one_of("graph", "source", "files", source=("language",))]
}
SCHEDULED = one_of("cron", "every", "at")
BULK: dict[str, Any] = {
    "allOf": [
        {"anyOf": [{"properties": {"action": {"not": {"const": action}}}}, given(needed)]}
        for action, needed in (("event", "event"), ("upgrade", "onto"))
    ]
}

_UNITS = "ms|s|sec|secs|seconds?|m|min|mins|minutes?|h|hr|hrs|hours?|d|days?|w|weeks?"
DURATION = f"^[0-9]{{1,6}}(?:[.][0-9]{{1,3}})? ?(?:{_UNITS})(?:,? [0-9]{{1,6}} ?(?:{_UNITS})){{0,4}}$"
_LEAP = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29"
_DAY = "(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31"
LOCAL_TIME = (
    f"^(?=19[7-9]|[2-9])(?:[0-9]{{4}}-(?:{_DAY})|{_LEAP})(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?)?$"
)
_INSTANT: list[Any] = [
    {"type": "string", "format": "date-time", "pattern": SINCE_1970},
    {"type": "string", "pattern": LOCAL_TIME},
]
# Those of years ago are over at once; those of the far future are no dates of JavaScript.
SECONDS_MIN, SECONDS_MAX = -1e9, 8e12
_SECONDS = {"type": "number", "minimum": SECONDS_MIN, "maximum": SECONDS_MAX}
DEADLINE: list[Any] = [_SECONDS, {"type": "string", "pattern": DURATION}, *_INSTANT, NULL]
AT: list[Any] = [*_INSTANT, NULL]


def _names(*names: str) -> str:
    return "|".join((*names, *map(str.lower, names)))


def _of_cron(number: str, *more: str) -> str:
    """A field: a list of numbers, spans and steps."""
    one = "|".join((rf"(?:[*]|{number}(?:-{number})?)(?:/[1-9][0-9]?)?", *more))
    return f"(?:{one})(?:,(?:{one})){{0,9}}"


_MONTHS = _names("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = _names("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MINUTE, _HOUR, _DAY_OF_MONTH = "[0-5]?[0-9]", "(?:[01]?[0-9]|2[0-3])", "(?:0?[1-9]|[12][0-9]|3[01])"
_MONTH, _WEEKDAY = f"(?:0?[1-9]|1[0-2]|{_MONTHS})", f"(?:[0-7]|{_WEEKDAYS})"
CRON = (
    f"^(?:{_of_cron(_MINUTE)} )?{_of_cron(_MINUTE)} {_of_cron(_HOUR)} {_of_cron(_DAY_OF_MONTH, 'LW?')} {_of_cron(_MONTH)} "
    f"{_of_cron(_WEEKDAY, '[0-7]L', f'{_WEEKDAY}#[1-5]')}$"
)
ZONE = "^[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*$"
LABEL = r"^(?!session of )[\p{L}\p{M}\p{N}\p{P}\p{S} ]*$"

WEBHOOK_NAME = "^[a-z0-9][a-z0-9_-]{0,62}$"
_PORT = "(?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
_LOOPBACK = r"http://(?:localhost|127[.]0[.]0[.]1|\[::1\])"
URL = rf"^(?:https://[A-Za-z0-9][A-Za-z0-9._-]*|https://\[(?:[0-9a-f]{{1,4}}:){{7}}[0-9a-f]{{1,4}}\]|{_LOOPBACK}){_PORT}(?:[/?][!\"$-~]*)?$"
_FOUR = "[A-Za-z0-9+/]{4}"
_KEY = f"^(?:whsec_)?(?:(?:{_FOUR}){{6,48}}|(?:{_FOUR}){{5,47}}(?:[A-Za-z0-9+/]{{2}}==|[A-Za-z0-9+/]{{3}}=))$"
_OWN_SECRET = {"secret": {"anyOf": [NULL, {"type": "string", "pattern": _KEY}]}}
_SENT = {"url": {"type": "string", "pattern": URL}, **_OWN_SECRET}
_RECEIVED = {"url": {"const": ""}, "stops": EMPTY, "steps": EMPTY}
_SOME = {"type": "array", "minItems": 1}
WEBHOOK: dict[str, Any] = {
    "oneOf": [
        {
            "required": ["url"],
            "properties": {"form": {"const": "out"}, **_SENT, "stops": {"anyOf": [NULL, _SOME]}, "steps": EMPTY},
        },
        {
            "required": ["form", "url", "steps"],
            "properties": {"form": {"const": "steps"}, **_SENT, "stops": EMPTY, "steps": _SOME},
        },
        {"required": ["form"], "properties": {"form": {"const": "standard"}, **_RECEIVED, **_OWN_SECRET}},
        {
            "required": ["form"],
            "properties": {
                "form": {"enum": ["github", "stripe"]},
                **_RECEIVED,
                "secret": {"anyOf": [NULL, {"type": "string", "minLength": 8}]},
            },
        },
    ]
}
