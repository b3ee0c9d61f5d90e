"""Feeding a history to a fresh guest, and comparing what it asks for with what it asked for then.

`script` turns records into event bytes and expected output bytes without decoding a message. They are compared as bytes;
only a difference is decoded, into a `DivergenceReport`: data first, text for people from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import Any

from cloche.errors import MalformedOutput
from cloche.history.ids import Path, Seq
from cloche.history.messages import COMMANDS, END_OF_EVENT, EVENTS, Replaying, TakePatch
from cloche.history.notes import RunStopped
from cloche.history.output import command_name, field_names, split_output
from cloche.history.reading import message_of
from cloche.history.records import Kind, Record
from cloche.history.values import decode, encode_plain

_END = bytes([END_OF_EVENT])
_VALUE_CHARS_MAX = 80
VALUE_BYTES_MAX = 1_000  # of a value in a report: a history may carry megabytes
DIFFERENCES_MAX = 50
ABSENT = "(absent)"


@dataclass(slots=True)
class Script:
    """`events[i]` led to the output `expected[i]`, whose commands are the records `commands[i]`, (seq, bytes) each.

    `faulted` says that the last event has no output because the guest was stopped while it ran.
    """

    events: list[bytes] = field(default_factory=list)
    event_seqs: list[Seq] = field(default_factory=list)
    expected: list[bytes] = field(default_factory=list)
    commands: list[list[tuple[Seq, bytes]]] = field(default_factory=list)
    faulted: bool = False


def script(records: Sequence[Record], *, upgrading: bool = False) -> Script:
    """What was delivered and what came back, in order. Nothing after a cancellation was delivered.

    The code of a run that was upgraded is newer than the history before that. Before everything else it is given the patches
    that this history has; the record of the last upgrade says that it has caught up, and earlier upgrades are left out.
    `upgrading`: the code is newer than all of the history.
    """
    out = Script()
    caught_up = _last_upgrade(records) if not upgrading else Seq(records[-1].seq + 1) if records else None
    if caught_up is not None:
        out.events.append(Replaying(_patches(records, caught_up)).pack())
        out.event_seqs.append(Seq(0))
        out.commands.append([])
    for record in records:
        kind = record.kind
        if kind is Kind.RUN_UPGRADED and record.seq != caught_up:
            continue
        if kind in EVENTS:
            _finish(out)
            out.events.append(record.body)
            out.event_seqs.append(record.seq)
            out.commands.append([])
        elif kind in COMMANDS:
            out.commands[-1].append((record.seq, record.body))
        elif kind is Kind.CANCEL_REQUESTED:
            break
        elif kind is Kind.RUN_STOPPED:
            stopped = message_of(record)
            out.faulted = isinstance(stopped, RunStopped) and stopped.fault is not None
    _finish(out)
    return out


def _patches(records: Sequence[Record], until: Seq) -> list[str]:
    """The patches that the history before record `until` has taken."""
    taken = (message_of(record) for record in records if record.kind is Kind.PATCHED and record.seq < until)
    return [command.id for command in taken if isinstance(command, TakePatch)]


def _last_upgrade(records: Sequence[Record]) -> Seq | None:
    return next((record.seq for record in reversed(records) if record.kind is Kind.RUN_UPGRADED), None)


def _finish(out: Script) -> None:
    if out.commands:
        out.expected.append(b"".join([body for _, body in out.commands[-1]]) + _END)


@dataclass(frozen=True, slots=True)
class DivergenceReport:
    """Where replay first asked for something else. `expected` or `actual` is None where one side asked for nothing.

    `differences` names what differs: kind, step, path, or the place in the arguments (`arguments[0].amount`), with both values
    in short, ABSENT where one side has nothing. `seq` is the record expected there, or that of the event if the history has no
    command left. `line` and `node` are where the code that was replayed on asks for it; `expected_line` and `expected_node`
    where the code of the run did.
    """

    run_id: str
    seq: int
    event_seq: int
    expected: dict[str, Any] | None
    actual: dict[str, Any] | None
    differences: list[dict[str, Any]]
    line: int | None = None
    node: str | None = None
    expected_line: int | None = None
    expected_node: str | None = None

    def to_data(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __str__(self) -> str:
        then, now = _phrases(self)
        lines = [f"line {self.line} of the generated source"] if self.line else []
        lines += [f"line {self.expected_line} of the run's own"] if self.expected_line not in (None, self.line) else []
        where = f" ({', '.join(lines)})" if lines else ""
        return (
            f"run {self.run_id}, record {self.seq}: the history has {then} here, but the workflow asked for {now}{where}. "
            "Its code changed while this run was open: finish the run with the version it began with, or start a new one."
        )


def find_divergence(
    run_id: str,
    at: Script,
    output: bytes,
    lines: Mapping[int, str] | None = None,
    expected_lines: Mapping[int, str] | None = None,
) -> DivergenceReport | None:
    """The first difference between the recorded commands and `output`, that of all events; None if there is none.

    `lines` gives for a line of the source that was replayed on its node, `expected_lines` for one of the run's own (by default
    the same). Of a faulted history the last event need not be answered.

    Raises:
        MalformedOutput: the output is not in the grammar, or the guest answered fewer or more events than it was given.
    """
    answers = split_output(output)
    answered = 0
    for event_seq, commands, actual in zip(at.event_seqs, at.commands, answers, strict=False):
        answered += 1
        for then, body in zip_longest(commands, actual):
            if then is None or then[1] != body:
                return _report(run_id, event_seq, then, body, lines or {}, expected_lines or lines or {})
    if answered < len(at.events) - at.faulted or next(answers, None) is not None:
        raise MalformedOutput(f"the guest was given {len(at.events)} events and did not answer each of them once")
    return None


def _report(
    run_id: str,
    event_seq: Seq,
    then: tuple[Seq, bytes] | None,
    body: bytes | None,
    lines: Mapping[int, str],
    expected_lines: Mapping[int, str],
) -> DivergenceReport:
    before = _describe(then[1]) if then is not None else None
    after = _describe(body) if body is not None else None
    seq = then[0] if then is not None else event_seq
    differences = list(islice(_differences(before, after, ""), DIFFERENCES_MAX))
    return DivergenceReport(
        run_id,
        seq,
        event_seq,
        before,
        after,
        differences,
        *_place(after or before, lines),
        *_place(before, expected_lines),
    )


def _place(command: dict[str, Any] | None, lines: Mapping[int, str]) -> tuple[int | None, str | None]:
    """Line and node of a command in the source that asks for it."""
    node = _node(command)
    return next((line for line, name in sorted(lines.items()) if name == node), None), node


def _describe(body: bytes) -> dict[str, Any]:
    """A command as named fields, for reports; what is not a command is shown as it is."""
    items = decode(body)
    if not isinstance(items, list) or not items or type(items[0]) is not int:
        return {"kind": "unknown", "value": items}
    number, *rest = items
    return {"kind": command_name(number), **dict(zip(field_names(number), rest, strict=False))}


def _differences(then: Any, now: Any, path: str) -> Iterator[dict[str, Any]]:
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted({*then, *now}):
            yield from _differences(then.get(key, ABSENT), now.get(key, ABSENT), f"{path}.{key}" if path else key)
    elif isinstance(then, list) and isinstance(now, list):
        for index, (a, b) in enumerate(zip_longest(then, now, fillvalue=ABSENT)):
            yield from _differences(a, b, f"{path}[{index}]")
    elif encode_plain(then) != encode_plain(now):  # as bytes: −0.0 is not 0.0, 1 is not 1.0, NaN is NaN
        yield {"at": path, "expected": _bounded(then), "actual": _bounded(now)}


def _bounded(value: Any) -> Any:
    """The value, or the beginning of its text where that is long."""
    return value if len(encode_plain(value)) <= VALUE_BYTES_MAX else _short(value)


def _phrases(report: DivergenceReport) -> tuple[str, str]:
    """What the history has and what was asked for, told apart: by kind and name, else by the first difference."""
    then, now = _phrase(report.expected, "nothing more"), _phrase(report.actual, "nothing")
    if then == now and report.differences:
        first = report.differences[0]
        return f"{then} with {first['at']} = {_short(first['expected'])}", f"{_short(first['actual'])}"
    if then.startswith("step ") and now.startswith("step "):
        return then, now.removeprefix("step ")
    return then, now


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _VALUE_CHARS_MAX else text[:_VALUE_CHARS_MAX] + "…"


def _phrase(command: dict[str, Any] | None, nothing: str) -> str:
    if command is None:
        return nothing
    match command:
        case {"kind": "step", "name": name, "path": path}:
            return f"step '{name}'" + ("" if path == name else f" at {path}")
        case {"kind": kind, "path": path}:
            return f"{kind} at {path}"
        case {"kind": kind}:
            return f"'{kind}'"
    return "something unknown"


def _node(command: dict[str, Any] | None) -> Path | None:
    """The graph node of a command: the last part of its path, without loop turn or item."""
    path = (command or {}).get("path")
    return Path(path.rsplit("/", 1)[-1].split("[", 1)[0].split("#", 1)[0]) if isinstance(path, str) else None
