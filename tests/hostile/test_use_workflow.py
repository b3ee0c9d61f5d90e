"""The words of "use workflow" code and the values that it knows: hostile use ends that run alone, whatever steps give back."""

from __future__ import annotations

from typing import Any

import pytest
from guest.cells import COMPLETE, FAIL, NOW, SEED, STEP, Cell, GuestStopped

STACK_EXHAUSTED = -6  # the turn is tried again on a rebuilt cell
ENDS = (COMPLETE, FAIL, STACK_EXHAUSTED)
GIVEN = {"run": {"id": "wrun_1", "entry": "w", "spread": True}}
TURNS_MAX = 8


def bundle(body: str) -> str:
    return f"""
const word = (name) => globalThis[Symbol.for(name)];
const useStep = word("WORKFLOW_USE_STEP"), step = useStep("step//./f//step");
const {{ sleep, createHook, createWebhook, start, getWritable, getRun, FatalError }} = word("cloche.modules").workflow;
const serialize = Symbol.for("workflow-serialize"), deserialize = Symbol.for("workflow-deserialize");
const registry = (globalThis[Symbol.for("workflow-class-registry")] ??= new Map());
const w = async (input) => {{ {body} }};
w.workflowId = "workflow//./f//w";
globalThis.__private_workflows.set(w.workflowId, w);
export default globalThis.__private_workflows;
"""


def ended(body: str, answer: Any = None, memory_bytes: int = 64 << 20) -> int:
    """The last command of a run, each step of which is answered with the same value; what stopped it is negative."""
    cell = Cell(bundle(body), memory_bytes_max=memory_bytes)
    try:
        commands = cell.turn([0, NOW, SEED, [1], GIVEN])
        for _ in range(TURNS_MAX):
            called = [one[1] for one in commands if one[0] == STEP]
            if not called or commands[-1][0] in ENDS:
                break
            commands = cell.turn(*([1, NOW, call, answer] for call in called))
    except GuestStopped as stopped:
        return stopped.code
    return int(commands[-1][0]) if commands else 0


