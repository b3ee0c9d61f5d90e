"""What the emitters share: lines with the node they belong to, names out of ids, and comments that stay comments.

The same graph gives the same bytes: names come from ids, order from the graph, nothing from hashing or time.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from cloche_codegen.names import shown

WIDTH: Final = 100  # a list of fields longer than this is written one per line


@dataclass(frozen=True, slots=True)
class Source:
    """Generated code.

    Attributes:
        code: the module, lines ended by `\\n`.
        map: line (from 1) → node id, `workflow/node` for nodes of nested workflows; lines of no node are absent.
        digest: BLAKE2b-256 of the code, in hexadecimal.
    """

    code: str
    map: Mapping[int, str]
    digest: str


def source_of(code: str, lines: Mapping[int, str]) -> Source:
    """Code with its map (line from 1 → id of the node) and its digest, BLAKE2b-256 in hex."""
    return Source(code, lines, blake2b(code.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest())


@dataclass(slots=True)
class Lines:
    """Text under construction, each piece with the node it belongs to. A piece may have several lines."""

    pieces: list[tuple[str, str | None]] = field(default_factory=list)

    def add(self, text: str = "", node: str | None = None) -> None:
        """One piece of text, of one line or more; `node` is the id of the node that it is made from."""
        self.pieces.append((text, node))

    def extend(self, other: Lines) -> None:
        """All pieces of `other`, after those that are there."""
        self.pieces.extend(other.pieces)

    def indented(self, by: str) -> Lines:
        """The same further to the right. Pieces are of one line."""
        return Lines([(by + text if text else text, node) for text, node in self.pieces])

    def finished(self) -> tuple[str, dict[int, str]]:
        """The whole text, and for its lines (from 1) the id of the node, where there is one."""
        lines: dict[int, str] = {}
        at = 1
        for text, node in self.pieces:
            count = text.count("\n") + 1
            if node is not None:
                lines.update(dict.fromkeys(range(at, at + count), node))
            at += count
        return "\n".join(text for text, _ in self.pieces) + "\n", lines


class Names:
    """Identifiers out of ids: readable, ASCII, each given once. Same ids in the same order, same names."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._last: dict[str, int] = {}

    def of(self, prefix: str, id: str) -> str:
        """A name for the id of a node, not used before: what is no ASCII letter or digit becomes `_`."""
        name = stem = prefix + re.sub(r"[^A-Za-z0-9]+", "_", id).strip("_")
        while name in self._taken:
            self._last[stem] = self._last.get(stem, 1) + 1
            name = f"{stem}_{self._last[stem]}"
        self._taken.add(name)
        return name


def wrapped(text: str) -> list[str]:
    """A long line broken at spaces, what follows indented."""
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def comment(text: str) -> str:
    """A text as it may stand in a comment: on one line, with what cannot be seen spelled out."""
    return shown(" ".join(text.split()))


def described(description: str | None) -> str:
    """A description to follow a title in a comment, `: …`, at most 160 characters; empty if there is none."""
    text = " ".join((description or "").split())
    return ": " + shown(text if len(text) <= 160 else text[:159] + "…") if text else ""
