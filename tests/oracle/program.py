"""The statement tree made ready to run: every value a function of a frame, every statement one that begins it.

As `cloche_codegen.javascript` prints the tree: what it puts in a constant is computed here at the same moment, and what it
puts after `() =>` is a function here too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, assert_never

from cloche.engines.code import Language
from cloche_codegen import Graph, lower
from cloche_codegen import tree as t
from cloche_codegen.conditions.predicates import MEANING
from cloche_codegen.conditions.values import MISSING, get
from oracle.blocks import Arm, Blocks, GuardedArm
from oracle.code_strings import Codes, CodeText, module_of
from oracle.durations import instant, seconds
from oracle.functions import Context, call, compiled, copied
from oracle.host import Host
from oracle.parallel_blocks import Policy
from oracle.promises import Promise, Steps
from oracle.values import Bail, Error, Thrown, defined, received, shown


@dataclass(slots=True)
class Running:
    """One run: what its functions share."""

    host: Host
    blocks: Blocks
    codes: Codes
    state: dict[str, Any]
    context: dict[str, Any]


@dataclass(slots=True)
class Frame:
    """One call of a workflow's function. `at` is its path, None for the run's own."""

    run: Running
    input: Any
    at: str | None
    results: dict[str, Any] = field(default_factory=dict)

    def path(self, id: str) -> str:
        return id if self.at is None else f"{self.at}/{id}"


Compute: TypeAlias = Callable[[Frame, Any, int], Any]  # frame, item and turn: what Item and Turn are
Begin: TypeAlias = Callable[[Frame], Any]
CallOf: TypeAlias = Callable[[Frame, Any, str], Promise]


@dataclass(slots=True)
class Function:
    """A workflow. A statement that `waits` gives a promise."""

    body: list[tuple[str, bool, Begin]]
    result: Compute
    undo: dict[str, Callable[[Frame, Any], Promise]]  # of a statement that is undone when a later one fails

    def call(self, run: Running, value: Any, at: str | None) -> Promise:
        return run.host.microtasks.start(self._steps(Frame(run, value, at)))

    def _steps(self, frame: Frame) -> Steps:
        undo: list[Callable[[], Promise]] = []
        try:
            for id, waits, begin in self.body:
                made = begin(frame)
                frame.results[id] = (yield made) if waits else made
                if id in self.undo:
                    undo.append(partial(self.undo[id], frame, frame.results[id]))
        except Thrown as thrown:
            if undo and not isinstance(thrown.value, Bail):
                yield from self._undone(undo)
            raise
        return self.result(frame, MISSING, 0)

    @staticmethod
    def _undone(undo: list[Callable[[], Promise]]) -> Steps:
        for begin in reversed(undo):
            try:
                yield begin()
            except Thrown as thrown:
                if isinstance(thrown.value, Bail):
                    raise


class Program:
    """A graph, ready to run as one of a guest's language. `codes` are its code strings, in the order of their numbers."""

    def __init__(self, graph: Graph, language: Language = "javascript") -> None:
        self.language = language
        self.codes: list[CodeText] = []
        self._functions: dict[str, Function] = {}
        module = lower(graph)
        for function in module.functions:
            self._functions[function.id] = self._function(function)
        self.main = self._function(module.main)
        self.module = module_of(self.codes)

    def _function(self, function: t.Function) -> Function:
        body = [
            (line.statement.id, not isinstance(line.statement, t.Map), self._statement(line.statement))
            for line in function.body
        ]
        undo = {
            line.statement.id: self._undo(line.statement.undo)
            for line in function.body
            if isinstance(line.statement, t.Perform) and line.statement.undo is not None
        }
        return Function(body, self._value(function.result), undo)

    def _undo(self, call: t.Call) -> Callable[[Frame, Any], Promise]:
        begin, id = self._call(call), call.id
        return lambda frame, value: begin(frame, value, frame.path(id))

    # ---- statements ----

    def _statement(self, statement: t.Statement) -> Begin:
        match statement:
            case t.Perform():
                return self._perform(statement)
            case t.Map():
                return self._map(statement)
            case t.Sleep():
                return self._sleep(statement)
            case t.SleepUntil():
                return self._sleep_until(statement)
            case t.WaitForEvent():
                return self._wait_for_event(statement)
            case t.Parallel():
                return self._parallel(statement)
            case t.Branch() | t.Choose():
                return self._guards(statement)
            case t.Loop():
                return self._loop(statement)
            case t.Foreach():
                return self._foreach(statement)
            case _:
                assert_never(statement)

    def _perform(self, statement: t.Perform) -> Begin:
        call, value, id = self._call(statement.call), self._value(statement.input), statement.call.id
        return lambda frame: call(frame, value(frame, MISSING, 0), frame.path(id))

    def _map(self, statement: t.Map) -> Begin:
        id, flowing, value = statement.id, self._value(statement.input), self._value(statement.value)
        return lambda frame: frame.run.blocks.map(
            frame.path(id), flowing(frame, MISSING, 0), lambda: value(frame, MISSING, 0)
        )

    def _sleep(self, statement: t.Sleep) -> Begin:
        id, flowing = statement.id, self._value(statement.input)
        wait = None if statement.seconds is None else self._value(statement.seconds)

        def begin(frame: Frame) -> Promise:
            ms = (statement.ms or 0) if wait is None else seconds(id, lambda: wait(frame, MISSING, 0))
            return frame.run.blocks.sleep(frame.path(id), ms, flowing(frame, MISSING, 0))

        return begin

    def _sleep_until(self, statement: t.SleepUntil) -> Begin:
        id, flowing = statement.id, self._value(statement.input)
        until = None if statement.value is None else self._value(statement.value)

        def begin(frame: Frame) -> Promise:
            ms: int | float = statement.ms or 0
            if until is not None:
                ms = instant(id, lambda: until(frame, MISSING, 0), frame.run.codes.parse_date)
            return frame.run.blocks.sleep_until(frame.path(id), ms, flowing(frame, MISSING, 0))

        return begin

    def _wait_for_event(self, statement: t.WaitForEvent) -> Begin:
        id, event, flowing = statement.id, statement.event, self._value(statement.input)
        wait = None if statement.timeout_seconds is None else self._value(statement.timeout_seconds)

        def begin(frame: Frame) -> Promise:
            value = flowing(frame, MISSING, 0)
            ms = statement.timeout_ms if wait is None else seconds(id, lambda: wait(frame, MISSING, 0))
            return frame.run.blocks.wait_for_event(frame.path(id), event, value, ms)

        return begin

    def _parallel(self, statement: t.Parallel) -> Begin:
        value = self._value(statement.input)
        calls = [(call.id, self._call(call)) for call in statement.arms]
        policy = _policy(statement, statement.settle)

        def begin(frame: Frame) -> Promise:
            arms = [_arm(frame, id, call, value) for id, call in calls]
            return frame.run.blocks.parallel(frame.at, arms, statement.limit, policy)

        return begin

    def _guards(self, statement: t.Branch | t.Choose) -> Begin:
        id, value = statement.id, self._value(statement.input)
        guarded = [(arm.call.id, self._value(arm.test), self._call(arm.call)) for arm in statement.arms]
        final = statement.otherwise if isinstance(statement, t.Choose) else None
        otherwise = None if final is None else (final.id, self._call(final))
        chooses = isinstance(statement, t.Choose)

        def begin(frame: Frame) -> Promise:
            arms = [_guarded_arm(frame, arm, test, call, value) for arm, test, call in guarded]
            if not chooses:
                return frame.run.blocks.branch(frame.at, id, arms)
            last = None if otherwise is None else _arm(frame, *otherwise, value)
            return frame.run.blocks.choose(id, arms, last)

        return begin

    def _loop(self, statement: t.Loop) -> Begin:
        id, flowing = statement.call.id, self._value(statement.input)
        call, test, until = self._call(statement.call), self._value(statement.test), statement.until
        return lambda frame: frame.run.blocks.loop(
            frame.path(id),
            flowing(frame, MISSING, 0),
            lambda value, path: call(frame, value, path),
            lambda value, turn: test(frame, value, turn),
            until,
        )

    def _foreach(self, statement: t.Foreach) -> Begin:
        id, flowing, call = statement.call.id, self._value(statement.input), self._call(statement.call)
        policy = _policy(statement, statement.on_error == "collect")
        asked = statement.concurrency
        width = None if isinstance(asked, int) else self._value(asked)

        def begin(frame: Frame) -> Promise:
            concurrency = asked if width is None else (lambda: width(frame, MISSING, 0))
            assert not isinstance(concurrency, t.Value)
            return frame.run.blocks.foreach(
                frame.path(id),
                flowing(frame, MISSING, 0),
                lambda value, path: call(frame, value, path),
                concurrency,
                policy,
            )

        return begin

    def _call(self, call: t.Call) -> CallOf:
        """A step, or the function of a nested workflow, with an input and under a path."""
        if not call.is_workflow:
            name = call.target
            return lambda frame, value, path: frame.run.host.step(name, path, value)
        function = self._functions[call.target]
        return lambda frame, value, path: frame.run.blocks.nested(
            path, value, lambda value, at: function.call(frame.run, value, at)
        )

    # ---- values ----

    def _value(self, value: t.Value) -> Compute:
        match value:
            case t.Input():
                return lambda frame, item, turn: frame.input
            case t.State():
                return lambda frame, item, turn: frame.run.state
            case t.Context():
                return lambda frame, item, turn: frame.run.context
            case t.Item():
                return lambda frame, item, turn: item
            case t.Turn():
                return lambda frame, item, turn: turn
            case t.Result(id):
                return lambda frame, item, turn: frame.results[id]
            case t.ArmResult(block, arm, settled):
                keys = (arm,)
                if settled:
                    return lambda frame, item, turn: _settled(get(frame.results[block], keys))
                return lambda frame, item, turn: get(frame.results[block], keys)
            case t.Literal_() | t.Constants():
                return _literal(value.value if isinstance(value, t.Literal_) else list(value.values), self.language)
            case t.Code():
                return self._code(value)
            case t.Apply():
                names = [(name, self._value(one)) for name, one in value.context or ()]
                results = [(id, self._value(one)) for id, one in value.results]
                return _apply(value, self._value(value.data), names, results)
            case _:
                return self._computed(value)

    def _computed(
        self, value: t.Get | t.Read | t.FirstOf | t.Text | t.Record | t.Test | t.All | t.Any_ | t.Not
    ) -> Compute:
        match value:
            case t.Get():
                return _get(self._value(value.root), value.keys, value.of_step)
            case t.Read():
                return _read(self._value(value.root), value.keys, value.label, value.of_step)
            case t.FirstOf():
                return _first([self._value(one) for one in value.results])
            case t.Text():
                return _text([part if isinstance(part, str) else self._value(part) for part in value.parts])
            case t.Record():
                fields = [(key, self._value(one)) for key, one in value.fields]
                return lambda frame, item, turn: defined({key: one(frame, item, turn) for key, one in fields})
            case t.Test(op="patched", operands=(t.Literal_(value=id),)):
                return lambda frame, item, turn: frame.run.host.patched(str(id))
            case t.Test():
                return _test(MEANING[value.op], [self._value(one) for one in value.operands])
            case t.All():
                args = [self._value(one) for one in value.args]
                return lambda frame, item, turn: all(one(frame, item, turn) for one in args)
            case t.Any_():
                args = [self._value(one) for one in value.args]
                return lambda frame, item, turn: any(one(frame, item, turn) for one in args)
            case t.Not():
                arg = self._value(value.arg)
                return lambda frame, item, turn: not arg(frame, item, turn)
            case _:
                assert_never(value)

    def _code(self, code: t.Code) -> Compute:
        number = len(self.codes)
        names = [(name, self._value(one)) for name, one in code.names]
        results = [(id, self._value(one)) for id, one in code.results]
        asks = tuple(
            name for name, asked in (("stepResults", code.asks_results), ("getStepResult", code.asks_by_call)) if asked
        )
        self.codes.append(CodeText(code.text, (*dict(names), *asks)))

        def compute(frame: Frame, item: Any, turn: int) -> Any:
            given = {name: one(frame, item, turn) for name, one in names}
            looked_up = {id: one(frame, item, turn) for id, one in results} if asks else None
            return frame.run.codes.evaluate(number, given, looked_up)

        return compute