HOSTILE = {
    "headers whose prototype is another": """
      Headers.prototype.get = () => { throw 1 }; Headers.prototype.entries = function* () { yield [this, this] };
      await step(new Headers({ a: "b" }))""",
    "what the classes of the web are made with is gone": """
      Map.prototype.get = Map.prototype.set = Array.prototype[Symbol.iterator] = null; Object.prototype.then = () => {};
      const all = [Headers, Blob, FormData, ReadableStream, Response]; await step(all.length)""",
    "a blob that is a lie": """
      const blob = new Blob(["x"]); Object.defineProperty(blob, "size", { get() { throw 1 } });
      Object.setPrototypeOf(blob, Headers.prototype); await step(blob)""",
    "a form of many parts": """
      const f = new FormData(); for (let i = 0; i < 2e4; i++) f.append('n', 'x'.repeat(99)); await step(f)""",
    "a form in a form": """
      const f = new FormData(); f.append('a', new File([new Blob([new Blob(['x'])])], '\\ud800')); await step(f)""",
    "a stream that reads itself": """
      const s = new ReadableStream({ pull(c) { c.enqueue(s); c.close(); c.enqueue(1) } });
      const [a, b] = s.tee();
      await Promise.allSettled([a.pipeTo(new WritableStream({ write() { throw 1 } })), b.cancel()])""",
    "a stream that is left": """
      let n = 0; for await (const x of new ReadableStream({ pull(c) { c.enqueue(1) } })) if (n++ > 999) break""",
    "a transform that never takes": """
      const t = new TransformStream({ transform: () => new Promise(() => {}) }); const writer = t.writable.getWriter();
      for (let i = 0; i < 1e4; i++) writer.write(i).catch(() => {}); writer.abort(t)""",
    "a tag whose getter lies": """
      let n = 0; await step({ get "~"() { return n++ ? "map" : "object" }, get entries() { throw 1 } },
      { "~": "map", entries: 1 })""",
    "a proxy with a tag": """
      await step(new Proxy({},
      { get: (_, k) => (k === "~" ? "step" : k), ownKeys: () => ["~", "~"], has: () => true }))""",
    "a tag that is inherited": 'Object.prototype["~"] = "class"; await step({ id: "x" }, [])',
    "a class that is given as itself": """
      class A { static [serialize](a) { return a } } A.classId = "class//./f//A"; registry.set(A.classId, A);
      await step(new A())""",
    "a class whose writing is a getter that grows": """
      class A { static get [serialize]() { return (a) => ({ a: [new A(), a] }) } } A.classId = "class//./f//A";
      await step(new A())""",
    "a class that nobody has registered": """
      class A { static [serialize]() { return 1 } } A.classId = 'x'; await step(new A(), A)""",
    "a registry that is another": """
      globalThis[Symbol.for("workflow-class-registry")] = { get: () => eval }; await step(1)""",
    "captured variables that throw, turn and go on": """
      const odd = [() => { throw 1 }, () => odd, () => new Proxy({}, { ownKeys() { throw 1 } }), 1, () => { step(1);
      return {} }];
      for (const one of odd) await useStep("step//./f//x", one)(1).catch(() => {})""",
    "receivers": """
      const f = useStep("step//./f//f"); const self = {}; self.self = self;
      for (const one of [self, globalThis, Symbol(), 1n, f, new Proxy(f, {})]) await f.call(one).catch(() => {});
      await f.bind.call(f, self, self)(self)""",
    "bound without end": "let f = step; for (let i = 0; i < 1e3; i++) f = f.bind(f, i); await f()",
    "ids that are none": """
      for (const id of ["", "//", "a".repeat(1e6), "\\ud800", 1, null, {}, Symbol(), { toString() { throw 1 } }])
        try { await useStep(id)(1) } catch {}""",
    "tokens that are none": """
      for (const token of ["", "x".repeat(201), "\\ud800", 1, {}, [], null, Symbol(), "__proto__", "a\\0b", "__proto__"])
        try { createHook({ token }).dispose() } catch {}""",
    "a hook that is closed while it is awaited": """
      const h = createHook({ token: "t" }), again = createHook({ token: "t" }); const told = h.then(() => {});
      h.dispose(); h[Symbol.dispose](); again.dispose(); createHook(new Proxy({}, { get() { throw 1 } }))""",
    "hooks by the thousand": "for (let i = 0; i < 5e3; i++) { using h = createHook(); h.getConflict().catch(() => {}) }",
    "times that are none": """
      for (const t of ["1e999d", "9".repeat(400) + "y", NaN, -1, Infinity, new Date(NaN), {},
      Symbol(), "", "1 fortnight"])
        try { sleep(t).catch(() => {}) } catch {}""",
    "a run of what is none": """
      for (const one of [null, {}, w, Symbol(), { workflowId: 1 }, () => {}]) await start(one, one).catch(() => {});
      await getRun({ toString() { throw 1 } }).returnValue""",
    "controllers by the thousand": """
      const all = Array.from({ length: 2e3 }, () => new AbortController()); await step(all); all[0].abort(all)""",
    "a controller that is aborted while it crosses": """
      const c = new AbortController(); await step({ c, get x() { c.abort({ get y() { throw 1 } }); return c } })""",
    "words that are written over": """
      for (const name of ["WORKFLOW_CONTEXT", "WORKFLOW_USE_STEP", "WORKFLOW_GET_STREAM_ID", "cloche.modules"])
        try { globalThis[Symbol.for(name)] = null } catch {}
      globalThis.__private_workflows.clear(); getWritable(); await step(1)""",
    "errors that are none": """
      const e = new FatalError("x"); e.cause = e; e.name = { toString() { throw 1 } }; e.message = Symbol(); e.own = e;
      await step(e).catch(() => {}); throw e""",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_use_ends_that_run_alone(what: str) -> None:
    """It succeeds, fails as JavaScript does, waits, or is stopped: nothing traps, and the next cell is as ever."""
    body = (
        f"try {{ {HOSTILE[what]} }} catch (error) {{ if (error instanceof FatalError) throw error }} return 'through'"
    )
    assert ended(body, {"~": "undefined"}) > -10, what
    assert ended("return await step(1)", 2) == COMPLETE


ANSWERS: list[Any] = [
    {"~": "instance", "id": "class//./f//None", "data": {}}, {"~": "class", "id": "x"}, {"~": "class"},
    {"~": "instance", "id": None},
    {"~": "view", "kind": "constructor", "bytes": b"x"}, {"~": "view", "kind": "Float64Array", "bytes": b"abc"},
    {"~": "view", "kind": "__proto__", "bytes": 1}, {"~": "regexp", "source": "(", "flags": "zz"}, {"~": "regexp"},
    {"~": "regexp", "source": "(a+)+" * 1000, "flags": "g"}, {"~": "map", "entries": [[1]]}, {"~": "map"},
    {"~": "set", "items": {}},
    {"~": "toString"}, {"~": "__proto__"}, {"~": "constructor"}, {"~": "error"}, {"~": "error", "failure": None},
    {"~": "object"},
    {"~": "error", "failure": {"name": "FatalError", "message": 1, "cause": {"name": None},
    "data": {"__proto__": 1, "then": 1}}},
    {"~": "step"}, {"~": "step", "id": {}, "args": 1}, {"~": "step", "id": "x", "closure": {}, "self": None, "args": []},
    {"~": "workflow"}, {"~": "stream"}, {"~": "stream", "name": {}, "mode": "__proto__"}, {"~": "signal"},
    {"~": "controller"},
    {"~": "headers", "entries": [["\n", "x"]]}, {"~": "request", "url": 1}, {"~": "response", "status": 99, "headers": 1},
    {"~": "blob"}, {"~": "file", "bytes": b"", "name": None}, {"~": "form", "entries": [[1]]}, {"~": "url", "href": "no"},
    {"~": "params"}, {"~": "buffer", "bytes": [1]}, {"~": "date", "iso": 1}, {"~": "bigint"}, {"~": ["map"]},
    {"~": {"~": "map"}},
]  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda one: str(one)[:60])
def test_whatever_a_step_gives_the_run_goes_on_or_fails(answer: Any) -> None:
    """A value whose form is wrong is a failure that the workflow may catch, or one of the run."""
    asked = "const v = await step(1).catch((error) => error);"
    whole = f"{asked} return [typeof v, await step([v, v]).catch(() => 2), 'through']"
    assert ended(whole, answer) in (COMPLETE, FAIL)
    deep: Any = answer
    for _ in range(30):
        deep = {"~": "map", "entries": [[deep, {"~": "set", "items": [deep]}]]} if len(str(deep)) < 2_000 else [deep]
    assert ended(whole, deep) in ENDS
