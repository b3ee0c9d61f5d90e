"""What a picture of a graph is made of: pieces, rectangles that know where the line through them enters and leaves.

Pieces are stacked, set side by side or put into a frame, from the inside out, so nothing can overlap. All sizes are whole
numbers of pixels that follow from the texts alone: a monospaced font is asked for, and wide characters count twice.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

_GAP: Final = 28  # between pieces that follow each other, where the arrow is
_APART: Final = 24  # between arms
_BEND: Final = 18  # height of the part in which lines spread to the arms, and come together again
_PAD: Final = 16  # between a frame and what is in it
_HEAD: Final = 46  # the two lines of text at the top of a box or frame
_RETURN: Final = 30  # beside a loop, for the way back
_RADIUS: Final = 8
_TITLE_CELL, _SMALL_CELL = 8, 7  # pixels of one character at 13 and 11 pixels of font size; a bit more than it takes
_BOX_WIDTH_MIN: Final = 128
_COLOURED: Final = ("success", "failed", "running", "suspended", "waiting")


# ── what is drawn on ────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(slots=True)
class Canvas:
    """Elements of SVG in the order in which they are painted. Coordinates are pixels from the upper left corner."""

    elements: list[str] = field(default_factory=list)

    def rect(self, kind: str, x: int, y: int, width: int, height: int, radius: int) -> None:
        """A rectangle of the class `kind`, with rounded corners."""
        size = f'x="{x}" y="{y}" width="{width}" height="{height}"'
        self.elements.append(f'<rect class="{kind}" {size} rx="{radius}"/>')

    def text(self, kind: str, x: int, y: int, text: str, anchor: str = "") -> None:
        """One line of text, which is escaped already; `y` is its base line."""
        given = f' class="{kind}"' if kind else ""
        given += f' text-anchor="{anchor}"' if anchor else ""
        self.elements.append(f'<text{given} x="{x}" y="{y}" xml:space="preserve">{text}</text>')

    def line(self, path: str) -> None:
        """A line along a path in the syntax of SVG."""
        self.elements.append(f'<path class="line" d="{path}"/>')

    def arrow(self, x: int, top: int, bottom: int) -> None:
        """Straight down, with its tip at `bottom`."""
        self.line(f"M{x} {top}V{bottom - 6}")
        self.tip(x, bottom)

    def tip(self, x: int, y: int) -> None:
        """The head of an arrow that points down to (x, y)."""
        self.elements.append(f'<path class="tip" d="M{x - 4} {y - 7}L{x} {y}L{x + 4} {y - 7}Z"/>')


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle with its contents. The line through it enters at the top and leaves at the bottom, at `axis`."""

    width: int
    height: int
    axis: int
    paint: Callable[[Canvas, int, int], None]  # with its upper left corner at x, y


