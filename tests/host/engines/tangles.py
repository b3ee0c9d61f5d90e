"""Graphs that tangle: blocks in workflows in blocks, so that many arms go on, wait and end at the same events."""

from __future__ import annotations

import random
from typing import Any

from cloche import create_step
from cloche_codegen import Step, Workflow, code, create_workflow, path

PREDICATES: list[dict[str, Any]] = [
    {"truthy": {"value": {"path": "inputData.v"}}},
    {"falsy": {"value": {"path": "inputData"}}},
    {"gt": {"left": {"path": "inputData.v"}, "right": {"literal": 1}}},
    {"exists": {"path": "state.n"}},
    {"in": {"value": {"path": "initData.v"}, "set": [1, 2, "a", None]}},
    {"eq": {"left": {"path": "state.k"}, "right": {"path": "inputData"}}},
    {"and": {"args": [{"exists": {"path": "inputData"}}, {"notExists": {"path": "requestContext.zz"}}]}},
    {"notIn": {"value": {"path": "inputData.name"}, "set": {"path": "state.list"}}},
]
TESTS = [
    "true",
    "inputData?.v > 1",
    "state.n",
    "Math.random() < 0.5",
    "(console.warn(state), 1)",
    "getInitData() === initData",
]
ODD_TESTS = ["inputData.a.b.c", "(() => { throw 7 })()", "Promise.resolve(1)", "(() => { throw new TypeError('t') })()"]
VALUES = [
    "inputData",
    "({ n: 5n, u: undefined, f: -0, d: new Date(86400000), s: [undefined, , 1], v: 3, list: [1, 2] })",
    "getInitData()",
    "[state, requestContext, Math.random(), Date.now()]",
    "(console.log('seen', inputData), null)",
    "({ b: 1, a: [inputData, inputData], '10': new Error('e', { cause: new TypeError('c') }) })",
    "[{}, [[]], new Uint8Array([1, 2]), 1e21, 2n ** 80n, NaN]",
    "globalThis.count = (globalThis.count ?? 0) + 1",
    "[typeof inputData?.n, typeof inputData?.d, JSON.stringify(inputData, (k, v) => typeof v == 'bigint' ? `${v}n` : v)]",
]
ODD_VALUES = [
    "() => 1",
    "(async () => 1)()",
    "new Map([[1, 2]])",
    "({ a: { b: [() => 1] } })",
    "({ a: { 'b c': [Symbol()] } })",
    "new (class Thing { x = 1 })()",
    "(() => { const a = {}; a.b = [a]; return a })()",
    "(() => { throw Object.assign(new RangeError('r'), { code: 42, deep: { f() {} } }) })()",
    "(() => { throw { odd: [1, null] } })()",
    "inputData.a.b.c",
]
LITERALS: list[Any] = [None, True, 1, 1.0, -0.5, 2**60, "text", [1, {"a": [2.0]}], {"__proto__": 1, "7": None}]
COUNTS = ["inputData.length", "2.9", "'x'", "[1][0]", "4n", "NaN"]
DURATIONS = ["0.001", "-1", "inputData?.v", "3n", "null", "0.0015"]
ODD_DURATIONS = ["'soon'", "1e300", "new Date(5)", "() => 1", "inputData.a.b", "Promise.resolve(1)"]
INSTANTS = [
    "'2026-01-31T12:00:00Z'",
    "'2026-02-03t12:00:00.123456+01:00'",
    "1e12",
    "1n",
    "new Date(8.64e15)",
    "Date.now() + 5.5",
]
ODD_INSTANTS = ["'2026-02-30T12:00:00Z'", "new Date(NaN)", "'no'", "[]", "9e15", "'2026-13-01 24:00:00z'", "undefined"]


