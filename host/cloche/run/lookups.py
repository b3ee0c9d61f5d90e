"""What a step may look up of its run: the input and the results of the workflow that it stands in, as the log has them.

In a nested workflow an id means a step of that workflow, and nothing around it is seen; a path (`W/ask`) means the same
everywhere. The result of a loop's body is that of the last turn that has ended, of a sleep what it let through, of a wait what
its event carried: as conditions and maps see them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloche.errors import NotFound
from cloche.history import Kind, Path, Record, RunMachine, Seq
from cloche.history.lifecycles import TimerPhase
from cloche.history.messages import CallStep, Enter, HookReceived, Leave, OpenHook, SetTimer, StepBailed, StepCompleted
from cloche.history.reading import message_of
from cloche.status import FINAL
from cloche.steps.context import Chunks
from cloche.steps.registry import read_graph
from cloche.store import first_record, record_pages, wake_up

if TYPE_CHECKING:
    from cloche.engines import Code
    from cloche.history import CallId, RunKey, TimeMs
    from cloche.store import Store
    from cloche_codegen import Graph
    from cloche_codegen.graph import Node


ABORTS = "abort:"  # before the name of a signal: the event that says that a step has aborted it
_OF_SIGNALS = (Kind.STEP_CALLED, Kind.HOOK_OPENED, Kind.HOOK_RECEIVED)


def scope_of(path: str) -> str:
    """The path of the nested workflow that a call stands in; empty on the top level."""
    return path.rpartition("/")[0]


async def input_at(store: Store, key: RunKey, scope: str, entered: Seq) -> Any:
    """The input of the nested workflow at `scope` that this record entered, as its schema has it where there is one."""
    from cloche_codegen.names import INPUT_CHECK

    checked = await store.result(key, Path(f"{scope}/{INPUT_CHECK}"))
    if checked is not None:
        return _output(checked)
    record = await first_record(store, key, Seq(entered - 1))
    message = message_of(record) if record is not None else None
    assert isinstance(message, Enter)
    return message.value


async def result_of(store: Store, key: RunKey, code: Code, scope: str, name: str) -> Any:
    """The output of what `name` means in the workflow at `scope`; None if it has not succeeded, or there is no such thing."""
    within = [f"{scope}/{name}"] if scope else []
    for path in [*within, name] if not scope or "/" in name else within:
        record = await store.result(key, Path(path))
        if record is None and code.graph:
            record = await _of_node(store, key, await read_graph(code), path)
        if record is not None:
            return _output(record)
    return None


async def chunks_of(store: Store, key: RunKey, stream: str, after: int) -> Chunks:
    """What steps have written to a stream of the run, after record `after`, up to its end."""
    chunks: list[Any] = []
    async for page in record_pages(store, key, Seq(after)):
        for record in page:
            after = record.seq
            written = record.content()["value"] if record.kind is Kind.STEP_WROTE else None
            if isinstance(written, dict) and written.get("stream") == stream:
                chunks += [written["chunk"]] if "chunk" in written else []
                if written.get("closed"):
                    return Chunks(chunks, True, after)
    return Chunks(chunks, False, after)


async def chunks_of_other(store: Store, key: RunKey, stream: str, after: int) -> Chunks:
    """As `chunks_of`, of another run, whose end is the end of its streams.

    Raises:
        NotFound: there is no such run.
    """
    row = await store.run(key)
    if row is None:
        raise NotFound(f"there is no run {key.run}", kind="run", id=key.run)
    found = await chunks_of(store, key, stream, after)
    return replace(found, is_closed=found.is_closed or row.status in FINAL)


async def wake(store: Store, key: RunKey, paths: Collection[str], now: TimeMs) -> int:
    """Ask whoever owns another run to end its sleeps now, those at `paths` where there are any; how many are asked for.

    Raises:
        NotFound: there is no such run.
    """
    if await store.run(key) is None:
        raise NotFound(f"there is no run {key.run}", kind="run", id=key.run)
    machine = RunMachine(key)
    async for page in record_pages(store, key):
        for record in page:
            machine.absorb(record)
    calls = [call for call, path in sleeps_of(machine).items() if not paths or path in paths]
    if calls:
        post = wake_up(key, calls)
        await store.post(post.key, post.kind, post.body, post.token, now)
    return len(calls)


def sleeps_of(machine: RunMachine) -> dict[CallId, Path]:
    """The open sleeps of a run, and not what bounds a wait for an event."""
    found = {call: one.path for call, one in machine.open.items() if one.phase is TimerPhase.SET}
    return {call: path for call, path in found.items() if not path.endswith("/timeout")}


def aborted(machine: RunMachine, signal: str, reason: Any, now: TimeMs) -> HookReceived | None:
    """What tells a run that a step has aborted a signal of its own; None if it does not listen, as after an abort."""
    calls = list(machine.open.awaited.get(f"{ABORTS}{signal}", ()))
    return HookReceived(now, calls[0], reason) if calls else None


async def aborted_of(store: Store, key: RunKey, signals: Collection[str]) -> dict[str, Any]:
    """Which of these signals the run has aborted, or a step of it, and why."""
    found: dict[str, Any] = {}
    hooks: dict[CallId, str] = {}
    async for page in record_pages(store, key):
        for record in page:
            match message_of(record) if record.kind in _OF_SIGNALS else None:
                case CallStep(name="__cloche_abort", arguments=[name, *reason]) if name in signals:
                    found.setdefault(name, reason[0] if reason else None)
                case OpenHook(call=call, name=name) if name.removeprefix(ABORTS) in signals:
                    hooks[call] = name.removeprefix(ABORTS)
                case HookReceived(call=call, value=reason) if call in hooks:
                    found.setdefault(hooks[call], reason)
    return found


async def _of_node(store: Store, key: RunKey, graph: Graph, path: str) -> Record | None:
    """The record with the result of a node that has none at its own path."""
    node = _node(graph, path)
    if node is None:
        return None
    if node.type == "loop":
        return await _last_turn(store, key, path)
    if node.type in ("sleep", "sleep_until"):
        return await _waited(store, key, path, Kind.TIMER_SET, Kind.TIMER_FIRED)
    return await _waited(store, key, path, Kind.HOOK_OPENED, Kind.HOOK_RECEIVED)


async def _last_turn(store: Store, key: RunKey, path: str) -> Record | None:
    """Of the turns 1, 2, … that have ended the last: each has ended before the next begins."""
    found, last, stride, grows = None, 0, 1, True
    while stride:
        record = await store.result(key, Path(f"{path}[{last + stride}]"))
        if record is not None:
            found, last = record, last + stride
        else:
            grows = False
        stride = stride * 2 if grows else stride // 2
    return found


async def _waited(store: Store, key: RunKey, path: str, begins: Kind, ends: Kind) -> Record | None:
    """No index has it: the log is read. For a sleep the record that set it, which has what it lets through."""
    begun: Record | None = None
    async for page in record_pages(store, key):
        for record in page:
            if record.kind is begins and record.path == path:
                begun = record
            elif record.kind is ends and begun is not None and record.call == begun.call:
                return begun if begins is Kind.TIMER_SET else record
    return None


def _output(record: Record) -> Any:
    match message_of(record):
        case StepCompleted(value=value) | StepBailed(value=value) | Leave(outcome=[0, value]):
            return value
        case SetTimer(value=value) | HookReceived(value=value):
            return value
    return None


def _node(graph: Graph, path: str) -> Node | None:
    """The loop or wait that has its results not at `path` itself."""
    from cloche_codegen.graph import bodies_of
    from cloche_codegen.nesting import workflows_around

    name = path.rpartition("/")[2]
    for node in workflows_around(graph, path)[-1].nodes:
        is_wait = node.type in ("sleep", "sleep_until", "wait_for_event") and node.id == name
        if is_wait or (node.type == "loop" and bodies_of(node)[0].id == name):
            return node
    return None
