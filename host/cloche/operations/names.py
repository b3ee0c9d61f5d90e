"""What names and ids are, as patterns that JSON Schema knows: for documents that others read before they send anything.

Beyond them a name is at most 200 bytes of UTF-8, in Unicode's form NFC, which no pattern says.
"""

from __future__ import annotations

import re
from unicodedata import normalize

from cloche.history.ids import DEFAULT_TENANT, NAME_SIZE_MAX, NEVER_IN_NAMES, NOT_IN_NAMES, new_run_key

_ASTRAL = re.compile(r"\\U([0-9a-f]{8})")
_SURROGATES = r"\ud800-\udfff"  # of which JSON has none by itself
_SPACES = r" \xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
# What stands between a run and one that it has begun: no run that is asked for has it in its id.
NOT_IN_RUN_IDS = " › "


def _inside(unseen: re.Pattern[str]) -> str:
    """Code points that no name has, as they stand between brackets in a pattern of ECMA 262."""
    inside = unseen.pattern[1:-1].replace(_SURROGATES, "")
    return _ASTRAL.sub(lambda found: chr(int(found[1], 16)), inside)


def _pattern(unseen: re.Pattern[str], also: str = "", spaces: str = " ") -> str:
    """Of a name without the characters `also`: 1 to 200 characters, none of the `spaces` at its ends, and none unseen."""
    inner = f"[^{_inside(unseen)}{also}"
    return f"{inner}{spaces}](?:{inner}]{{0,{NAME_SIZE_MAX - 2}}}{inner}{spaces}])?"


NAME = f"^{_pattern(NOT_IN_NAMES)}$"
TAG_NAME = f"^{_pattern(NOT_IN_NAMES, '=')}$"
TAG = f"^{_pattern(NOT_IN_NAMES, '=')}={_pattern(NOT_IN_NAMES)}$"
# Of what may have been named when less was refused.
KNOWN = f"^{_pattern(NEVER_IN_NAMES, spaces=_SPACES)}$"
# On the wire headers are bytes: what is beyond ASCII is written in UTF-8.
KEY = r"^[!-~\xa1-\xac\xae-\xff](?:[ -~\xa1-\xac\xae-\xff]{0,198}[!-~\xa1-\xac\xae-\xff])?$"
HEADER = r"^[!-~\x80-\xff](?:[ -~\x80-\xff]{0,198}[!-~\x80-\xff])?$"


def check_new_run_id(text: str) -> None:
    """
    Raises:
        UsageError: no run that begins can have this id.
    """
    new_run_key(normalize("NFC", text), DEFAULT_TENANT)
