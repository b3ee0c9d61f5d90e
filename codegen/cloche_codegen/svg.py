"""A graph as a picture: SVG from a layout of our own (`svg_pieces`), for `cloche graph` and for notebooks.

The same graph gives the same bytes. Texts are data: they are cut, shown with controls spelled out, and escaped. What is cut is
whole in the tooltip.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Final, assert_never

from cloche_codegen import graph as g
from cloche_codegen.mermaid import condition_text, policy_label
from cloche_codegen.names import shown
from cloche_codegen.native_calls import calls_of
from cloche_codegen.svg_pieces import (
    Canvas,
    Column,
    Label,
    Piece,
    between,
    box,
    cells_of,
    cut_to,
    fork,
    frame,
    looped,
    stack,
    terminal,
)

_MARGIN: Final = 24
_TITLE_CELLS_MAX, _SMALL_CELLS_MAX, _LABEL_CELLS_MAX = 34, 52, 30
_DEPTH_MAX, _BOXES_MAX = 8, 3000  # nested workflows are drawn wherever they are used: 2^n boxes for n workflows

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
    flow = drawing.flow(graph, "", 0) if graph.native is None else [drawing.native(graph.native)]
    whole = stack([terminal("input"), *flow, terminal("result")])
    canvas = Canvas()
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


class _Drawing:
    def __init__(self, graph: g.Graph, status: Mapping[str, str] | None) -> None:
        self.graph = graph
        self.status = status
        self.boxes = 0

    def flow(self, definition: g.Definition, at: str, depth: int) -> list[Piece]:
        return [self._node(node, at, depth) for node in definition.nodes]

    def native(self, native: g.NativeText) -> Piece:
        """Its function, and in it the calls that its source makes, in their order."""
        calls = [line.text for line in calls_of(native) if line.is_call]
        boxes = [box(self._called(text), "step") for text in calls[:_BOXES_MAX]]
        label = Label(
            cut_to(in_one_line(native.name), _TITLE_CELLS_MAX), "its calls, as the source has them", "", None, 0
        )
        return frame(label, between(stack(boxes or [terminal("…")])))

    def _called(self, text: str) -> Label:
        kind, _, rest = text.partition(" ")
        rest = in_one_line(rest)
        title = cut_to(rest or kind, _TITLE_CELLS_MAX)
        known = self.status is not None and kind == "step"
        status = self.status.get(rest) if self.status is not None and kind == "step" else None
        return Label(title, kind, _tooltip([rest], cut=title != rest), status, 15 if known else 0)

    def _node(self, node: g.Node, at: str, depth: int) -> Piece:
        label = self._label
        match node:
            case g.StepNode() | g.WorkflowNode():
                return self._body(node, at, depth)
            case g.MapNode():
                return box(label(at, node, "map"), "map")
            case g.SleepNode():
                return box(label(at, node, f"sleep {_duration(node.ms)}"), "wait")
            case g.SleepUntilNode():
                until = node.date.isoformat() if node.date else "computed"
                return box(label(at, node, f"sleep until {until}"), "wait")
            case g.WaitForEventNode():
                timed = node.timeout_ms is not None or node.timeout_seconds is not None
                at_most = f", at most {_duration(node.timeout_ms)}" if timed else ""
                return box(label(at, node, f"wait for event {in_one_line(node.event)}{at_most}"), "wait")
            case g.ParallelNode():
                at_most = f", {node.limit} at once" if node.limit else ""
                settled = ", failures are results" if node.settle else ""
                caption = f"parallel{at_most}{settled}{policy_label(node)}"
                columns = [Column((), "", self._body(arm, at, depth)) for arm in node.arms]
                return frame(label(at, node, caption), fork(columns, passes=False))
            case g.BranchNode():
                columns = [self._guarded(arm, at, depth) for arm in node.arms]
                return frame(label(at, node, "branch: every arm that holds"), fork(columns, passes=True))
            case g.ChooseNode():
                columns = [self._guarded(arm, at, depth) for arm in node.arms]
                if node.otherwise is not None:
                    columns.append(Column(("otherwise",), "", self._body(node.otherwise, at, depth)))
                body = fork(columns, passes=node.otherwise is None)
                return frame(label(at, node, "choose: the first arm that holds"), body)
            case g.LoopNode():
                word = "until" if node.kind == "dountil" else "while"
                caption = f"repeat {word} {condition_text(node.condition)}"
                return frame(label(at, node, caption), looped(self._body(node.body, at, depth)))
            case g.ForeachNode():
                collected = ", failures are results" if node.on_error == "collect" else ""
                caption = f"each item, {_at_once(node.concurrency)}{collected}{policy_label(node)}"
                return frame(label(at, node, caption), between(self._body(node.body, at, depth)), several=True)
            case _:
                assert_never(node)

    def _guarded(self, arm: g.Arm, at: str, depth: int) -> Column:
        said = in_one_line(condition_text(arm.condition))
        return Column(_wrapped(said), _tooltip([said], cut=True), self._body(arm.body, at, depth))

    def _body(self, body: g.StepNode | g.WorkflowNode, at: str, depth: int) -> Piece:
        self.boxes += 1
        target = body.step if isinstance(body, g.StepNode) else body.workflow
        caption = body.type if target == body.id else f"{body.type} {in_one_line(target)}"
        if isinstance(body, g.StepNode):
            return box(self._label(at, body, caption), "step")
        if depth >= _DEPTH_MAX or self.boxes > _BOXES_MAX:
            return frame(self._label(at, body, f"{caption}, not opened here"), terminal("…"))
        flow = self.flow(self.graph.workflows[body.workflow], f"{at}{body.id}/", depth + 1)
        return frame(self._label(at, body, caption), between(stack(flow)))

    def _label(self, at: str, node: g.Node, caption: str) -> Label:
        id, caption = in_one_line(node.id), in_one_line(caption)
        title, short = cut_to(id, _TITLE_CELLS_MAX), cut_to(caption, _SMALL_CELLS_MAX)
        told = [id, caption, *([in_one_line(node.description)] if node.description else [])]
        cut = node.description is not None or title != id or short != caption
        status = None if self.status is None else self.status.get(at + node.id)
        return Label(title, short, _tooltip(told, cut=cut), status, 0 if self.status is None else 15)


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
    if cells_of(text) <= _LABEL_CELLS_MAX:
        return (text,)
    first = cut_to(text, _LABEL_CELLS_MAX + 1)[:-1]
    at = first.rfind(" ")
    if at > _LABEL_CELLS_MAX // 2:
        first = first[:at]
    return (first, cut_to(text[len(first) :].strip(), _LABEL_CELLS_MAX))


def in_one_line(text: str) -> str:
    """A text with line ends as spaces, and what cannot be seen spelled out."""
    return shown(" ".join(text.split()))


def _escaped(text: str) -> str:
    return escape(in_one_line(text))
