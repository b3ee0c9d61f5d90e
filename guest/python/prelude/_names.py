"""What may be the name of an event: the host's definition (`cloche.history.ids.is_name`), for code that can catch the error."""

from __future__ import annotations

import re
from typing import Final
from unicodedata import is_normalized

NAME_SIZE_MAX: Final = 200  # characters
ID_BYTES_MAX: Final = 200  # of the id of a run
TAGS_MAX: Final = 64  # of one command
# As `cloche.history.ids` has it; a test compares the two.
NOT_IN_NAMES: Final = re.compile(
    r"[\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000"
    r"\u3164\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U00013430-\U0001345f"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_RULE: Final = (
    "is not 1 to 200 characters of text in Unicode's form NFC, without control characters, marks that do not show and spaces "
    "around it"
)


def check_event(name: object, what: str = "name of an event") -> None:
    """
    Raises:
        TypeError: it is no text.
        ValueError: it is no name, so that no event of it can come.
    """
    if not isinstance(name, str):
        raise TypeError(f"the {what} is text, not {type(name).__name__}")
    if not _is_name(name):
        raise ValueError(f"the event name {name[:NAME_SIZE_MAX]!r} {_RULE}: no event of that name can come")


def check_child(id: object) -> None:
    """
    Raises:
        TypeError: it is no text.
        ValueError: no run can have it as its id.
    """
    if not isinstance(id, str):
        raise TypeError(f"the id of a child is text, not {type(id).__name__}: write str(…)")
    if not _is_name(id) or len(id.encode()) > ID_BYTES_MAX or " › " in id:
        raise ValueError(
            f"the id of a child {id[:NAME_SIZE_MAX]!r} {_RULE}, of at most {ID_BYTES_MAX} bytes and without ' › ' in it"
        )


def check_tag(name: str, value: object) -> None:
    """
    Raises:
        TypeError: the value is no text, number, bool or None.
        ValueError: the run could not be found by it.
    """
    if value is not None and not isinstance(value, (str, int, float, bool)):
        raise TypeError(f"the tag {name!r} is a text, a number, a bool or None, not {type(value).__name__}")
    for text in (name, value):
        if isinstance(text, str) and not _is_name(text):
            raise ValueError(f"the tag {name[:NAME_SIZE_MAX]!r}: {text[:NAME_SIZE_MAX]!r} {_RULE}")
    if isinstance(value, int) and abs(value) >= 1 << 63:
        raise ValueError(f"the tag {name!r} is a number of more than 64 bits: give it as a text")


def _is_name(text: str) -> bool:
    shows = 0 < len(text) <= NAME_SIZE_MAX and text == text.strip() and not NOT_IN_NAMES.search(text)
    return shows and is_normalized("NFC", text)
