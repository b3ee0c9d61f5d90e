"""A run as a picture for notebooks: how it stands, its timeline as SVG, its last records. No script is in it, and every text of
a guest, tenant or step is escaped: it can be sent on as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from cloche.history.fold import CallState, RunFold
from cloche.history.heads import Head
from cloche.operations.forms import instant
from cloche.text import shown

_CALLS_MAX, _RECORDS_MAX, _TEXT_MAX = 40, 10, 60
_LABEL, _WIDTH, _ROW, _FOLD = 190, 560, 20, 56  # pixels; _WIDTH is that of the time
_OPEN: Final = {"queued", "running", "away", "retry", "suspended", "waiting", "child"}
_COLOURS: Final[Mapping[str, str]] = {
    "queue": "#b9c3bd", "work": "#2f7f5d", "failed": "#c03a32", "lost": "#c03a32", "retry": "#7447c4",
    "suspended": "#a86700", "waiting": "#7447c4", "child": "#7447c4",
}  # fmt: skip
_STATUS: Final[Mapping[str, str]] = {
    "success": "#2f7f5d", "failed": "#c03a32", "blocked": "#c03a32", "running": "#2a63d4", "suspended": "#a86700",
    "waiting": "#7447c4",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunPicture:
    """What a notebook shows of a run. `str()` is the same in a line of text."""

    run_id: str
    status: str
    html: str

    def _repr_html_(self) -> str:
        return self.html

    def __str__(self) -> str:
        return f"run {shown(self.run_id)}: {self.status}"


def picture_of(run_id: str, workflow: str, status: str, heads: Sequence[tuple[Head, str]], now: int) -> RunPicture:
    """`heads` with their texts, from the first record on. `status`: that of the run, which may be blocked. `now`, ms since
    1970, is where what is open ends in the picture."""
    fold = RunFold()
    for head, _ in heads:
        fold.take(head)
    colour = _STATUS.get(status, "#5a6760")
    head_line = (
        f'<b style="color:{colour}">● {escape(status)}</b> <b><code>{_text(run_id)}</code></b> '
        f'<span style="opacity:.7">{_text(workflow)} · {len(heads):,} records</span>'
    )
    parts = [head_line, f"<div>{_sentence(fold, status)}</div>", _timeline(fold, now), _records(heads)]
    html = f'<div style="font:13px system-ui,sans-serif;line-height:1.5">{"".join(parts)}</div>'
    return RunPicture(run_id, status, html)


def _sentence(fold: RunFold, status: str) -> str:
    if fold.error is not None:
        return f"Failed: <b>{_text(fold.error['name'])}</b> {_text(fold.error['message'], 300)}"
    if fold.phase in ("success", "canceled", "continued"):
        return f"It has ended: {escape(fold.phase)}."
    for standing, words in (
        ("running", "At work"), ("queued", "Queued"), ("away", "With a remote worker"), ("retry", "Tried again soon"),
        ("suspended", "Waits for data"), ("child", "Waits for a child run"), ("waiting", "Waits for a time or an event"),
    ):  # fmt: skip
        paths = [one.path for one in fold.calls.values() if one.status == standing]
        if paths:
            more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
            return f"{words}: {', '.join(f'<code>{_text(path)}</code>' for path in paths[:5])}{more}."
    return f"It is {escape(status)}."


class _Scale:
    """Time as pixels: to scale while something is under way, and what was only waited for folded to a band."""

    def __init__(self, calls: Sequence[CallState], start: int, end: int) -> None:
        busy = sorted((from_, to if to is not None else end) for one in calls for from_, to in _busy(one))
        gaps, at = list[tuple[int, int]](), start
        for from_, to in [*busy, (end, end)]:
            if from_ > at:
                gaps.append((at, from_))
            at = max(at, to)
        active = max(1, end - start - sum(to - from_ for from_, to in gaps))
        self.folds = sorted(sorted(gaps, key=lambda gap: gap[0] - gap[1])[:5])
        self.folds = [(from_, to) for from_, to in self.folds if to - from_ > max(250, 0.1 * active)]
        self._start = start
        scaled = max(1, end - start - sum(to - from_ for from_, to in self.folds))
        self._per_ms = (_WIDTH - _FOLD * len(self.folds)) / scaled

    def x(self, time: int) -> float:
        passed, pixels = time - self._start, 0.0
        for from_, to in self.folds:
            if time <= from_:
                break
            passed -= min(time, to) - from_
            pixels += _FOLD * min(1.0, (time - from_) / (to - from_))
        return round(_LABEL + max(0, passed) * self._per_ms + pixels, 1)


def _busy(call: CallState) -> list[tuple[int, int | None]]:
    return [(from_, to) for what, from_, to in call.segments if what in ("queue", "work", "failed", "lost")]


def _timeline(fold: RunFold, now: int) -> str:
    calls = list(fold.calls.values())
    drawn = calls[:_CALLS_MAX]
    if not drawn:
        return ""
    start = drawn[0].called_at
    end = max(fold.time, now if any(one.status in _OPEN for one in calls) else fold.time, start + 1)
    scale = _Scale(drawn, start, end)
    height = _ROW * len(drawn) + 22
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LABEL + _WIDTH + 70}" height="{height}" role="img" '
        'aria-label="timeline" style="font:11px ui-monospace,monospace;max-width:100%">'
    ]
    for from_, to in scale.folds:
        x = scale.x(from_)
        lines.append(f'<rect x="{x}" y="0" width="{_FOLD}" height="{height}" fill="#a86700" fill-opacity=".08"/>')
        lines.append(f'<text x="{x + _FOLD / 2}" y="12" text-anchor="middle" fill="#a86700">{_long(to - from_)}</text>')
    for row, call in enumerate(drawn):
        lines += _lane(call, 20 + row * _ROW, scale, end)
    lines.append("</svg>")
    more = f"<div>and {len(calls) - len(drawn):,} more calls</div>" if len(calls) > len(drawn) else ""
    return "".join(lines) + more


def _lane(call: CallState, y: int, scale: _Scale, end: int) -> list[str]:
    title = f"<title>{_text(call.path, 200)} · {escape(call.status)}</title>"
    lines = [f'<text x="0" y="{y + 12}" fill="currentColor">{title}{_text(call.path, 28)}</text>']
    for what, from_, to in call.segments:
        x, until = scale.x(from_), scale.x(end if to is None else to)
        thin = what in ("queue", "retry")
        top, high = (y + 7, 2) if thin else (y + 3, 9)
        lines.append(
            f'<rect x="{x}" y="{top}" width="{max(1.5, round(until - x, 1))}" height="{high}" rx="2" '
            f'fill="{_COLOURS[what]}"><title>{what} {_long((end if to is None else to) - from_)}</title></rect>'
        )
    if call.ended_at is not None:
        x = scale.x(call.ended_at) + 5
        took = _long(call.ended_at - call.called_at)
        lines.append(f'<text x="{x}" y="{y + 12}" fill="currentColor" fill-opacity=".6">{took}</text>')
    return lines


def _records(heads: Sequence[tuple[Head, str]]) -> str:
    rows = []
    paths = {call: path for (_, _, _, call, path, _), _ in heads if call is not None and path is not None}
    for (seq, kind, time, call, path, _), text in heads[-_RECORDS_MAX:]:
        where = path or (paths.get(call, "") if call is not None else "")
        cells = (str(seq), instant(time)[11:23], kind.replace("_", " "), where, text)
        rows.append("<tr>" + "".join(f'<td style="text-align:left">{_text(one)}</td>' for one in cells) + "</tr>")
    style = "font-size:12px"
    return f'<table style="{style}"><tbody>{"".join(rows)}</tbody></table>' if rows else ""


def _text(text: str, most: int = _TEXT_MAX) -> str:
    return escape(shown(text if len(text) <= most else text[: most - 1] + "…"))


def _long(ms: int) -> str:
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if ms >= size:
            return f"{ms / size:.1f} {unit}"
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.2f} s"
