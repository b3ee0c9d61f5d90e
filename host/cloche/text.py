"""Text for people: what guests, tenants, steps and stores say, fit for a terminal, a log or a message."""

from __future__ import annotations

import re
from shlex import quote

ID_SEPARATOR = "\x1f"  # between the id of a run and what it has begun, as it is stored: see `history.ids.child_id`
# Of an error: whoever brings what it quotes must not fill logs, answers and terminals with it.
MESSAGE_CHARS_MAX = 10_000
QUOTED_CHARS_MAX = 200
# Of the kinds of such ids, children go without a letter; their authors' ids without a sign, where that is not like a number.
_DERIVED = re.compile(rf"{ID_SEPARATOR}(?:c?([rsntf]?\d+)|=(?!s?=|[rsntf]?[1-9]\d*(?:{ID_SEPARATOR}|\Z))|(?=s?=))")

_PLAIN_WORD = re.compile(r"[\w@%+=:,./-]+", re.ASCII)  # as `shlex.quote` has them
_NOT_IN_QUOTES = re.compile(r'["$`\\!]')  # what a shell reads in double quotes too


def shown(text: str, *, lines: bool = False) -> str:
    """`text` with what is no visible character spelled out (`\\x1b`). Tabs stay, and with `lines` line ends.

    An id that the system has given reads `order-17 › 3`.
    """
    if text.isprintable():
        return text
    if ID_SEPARATOR in text:
        text = _DERIVED.sub(r" › \1", text)
    kept = "\t\n" if lines else "\t"
    return "".join(c if c.isprintable() or c in kept else f"\\x{ord(c):02x}" for c in text)


def brief(text: str, most: int = MESSAGE_CHARS_MAX) -> str:
    """`text` with its middle left out, if it has more than so many characters: what to do stands at the end of a message."""
    if len(text) <= most:
        return text
    head, tail = most * 3 // 4 - 45, most // 5  # what is said of the rest takes up to 45
    return f"{text[:head]} … {len(text) - head - tail:,} characters are left out … {text[-tail:]}"


def quoted(value: object) -> str:
    """What a caller gave, as Python writes it, in few characters; of a number without end only its type."""
    try:
        return brief(repr(value), QUOTED_CHARS_MAX)
    except (ValueError, RecursionError):  # an integer of thousands of digits; what is within itself too often
        return f"one of type {type(value).__name__} that is too large to be written down"


def for_shell(word: str) -> str:
    """`word` as one argument of a command that is pasted into a shell. In double quotes, where that will do: commands stand in
    single ones in a sentence."""
    if _PLAIN_WORD.fullmatch(word):
        return word
    return quote(word) if _NOT_IN_QUOTES.search(word) else f'"{word}"'


def sentence_of(text: str) -> str:
    """`text` with a full stop, where it ends with nothing of that kind."""
    ended = text.rstrip()
    return ended if ended.endswith((".", "!", "?", "…", ":")) else f"{ended}."


def duration(ms: int) -> str:
    """As somebody says it: 12 ms, 3.4 s, 5 min 20 s, 3 h 5 min, 2 d 4 h."""
    if ms < 1_000:
        return f"{ms} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    seconds = ms // 1000
    for whole, part, names in ((86_400, 3_600, "d h"), (3_600, 60, "h min"), (60, 1, "min s")):
        if seconds >= whole:
            first, second = names.split()
            return f"{seconds // whole} {first} {seconds % whole // part} {second}"
    raise AssertionError("60 s and more are minutes")