# ── texts ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def cells_of(text: str) -> int:
    """How many columns of a monospaced font the text takes."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def cut_to(text: str, cells_max: int) -> str:
    """The text, or as much of its beginning as fits with an ellipsis."""
    if cells_of(text) <= cells_max:
        return text
    kept, used = "", 1
    for one in text:
        used += cells_of(one)
        if used > cells_max:
            break
        kept += one
    return kept.rstrip() + "…"


@dataclass(frozen=True, slots=True)
class Label:
    """Two lines of text, and the words of the status if there is one."""

    title: str
    caption: str
    tooltip: str
    status: str | None
    reserved: int  # cells kept for a status, so that the picture does not move while a run goes on

    @property
    def width(self) -> int:
        """Of the longer line, in pixels."""
        small = cells_of(self.caption) + self.reserved
        return max(cells_of(self.title) * _TITLE_CELL, small * _SMALL_CELL)

    @property
    def kind(self) -> str:
        """What the class of a box gets added for its status; empty where that has no colour."""
        return "" if self.status not in _COLOURED else f" {self.status}"

    def paint(self, canvas: Canvas, x: int, y: int) -> None:
        """Both lines, with the upper left corner of the box at x, y."""
        canvas.text("t", x, y + 20, escape(self.title) + self.tooltip)
        caption = escape(self.caption)
        if self.status is not None:
            colour = self.status if self.status in _COLOURED else "other"
            word = f'<tspan class="s-{colour}">● {escape(cut_to(self.status, 12))}</tspan>'
            caption = f"{word} · {caption}" if caption else word
        canvas.text("", x, y + 37, caption)


# ── pieces ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def terminal(word: str) -> Piece:
    """Where the flow begins or ends: a word in a pill."""
    width, height = cells_of(word) * _SMALL_CELL + 28, 24

    def paint(canvas: Canvas, x: int, y: int) -> None:
        canvas.rect("end", x, y, width, height, height // 2)
        canvas.text("", x + width // 2, y + 16, word, "middle")

    return Piece(width, height, width // 2, paint)


def box(label: Label, shape: str) -> Piece:
    """One thing that is done: a `step`, a `map` (with bars at its sides) or a `wait` (with round ends)."""
    side = {"step": 14, "map": 18, "wait": 24}[shape]
    width = max(_BOX_WIDTH_MIN, label.width + 2 * side)
    width += width % 2
    radius = {"step": _RADIUS, "map": 2, "wait": _HEAD // 2}[shape]

    def paint(canvas: Canvas, x: int, y: int) -> None:
        canvas.rect(f"box{label.kind}", x, y, width, _HEAD, radius)
        if shape == "map":
            for bar in (x + 5, x + width - 5):
                canvas.elements.append(f'<path class="bar" d="M{bar} {y + 1}V{y + _HEAD - 1}"/>')
        label.paint(canvas, x + side, y)

    return Piece(width, _HEAD, width // 2, paint)


def stack(pieces: Sequence[Piece]) -> Piece:
    """One after the other, on one axis."""
    axis = max(piece.axis for piece in pieces)
    width = axis + max(piece.width - piece.axis for piece in pieces)
    height = sum(piece.height for piece in pieces) + _GAP * (len(pieces) - 1)

    def paint(canvas: Canvas, x: int, y: int) -> None:
        for index, piece in enumerate(pieces):
            if index:
                canvas.arrow(x + axis, y, y + _GAP)
                y += _GAP
            piece.paint(canvas, x + axis - piece.axis, y)
            y += piece.height

    return Piece(width, height, axis, paint)


@dataclass(frozen=True, slots=True)
class Column:
    """One arm: its condition in a chip on the line, and what runs."""

    lines: tuple[str, ...]
    tooltip: str
    piece: Piece

    @property
    def chip_width(self) -> int:
        """In pixels; 0 without a condition."""
        return max((cells_of(line) for line in self.lines), default=0) * _SMALL_CELL + 16 if self.lines else 0

    @property
    def chip_height(self) -> int:
        """In pixels; 0 without a condition."""
        return 15 * len(self.lines) + 8 if self.lines else 0

    @property
    def left(self) -> int:
        """From the left edge to the axis."""
        return max(self.piece.axis, (self.chip_width + 1) // 2)

    @property
    def width(self) -> int:
        """Of the chip and what runs, whichever reaches further on each side."""
        return self.left + max(self.piece.width - self.piece.axis, (self.chip_width + 1) // 2)


def fork(columns: Sequence[Column], *, passes: bool) -> Piece:
    """Arms side by side. `passes`: a line goes by them all, for when none of them runs."""
    chips = max(column.chip_height for column in columns)
    lead = _BEND + (chips + 8 if chips else 0) + 14  # from the top to the arms
    tall = max(column.piece.height for column in columns)
    height = lead + tall + _BEND + 6
    starts, at = [], 0
    for column in columns:
        starts.append(at)
        at += column.width + _APART
    axes = [start + column.left for start, column in zip(starts, columns, strict=True)]
    width = at - _APART
    if passes:
        axes.append(width + _APART // 2)
        width += _APART
    axis = (axes[0] + axes[-1]) // 2

    def paint(canvas: Canvas, x: int, y: int) -> None:
        foot = y + height
        if passes:
            canvas.line(_bent(x + axis, y, x + axes[-1], foot - _BEND, _BEND) + _back(x + axes[-1], x + axis, foot))
        for start, middle, column in zip(starts, axes, columns, strict=False):
            canvas.line(_bent(x + axis, y, x + middle, y + lead - 6, _BEND))
            canvas.tip(x + middle, y + lead)
            _paint_chip(canvas, column, x + middle, y + _BEND + 6)
            column.piece.paint(canvas, x + start + column.left - column.piece.axis, y + lead)
            end = y + lead + column.piece.height
            canvas.line(f"M{x + middle} {end}V{foot - _BEND}" + _back(x + middle, x + axis, foot))

    return Piece(width, height, axis, paint)


def _bent(x: int, y: int, to: int, bottom: int, bend: int) -> str:
    """Down from (x, y), across to `to`, and down to `bottom`: two rounded corners."""
    if x == to:
        return f"M{x} {y}V{bottom}"
    radius = min(_RADIUS, abs(to - x) // 2)
    step = radius if to > x else -radius
    level = y + bend // 2
    return f"M{x} {y}V{level - radius}Q{x} {level} {x + step} {level}H{to - step}Q{to} {level} {to} {level + radius}V{bottom}"


def _back(x: int, to: int, bottom: int) -> str:
    """From (x, bottom - bend), where a path is, across to `to` and down to `bottom`."""
    if x == to:
        return f"V{bottom}"
    radius = min(_RADIUS, abs(to - x) // 2)
    step = radius if to > x else -radius
    level = bottom - _BEND // 2
    return f"V{level - radius}Q{x} {level} {x + step} {level}H{to - step}Q{to} {level} {to} {level + radius}V{bottom}"


def _paint_chip(canvas: Canvas, column: Column, middle: int, y: int) -> None:
    if not column.lines:
        return
    canvas.rect("chip", middle - column.chip_width // 2, y, column.chip_width, column.chip_height, 6)
    for index, line in enumerate(column.lines):
        tooltip = column.tooltip if index == 0 else ""
        canvas.text("", middle, y + 15 + 15 * index, escape(line) + tooltip, "middle")


def looped(body: Piece) -> Piece:
    """A body with the way back from its end to its beginning, at the right."""
    height = body.height + 2 * _GAP
    width = body.width + _RETURN
    right = width - 8

    def paint(canvas: Canvas, x: int, y: int) -> None:
        axis, top, end = x + body.axis, y + _GAP, y + _GAP + body.height
        canvas.arrow(axis, y, top)
        body.paint(canvas, x, top)
        canvas.line(f"M{axis} {end}V{y + height}")
        turn, again, edge = end + _GAP // 2, y + 8, x + right
        canvas.line(
            f"M{axis} {turn}H{edge - _RADIUS}Q{edge} {turn} {edge} {turn - _RADIUS}"
            f"V{again + _RADIUS}Q{edge} {again} {edge - _RADIUS} {again}H{axis + 7}"
        )
        canvas.elements.append(
            f'<path class="tip" d="M{axis + 8} {again - 4}L{axis + 1} {again}L{axis + 8} {again + 4}Z"/>'
        )

    return Piece(width, height, body.axis, paint)


def between(body: Piece) -> Piece:
    """A body with a line before and after it."""

    def paint(canvas: Canvas, x: int, y: int) -> None:
        canvas.arrow(x + body.axis, y, y + 22)
        body.paint(canvas, x, y + 22)
        canvas.line(f"M{x + body.axis} {y + 22 + body.height}v16")

    return Piece(body.width, body.height + 38, body.axis, paint)


def frame(label: Label, body: Piece, *, several: bool = False) -> Piece:
    """Something with a name around a body. `several`: drawn as a pile."""
    inner = max(body.width, label.width)
    before = (inner - body.width) // 2
    pile = 5 if several else 0
    width, height = inner + 2 * _PAD + pile, _HEAD + 2 + body.height + pile
    axis = _PAD + before + body.axis

    def paint(canvas: Canvas, x: int, y: int) -> None:
        right, foot = x + width - pile, y + height - pile
        canvas.rect(f"frame{label.kind}", x, y, right - x, foot - y, _RADIUS + 2)
        if several:
            corner = f"h{pile}V{foot + pile - _RADIUS}q0 {_RADIUS} {-_RADIUS} {_RADIUS}H{x + 2 * pile}v{-pile}"
            canvas.elements.append(f'<path class="under" d="M{right} {y + 2 * pile}{corner}"/>')
        label.paint(canvas, x + _PAD, y)
        canvas.elements.append(f'<circle class="tip" cx="{x + axis}" cy="{y + _HEAD + 2}" r="3"/>')
        body.paint(canvas, x + _PAD + before, y + _HEAD + 2)
        if several:
            canvas.line(f"M{x + axis} {foot}v{pile}")

    return Piece(width, height, axis, paint)