def _apply(
    apply: t.Apply, data: Compute, names: list[tuple[str, Compute]], results: list[tuple[str, Compute]]
) -> Compute:
    function, gives = compiled(apply.source, apply.name), apply.gives
    if apply.context is None:
        return lambda frame, item, turn: call(function, [copied(data(frame, item, turn))], gives)

    def compute(frame: Frame, item: Any, turn: int) -> Any:
        found = {id: one(frame, item, turn) for id, one in results}
        given = {name: copied(one(frame, item, turn)) for name, one in names}
        context = Context(given, {id: copied(value) for id, value in found.items() if value is not MISSING})
        return call(function, [copied(data(frame, item, turn)), context], gives)

    return compute


def _policy(statement: t.Parallel | t.Foreach, collect: bool) -> Policy:
    least, tolerated = statement.min_successes, statement.tolerated_failures
    return Policy(collect, math.inf if least is None else least, math.inf if tolerated is None else tolerated)


def _arm(frame: Frame, id: str, call: CallOf, value: Compute) -> Arm:
    return id, lambda: call(frame, value(frame, MISSING, 0), frame.path(id))


def _guarded_arm(frame: Frame, id: str, test: Compute, call: CallOf, value: Compute) -> GuardedArm:
    return id, lambda: test(frame, MISSING, 0), _arm(frame, id, call, value)[1]


