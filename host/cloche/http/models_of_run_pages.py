"""What the page about one run is told."""

from __future__ import annotations

from typing import Any

from cloche.http.models import Shown
from cloche.http.models_of_pages import LineOfNode


class HeadsOut(Shown):
    """`heads` are `[seq, kind, time, call, path, facts]`, and a short text where that was asked for. `path` stands where a call
    begins, or a block is entered or left. `history`: which one of its run, from 0. `records`: how many there are now.
    """

    heads: list[list[Any]]
    next: int | None
    history: int
    records: int


class ShapeArmOut(Shown):
    """What runs one after the other; `text` is when."""

    text: str
    items: list[ShapeItemOut]


class ShapeItemOut(Shown):
    """One thing that the code does. `place`: the path of its calls, without turns. `line` is that of native source, from 1;
    `node` its node in maps from lines to nodes."""

    kind: str
    id: str
    place: str
    text: str
    line: int | None
    node: str
    arms: list[ShapeArmOut]


class BuilderOut(Shown):
    """The builder's calls that make the graph, and the node of each line."""

    code: str
    map: list[LineOfNode]


class ShapeOut(Shown):
    """`is_read` is false where the source says nothing: then there are only the calls as they happen."""

    language: str
    is_native: bool
    is_read: bool
    items: list[ShapeItemOut]
    builder: BuilderOut | None


ShapeArmOut.model_rebuild()