class Tangler:
    """Makes one random graph from a seed."""

    def __init__(self, seed: int, *, codes: bool = True, size: int = 5) -> None:
        self.random = random.Random(seed)
        self.codes = codes
        self.size = size
        self.count = 0

    def workflow(self, depth: int = 2) -> Workflow:
        made = create_workflow(id=self._id("w"))
        known: list[str] = []
        for _ in range(self.random.randint(1, self.size if depth else 2)):
            self._node(made, known, depth)
        return made.commit()

    def _id(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def _body(self, known: list[str], depth: int) -> Step | Workflow:
        if depth and self.random.random() < 0.45:
            return self.workflow(depth - 1)
        known.append(self._id("s"))
        return create_step(id=known[-1], execute=lambda data: data)

    def _bodies(self, known: list[str], depth: int) -> list[Step | Workflow]:
        return [self._body(known, depth) for _ in range(self.random.randint(1, 4))]

    def _test(self) -> Any:
        if self.codes and self.random.random() < 0.3:
            return self._text(TESTS, ODD_TESTS)
        return self.random.choice(PREDICATES)

    def _value(self, known: list[str], sane: list[str], odd: list[str]) -> Any:
        if self.codes and self.random.random() < 0.4:
            return code(self._text(sane, odd))
        places = ["inputData", "inputData.v", "initData.list", "state.list", "requestContext.user"]
        if self.random.random() < 0.5:
            return path(self.random.choice(places[:1]))
        places += [f"stepResults.{id}" for id in known] + [f"stepResults.{id}.v" for id in known]
        return path(self.random.choice(places))

    def _late(self, sane: list[str], odd: list[str]) -> Any:
        if not self.codes or self.random.random() < 0.2:
            return path(self.random.choice(["initData.v", "state.n", "inputData.v"]))
        return code(self._text(sane, odd))

    def _text(self, sane: list[str], odd: list[str]) -> str:
        return self.random.choice(odd if self.random.random() < 0.2 else sane)

    def _chance(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def _node(self, made: Workflow, known: list[str], depth: int) -> None:
        """One node more, of any kind."""
        before = list(known)
        match self.random.randint(0, 12):
            case 0 | 1 | 2:
                made.then(self._body(known, depth))
            case 3 | 4:
                self._parallel(made, known, depth)
            case 5:
                made.branch([(self._test(), body) for body in self._bodies(known, depth)])
            case 6:
                otherwise = self._body(known, depth) if self._chance(True, False) else None
                made.choose([(self._test(), body) for body in self._bodies(known, depth)], otherwise=otherwise)
            case 7:
                self._loop(made, known, depth)
            case 8 | 9:
                self._foreach(made, known, before, depth)
            case 10:
                self._map(made, before)
            case 11:
                made.sleep(self._chance(1, self._late(DURATIONS, ODD_DURATIONS)), id=self._id("z"))
                made.sleep_until(self._late(INSTANTS, ODD_INSTANTS), id=self._id("z"))
            case _:
                timeout = self._chance(None, 2, self._late(DURATIONS, ODD_DURATIONS))
                made.wait_for_event("signed", timeout=timeout, id=self._id("e"))

    def _parallel(self, made: Workflow, known: list[str], depth: int) -> None:
        arms = self._bodies(known, depth)
        least = self._chance(None, None, 1, min(2, len(arms)))
        options: dict[str, Any] = {"settle": True} if self._chance(True, False) else {}
        if least is not None or self._chance(True, False, False):
            options = {"min_successes": least, "tolerated_failures": None if least else self._chance(0, 1)}
            options = {name: value for name, value in options.items() if value is not None}
        made.parallel(arms, limit=self._chance(None, 1, 2), **options)

    def _loop(self, made: Workflow, known: list[str], depth: int) -> None:
        turns = {"left": {"path": "iterationCount"}, "right": {"literal": self._chance(1, 2, 3)}}
        if self._chance(True, False):
            made.dountil(self._body(known, depth), {"or": {"args": [{"gte": turns}, self.random.choice(PREDICATES)]}})
        else:
            made.dowhile(self._body(known, depth), {"and": {"args": [{"lt": turns}, self.random.choice(PREDICATES)]}})

    def _foreach(self, made: Workflow, known: list[str], before: list[str], depth: int) -> None:
        items = self._chance(path("initData.list"), code("[1, 2, 3, 4]") if self.codes else path("initData.list"))
        made.map(items, id=self._id("m"))
        width = self._chance(1, 2, 9, -1, self._value(before, COUNTS, ["null.x"]))
        options = self._chance({}, {}, {"on_error": "collect"}, {"min_successes": 2}, {"tolerated_failures": 1})
        made.foreach(self._body(known, depth), concurrency=width, **options)

    def _map(self, made: Workflow, before: list[str]) -> None:
        template = {"template": "${inputData} ${initData.v} ${state.n}|${requestContext.user}"}
        fields = {
            "a": self._value(before, VALUES, ODD_VALUES),
            "b": {"value": self.random.choice(LITERALS)},
            "c": self._chance(template, self._value(before, VALUES, ODD_VALUES)),
        }
        made.map(self._chance(fields, fields, self._value(before, VALUES, ODD_VALUES)), id=self._id("m"))