def _settled(outcome: Any) -> Any:
    return get(outcome, ("output",)) if get(outcome, ("status",)) == "success" else MISSING


def _literal(value: object, language: Language) -> Compute:
    """A list or mapping is made anew each time, as the expression in the code makes it."""
    if isinstance(value, dict | list | tuple):
        return lambda frame, item, turn: received(value, language)
    constant = received(value, language)
    return lambda frame, item, turn: constant


def _get(root: Compute, keys: tuple[str, ...], of_step: bool) -> Compute:
    if keys:
        return lambda frame, item, turn: get(root(frame, item, turn), keys)
    if not of_step:
        return root

    def compute(frame: Frame, item: Any, turn: int) -> Any:
        value = root(frame, item, turn)
        return MISSING if value is None else value

    return compute


def _read(root: Compute, keys: tuple[str, ...], label: str, of_step: bool) -> Compute:
    if not keys and not of_step:
        return root
    invalid = f"Invalid path {'.'.join(keys) or '.'} in {label}"

    def compute(frame: Frame, item: Any, turn: int) -> Any:
        value = root(frame, item, turn)
        if of_step and (value is None or value is MISSING):
            raise Thrown(Error("Error", invalid))
        for key in keys:
            if not isinstance(value, dict | list | Error):
                raise Thrown(Error("Error", invalid))
            value = get(value, (key,))
        return value

    return compute


def _first(results: list[Compute]) -> Compute:
    def compute(frame: Frame, item: Any, turn: int) -> Any:
        for one in [result(frame, item, turn) for result in results]:
            if one is not None and one is not MISSING:
                return one
        return MISSING

    return compute


def _text(parts: list[str | Compute]) -> Compute:
    def compute(frame: Frame, item: Any, turn: int) -> str:
        return "".join([part if isinstance(part, str) else shown(part(frame, item, turn)) for part in parts])

    return compute


def _test(meaning: Callable[..., bool], operands: list[Compute]) -> Compute:
    if len(operands) == 1:
        (one,) = operands
        return lambda frame, item, turn: meaning(one(frame, item, turn))
    left, right = operands
    return lambda frame, item, turn: meaning(left(frame, item, turn), right(frame, item, turn))
