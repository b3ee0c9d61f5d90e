"""A graph as a picture: SVG from a layout of our own, for `cloche graph` and for notebooks.

Every node becomes a piece, a rectangle that knows where its line enters and leaves; pieces are stacked, set side by
side or put into a frame, from the inside out, so nothing can overlap. All sizes are whole numbers that follow from the
texts alone: a monospaced font is asked for, and wide characters count twice. The same graph gives the same bytes.
Texts are data: they are cut, shown with controls spelled out, and escaped. What is cut is whole in the tooltip.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final, assert_never

from cloche_codegen import graph as g
from cloche_codegen.mermaid import condition_text, policy_label
from cloche_codegen.names import shown

_MARGIN: Final = 24
_GAP: Final = 28  # between pieces that follow each other, where the arrow is
_APART: Final = 24  # between arms
_BEND: Final = 18  # height of the part in which lines spread to the arms, and come together again
_PAD: Final = 16  # between a frame and what is in it
_HEAD: Final = 46  # the two lines of text at the top of a box or frame
_RETURN: Final = 30  # beside a loop, for the way back
_RADIUS: Final = 8
_TITLE_CELL, _SMALL_CELL = 8, 7  # pixels of one character at 13 and 11 pixels of font size; a bit more than it takes
_TITLE_CELLS_MAX, _SMALL_CELLS_MAX, _LABEL_CELLS_MAX = 34, 52, 30
_BOX_WIDTH_MIN: Final = 128
_DEPTH_MAX, _BOXES_MAX = 8, 3000  # nested workflows are drawn wherever they are used: 2^n boxes for n workflows
_COLOURED: Final = ("success", "failed", "running", "suspended", "waiting")

_STYLE: Final = """\
.cloche-g text{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:11px;fill:#566176}
.cloche-g .t{font-size:13px;font-weight:600;fill:#1c2432}
.cloche-g .bg{fill:#fbfcfe}
.cloche-g .box{fill:#fff;stroke:#8c97aa;stroke-width:1.25}
.cloche-g .frame{fill:#5b6f9c;fill-opacity:.06;stroke:#a9b3c4;stroke-width:1.25}
.cloche-g .under{fill:none;stroke:#a9b3c4;stroke-width:1.25}
.cloche-g .bar{stroke:#8c97aa;stroke-width:1.25}
.cloche-g .chip{fill:#fbfcfe;stroke:#c9d0dc}
.cloche-g .line{fill:none;stroke:#8c97aa;stroke-width:1.5}
.cloche-g .tip{fill:#8c97aa}
.cloche-g .end{fill:#e7ebf2;stroke:none}
.cloche-g .success{fill:#e6f5ec;fill-opacity:1;stroke:#1a7f4b;stroke-width:2}
.cloche-g .failed{fill:#fdeaea;fill-opacity:1;stroke:#c62f2f;stroke-width:2}
.cloche-g .running{fill:#e7effd;fill-opacity:1;stroke:#2463eb;stroke-width:2}
.cloche-g .suspended{fill:#fdf2da;fill-opacity:1;stroke:#a8690b;stroke-width:2}
.cloche-g .waiting{fill:#f1eafd;fill-opacity:1;stroke:#7440d0;stroke-width:2}
.cloche-g .s-success{fill:#1a7f4b}.cloche-g .s-failed{fill:#c62f2f}.cloche-g .s-running{fill:#2463eb}
.cloche-g .s-suspended{fill:#a8690b}.cloche-g .s-waiting{fill:#7440d0}.cloche-g .s-other{fill:#566176}
@media (prefers-color-scheme:dark){
.cloche-g text{fill:#a3afc2}
.cloche-g .t{fill:#e8edf5}
.cloche-g .bg{fill:#151a22}
.cloche-g .box{fill:#1f2733;stroke:#6d7a90}
.cloche-g .frame{fill:#9fb4e0;stroke:#4a566a}
.cloche-g .under{stroke:#4a566a}
.cloche-g .bar{stroke:#6d7a90}
.cloche-g .chip{fill:#151a22;stroke:#3a4557}
.cloche-g .line{stroke:#6d7a90}
.cloche-g .tip{fill:#6d7a90}
.cloche-g .end{fill:#2a3342}
.cloche-g .success{fill:#12311f;stroke:#4cc38a}
.cloche-g .failed{fill:#3b1a1c;stroke:#f0716f}
.cloche-g .running{fill:#16284d;stroke:#6ea0ff}
.cloche-g .suspended{fill:#3a2b0d;stroke:#e3aa45}
.cloche-g .waiting{fill:#2a1e48;stroke:#b08cf5}
.cloche-g .s-success{fill:#4cc38a}.cloche-g .s-failed{fill:#f0716f}.cloche-g .s-running{fill:#6ea0ff}
.cloche-g .s-suspended{fill:#e3aa45}.cloche-g .s-waiting{fill:#b08cf5}.cloche-g .s-other{fill:#a3afc2}
}"""


def svg(graph: g.Graph, status: Mapping[str, str] | None = None) -> str:
    """The picture, one element a line, ended by `\\n`.

    Args:
        status: how far a run has come, by id of a node, arm or body; inside a nested workflow by path (`W/inc`).
            `success`, `failed`, `running`, `suspended` and `waiting` have colours; other words are shown plainly.
    """
    drawing = _Drawing(graph, status)
    flow = drawing.flow(graph, "", 0)
    whole = _stack([_terminal("input"), *flow, _terminal("result")])
    canvas = _Canvas()
    whole.paint(canvas, _MARGIN, _MARGIN)
    width, height = whole.width + 2 * _MARGIN, whole.height + 2 * _MARGIN
    name = _escaped(graph.id)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cloche-g" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="workflow {name}">',
        f"<title>workflow {name}</title>",
        f"<style>\n{_STYLE}\n</style>",
        f'<rect class="bg" width="{width}" height="{height}" rx="10"/>',
        *canvas.elements,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


# ── what is drawn on ────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(slots=True)
class _Canvas:
    elements: list[str] = field(default_factory=list)

    def rect(self, kind: str, x: int, y: int, width: int, height: int, radius: int) -> None:
        size = f'x="{x}" y="{y}" width="{width}" height="{height}"'
        self.elements.append(f'<rect class="{kind}" {size} rx="{radius}"/>')

    def text(self, kind: str, x: int, y: int, text: str, anchor: str = "") -> None:
        given = f' class="{kind}"' if kind else ""
        given += f' text-anchor="{anchor}"' if anchor else ""
        self.elements.append(f'<text{given} x="{x}" y="{y}" xml:space="preserve">{text}</text>')

    def line(self, path: str) -> None:
        self.elements.append(f'<path class="line" d="{path}"/>')

    def arrow(self, x: int, top: int, bottom: int) -> None:
        """Straight down, with its tip at `bottom`."""
        self.line(f"M{x} {top}V{bottom - 6}")
        self.tip(x, bottom)

    def tip(self, x: int, y: int) -> None:
        self.elements.append(f'<path class="tip" d="M{x - 4} {y - 7}L{x} {y}L{x + 4} {y - 7}Z"/>')


@dataclass(frozen=True, slots=True)
class _Piece:
    """A rectangle with its contents. The line through it enters at the top and leaves at the bottom, at `axis`."""

    width: int
    height: int
    axis: int
    paint: Callable[[_Canvas, int, int], None]  # with its upper left corner at x, y


# ── texts ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def _shown(text: str) -> str:
    return shown(" ".join(text.split()))


def _escaped(text: str) -> str:
    return escape(_shown(text))


def _cells(text: str) -> int:
    """How many columns of a monospaced font the text takes."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def _cut(text: str, cells_max: int) -> str:
    """The text, or as much of its beginning as fits with an ellipsis."""
    if _cells(text) <= cells_max:
        return text
    kept, used = "", 1
    for one in text:
        used += _cells(one)
        if used > cells_max:
            break
        kept += one
    return kept.rstrip() + "…"


@dataclass(frozen=True, slots=True)
class _Label:
    """Two lines of text, and the words of the status if there is one."""

    title: str
    caption: str
    tooltip: str
    status: str | None
    reserved: int  # cells kept for a status, so that the picture does not move while a run goes on

    @property
    def width(self) -> int:
        small = _cells(self.caption) + self.reserved
        return max(_cells(self.title) * _TITLE_CELL, small * _SMALL_CELL)

    @property
    def kind(self) -> str:
        return "" if self.status not in _COLOURED else f" {self.status}"

    def paint(self, canvas: _Canvas, x: int, y: int) -> None:
        canvas.text("t", x, y + 20, escape(self.title) + self.tooltip)
        caption = escape(self.caption)
        if self.status is not None:
            colour = self.status if self.status in _COLOURED else "other"
            word = f'<tspan class="s-{colour}">● {escape(_cut(self.status, 12))}</tspan>'
            caption = f"{word} · {caption}" if caption else word
        canvas.text("", x, y + 37, caption)


# ── pieces ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _terminal(word: str) -> _Piece:
    width, height = _cells(word) * _SMALL_CELL + 28, 24

    def paint(canvas: _Canvas, x: int, y: int) -> None:
        canvas.rect("end", x, y, width, height, height // 2)
        canvas.text("", x + width // 2, y + 16, word, "middle")

    return _Piece(width, height, width // 2, paint)


def _box(label: _Label, shape: str) -> _Piece:
    """One thing that is done: a `step`, a `map` (with bars at its sides) or a `wait` (with round ends)."""
    side = {"step": 14, "map": 18, "wait": 24}[shape]
    width = max(_BOX_WIDTH_MIN, label.width + 2 * side)
    width += width % 2
    radius = {"step": _RADIUS, "map": 2, "wait": _HEAD // 2}[shape]

    def paint(canvas: _Canvas, x: int, y: int) -> None:
        canvas.rect(f"box{label.kind}", x, y, width, _HEAD, radius)
        if shape == "map":
            for bar in (x + 5, x + width - 5):
                canvas.elements.append(f'<path class="bar" d="M{bar} {y + 1}V{y + _HEAD - 1}"/>')
        label.paint(canvas, x + side, y)

    return _Piece(width, _HEAD, width // 2, paint)


def _stack(pieces: Sequence[_Piece]) -> _Piece:
    """One after the other, on one axis."""
    axis = max(piece.axis for piece in pieces)
    width = axis + max(piece.width - piece.axis for piece in pieces)
    height = sum(piece.height for piece in pieces) + _GAP * (len(pieces) - 1)

    def paint(canvas: _Canvas, x: int, y: int) -> None:
        for index, piece in enumerate(pieces):
            if index:
                canvas.arrow(x + axis, y, y + _GAP)
                y += _GAP
            piece.paint(canvas, x + axis - piece.axis, y)
            y += piece.height

    return _Piece(width, height, axis, paint)


@dataclass(frozen=True, slots=True)
class _Column:
    """One arm: its condition in a chip on the line, and what runs."""

    lines: tuple[str, ...]
    tooltip: str
    piece: _Piece

    @property
    def chip_width(self) -> int:
        return max((_cells(line) for line in self.lines), default=0) * _SMALL_CELL + 16 if self.lines else 0

    @property
    def chip_height(self) -> int:
        return 15 * len(self.lines) + 8 if self.lines else 0

    @property
    def left(self) -> int:
        return max(self.piece.axis, (self.chip_width + 1) // 2)

    @property
    def width(self) -> int:
        return self.left + max(self.piece.width - self.piece.axis, (self.chip_width + 1) // 2)


def _fork(columns: Sequence[_Column], *, passes: bool) -> _Piece:
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

    def paint(canvas: _Canvas, x: int, y: int) -> None:
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

    return _Piece(width, height, axis, paint)


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


def _paint_chip(canvas: _Canvas, column: _Column, middle: int, y: int) -> None:
    if not column.lines:
        return
    canvas.rect("chip", middle - column.chip_width // 2, y, column.chip_width, column.chip_height, 6)
    for index, line in enumerate(column.lines):
        tooltip = column.tooltip if index == 0 else ""
        canvas.text("", middle, y + 15 + 15 * index, escape(line) + tooltip, "middle")


def _looped(body: _Piece) -> _Piece:
    """A body with the way back from its end to its beginning, at the right."""
    height = body.height + 2 * _GAP
    width = body.width + _RETURN
    right = width - 8

    def paint(canvas: _Canvas, x: int, y: int) -> None:
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

    return _Piece(width, height, body.axis, paint)


def _between(body: _Piece) -> _Piece:
    """A body with a line before and after it."""

    def paint(canvas: _Canvas, x: int, y: int) -> None:
        canvas.arrow(x + body.axis, y, y + 22)
        body.paint(canvas, x, y + 22)
        canvas.line(f"M{x + body.axis} {y + 22 + body.height}v16")

    return _Piece(body.width, body.height + 38, body.axis, paint)


def _frame(label: _Label, body: _Piece, *, several: bool = False) -> _Piece:
    """Something with a name around a body. `several`: drawn as a pile."""
    inner = max(body.width, label.width)
    before = (inner - body.width) // 2
    pile = 5 if several else 0
    width, height = inner + 2 * _PAD + pile, _HEAD + 2 + body.height + pile
    axis = _PAD + before + body.axis

    def paint(canvas: _Canvas, x: int, y: int) -> None:
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

    return _Piece(width, height, axis, paint)


# ── from the graph ──────────────────────────────────────────────────────────────────────────────────────────────────
class _Drawing:
    def __init__(self, graph: g.Graph, status: Mapping[str, str] | None) -> None:
        self.graph = graph
        self.status = status
        self.boxes = 0

    def flow(self, definition: g.Definition, at: str, depth: int) -> list[_Piece]:
        return [self._node(node, at, depth) for node in definition.nodes]

    def _node(self, node: g.Node, at: str, depth: int) -> _Piece:
        label = self._label
        match node:
            case g.StepNode() | g.WorkflowNode():
                return self._body(node, at, depth)
            case g.MapNode():
                return _box(label(at, node, "map"), "map")
            case g.SleepNode():
                return _box(label(at, node, f"sleep {_duration(node.ms)}"), "wait")
            case g.SleepUntilNode():
                until = node.date.isoformat() if node.date else "computed"
                return _box(label(at, node, f"sleep until {until}"), "wait")
            case g.WaitForEventNode():
                timed = node.timeout_ms is not None or node.timeout_seconds is not None
                at_most = f", at most {_duration(node.timeout_ms)}" if timed else ""
                return _box(label(at, node, f"wait for event {_shown(node.event)}{at_most}"), "wait")
            case g.ParallelNode():
                at_most = f", {node.limit} at once" if node.limit else ""
                settled = ", failures are results" if node.settle else ""
                caption = f"parallel{at_most}{settled}{policy_label(node)}"
                columns = [_Column((), "", self._body(arm, at, depth)) for arm in node.arms]
                return _frame(label(at, node, caption), _fork(columns, passes=False))
            case g.BranchNode():
                columns = [self._guarded(arm, at, depth) for arm in node.arms]
                return _frame(label(at, node, "branch: every arm that holds"), _fork(columns, passes=True))
            case g.ChooseNode():
                columns = [self._guarded(arm, at, depth) for arm in node.arms]
                if node.otherwise is not None:
                    columns.append(_Column(("otherwise",), "", self._body(node.otherwise, at, depth)))
                body = _fork(columns, passes=node.otherwise is None)
                return _frame(label(at, node, "choose: the first arm that holds"), body)
            case g.LoopNode():
                word = "until" if node.kind == "dountil" else "while"
                caption = f"repeat {word} {condition_text(node.condition)}"
                return _frame(label(at, node, caption), _looped(self._body(node.body, at, depth)))
            case g.ForeachNode():
                collected = ", failures are results" if node.on_error == "collect" else ""
                caption = f"each item, {_at_once(node.concurrency)}{collected}{policy_label(node)}"
                return _frame(label(at, node, caption), _between(self._body(node.body, at, depth)), several=True)
            case _:
                assert_never(node)

    def _guarded(self, arm: g.Arm, at: str, depth: int) -> _Column:
        said = _shown(condition_text(arm.condition))
        return _Column(_wrapped(said), _tooltip([said], cut=True), self._body(arm.body, at, depth))

    def _body(self, body: g.StepNode | g.WorkflowNode, at: str, depth: int) -> _Piece:
        self.boxes += 1
        target = body.step if isinstance(body, g.StepNode) else body.workflow
        caption = body.type if target == body.id else f"{body.type} {_shown(target)}"
        if isinstance(body, g.StepNode):
            return _box(self._label(at, body, caption), "step")
        if depth >= _DEPTH_MAX or self.boxes > _BOXES_MAX:
            return _frame(self._label(at, body, f"{caption}, not opened here"), _terminal("…"))
        flow = self.flow(self.graph.workflows[body.workflow], f"{at}{body.id}/", depth + 1)
        return _frame(self._label(at, body, caption), _between(_stack(flow)))

    def _label(self, at: str, node: g.Node, caption: str) -> _Label:
        id, caption = _shown(node.id), _shown(caption)
        title, short = _cut(id, _TITLE_CELLS_MAX), _cut(caption, _SMALL_CELLS_MAX)
        told = [id, caption, *([_shown(node.description)] if node.description else [])]
        cut = node.description is not None or title != id or short != caption
        status = None if self.status is None else self.status.get(at + node.id)
        return _Label(title, short, _tooltip(told, cut=cut), status, 0 if self.status is None else 15)


def _duration(ms: int | None) -> str:
    """In the largest unit that gives a whole number."""
    if ms is None:
        return "as computed"
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if ms and ms % size == 0:
            return f"{ms // size} {unit}"
    return f"{ms / 1000:g} s"


def _at_once(concurrency: int | g.Value) -> str:
    if not isinstance(concurrency, int):
        return "as many at once as computed"
    return (
        "one at a time" if concurrency == 1 else "all at once" if concurrency >= 2**53 - 1 else f"{concurrency} at once"
    )


def _tooltip(lines: Iterable[str], *, cut: bool) -> str:
    return f"<title>{escape(chr(10).join(lines))}</title>" if cut else ""


def _wrapped(text: str) -> tuple[str, ...]:
    """At most two lines, broken at a space where there is one."""
    if _cells(text) <= _LABEL_CELLS_MAX:
        return (text,)
    first = _cut(text, _LABEL_CELLS_MAX + 1)[:-1]
    at = first.rfind(" ")
    if at > _LABEL_CELLS_MAX // 2:
        first = first[:at]
    return (first, _cut(text[len(first) :].strip(), _LABEL_CELLS_MAX))
