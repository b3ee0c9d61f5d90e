"""What of the web stands around a workflow (timers, events, URLs, clones, Intl, digests): hostile use ends that run alone, and
memory is the same, byte for byte, on every way to it."""

from __future__ import annotations

from typing import Any

import pytest
from guest.cells import COMPLETE, FAIL, NOW, TIMER, Cell, GuestStopped, workflow

STACK_EXHAUSTED = -6  # the turn is tried again on a rebuilt cell

HOSTILE = {
    "a clone of a proxy that lies": """
      const liar = new Proxy({}, { ownKeys: () => ["a", "a"], getOwnPropertyDescriptor: () => { throw 1 } });
      structuredClone(liar)""",
    "a clone whose getter goes on for ever": "const x = { get a() { return structuredClone(x) } }; structuredClone(x)",
    "a clone of what is deep": "let x = {}; for (let i = 0; i < 1e5; i++) x = { x }; structuredClone(x)",
    "a clone of what grows while it is read": """
      const list = [{ get a() { if (list.length < 1e4) list.push(list[0]); return 1 } }]; structuredClone(list)""",
    "a timer due when it cannot be": """
      const odd = [NaN, -1, Infinity, 2 ** 64, "x", null, {}, { valueOf() { throw 1 } }, Symbol.iterator, 5n];
      for (const one of odd) { try { setTimeout(() => {}, one) } catch {} try { clearTimeout(one) } catch {} }""",
    "a timer that clears itself and others": """
      const a = setInterval(() => { clearInterval(a); clearInterval(b); }, 0), b = setInterval(() => { throw 1 }, 0)""",
    "no function for a timer": "setTimeout('globalThis.x = 1', 0)",
    "a listener that adds listeners and throws": """
      const t = new EventTarget(); let n = 0;
      const add = () => { if (n++ < 1e3) t.addEventListener("x", () => { add(); throw n }); }; add();
      for (let i = 0; i < 5; i++) t.dispatchEvent(new Event("x"))""",
    "an event that is dispatched within itself": """
      const t = new EventTarget(), e = new Event("x"); t.addEventListener("x", () => t.dispatchEvent(e)); t.dispatchEvent(e)""",
    "a signal that aborts within its abort": """
      const c = new AbortController(); c.signal.onabort = () => { c.abort(); throw 1 }; c.abort({ toString() { throw 1 } });
      AbortSignal.any([c.signal, c.signal, AbortSignal.abort()]).throwIfAborted()""",
    "addresses that are none": """
      const bad = ["http://[::1", "http://" + "a".repeat(1e5), "a:" + "../".repeat(1e5), "\\ud800", "http://%00", "//", {}, 1n];
      for (const one of bad) { try { new URL(one, "http://x/") } catch {} try { new URLSearchParams(one) } catch {} }""",
    "an address that is changed while it is read": """
      const u = new URL("http://x/?a=1&b=2"); let n = 0;
      for (const [k] of u.searchParams) {
        u.searchParams.append(k + "x", "1".repeat(9)); u.search += "&c"; if (n++ > 300) break }""",
    "bytes that are not there": """
      const b = new ArrayBuffer(8, { maxByteLength: 16 }), v = new Uint8Array(b); b.transfer();
      new TextDecoder().decode(v); new TextEncoder().encodeInto("abc", v)""",
    "a text that resizes where it is written": """
      const b = new ArrayBuffer(8, { maxByteLength: 16 });
      new TextEncoder().encodeInto({ toString() { b.resize(1); return "abcdefgh" } }, new Uint8Array(b))""",
    "a digest of what has gone": """
      const b = new ArrayBuffer(8); b.transfer();
      await crypto.subtle.digest({ get name() { throw 1 } }, b).catch(() => 0); await crypto.subtle.digest("SHA-256", b)""",
    "options of Intl that throw, lie and go on": """
      const get = (_, key) => (key === "timeZone" ? { toString: () => "Mars/Base" } : key);
      const odd = new Proxy({}, { get, has: () => true });
      for (const kind of ["DateTimeFormat", "NumberFormat", "PluralRules", "Collator", "RelativeTimeFormat", "ListFormat"])
        for (const options of [odd, 1, "x", { get style() { throw 1 } }])
          for (const locale of ["de", "x", ["en", 5], {}, Symbol()]) { try { new Intl[kind](locale, options) } catch {} }""",
    "numbers that Intl does not expect": """
      const f = new Intl.NumberFormat("en", { maximumFractionDigits: 100 });
      for (const one of [NaN, -0, Infinity, 2 ** 1023, 10n ** 5000n, "1e400", {}]) f.format(one);
      new Intl.DateTimeFormat("en").format(8.64e15 + 1)""",
    "random bytes without end": "crypto.getRandomValues(new Uint8Array(65537))",
    "a console that is asked for too much": """
      const x = new Map(); x.set(x, new Set([x])); console.log(x); console.table([x, 1, null]); console.dir(new Proxy(x, {}));
      console.log("%s %d %o %j %c %%".repeat(1e3), x); for (let i = 0; i < 50; i++) console.group(i); console.log(1)""",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_use_ends_that_run_alone(what: str) -> None:
    """It succeeds, or fails as JavaScript does, or is stopped at the stack: nothing traps, and the next cell is as ever."""
    body = f"try {{ {HOSTILE[what]} }} catch {{}} await 0; return 'through'"
    cell = Cell(workflow(body), memory_bytes_max=64 << 20)
    assert _ended(cell) in (COMPLETE, FAIL, STACK_EXHAUSTED), what
    assert Cell(workflow("return 1")).start() == [[COMPLETE, 1]]


def _ended(cell: Cell) -> int:
    try:
        last: int = _until_it_rests(cell)[-1][0]
    except GuestStopped as stopped:
        return stopped.code
    return last


def _until_it_rests(cell: Cell) -> list[Any]:
    commands, due = list(cell.start()), 1
    while commands[-1][0] not in (COMPLETE, FAIL) and due <= 20:
        timers = [command for command in commands if command[0] == TIMER and command[1] >= due]
        if not timers:
            return commands
        due = timers[0][1] + 1
        commands += cell.turn([4, NOW + due, timers[0][1]])
    return commands


KEPT = """
const kept = { url: new URL("http://x/?a=1"), bus: new EventTarget(), abort: new AbortController(), seen: [],
  date: new Intl.DateTimeFormat("en", { timeZone: "Europe/Berlin", dateStyle: "full" }), money: new Intl.NumberFormat("en") };
kept.bus.addEventListener("x", (e) => kept.seen.push(e.type));
export default async (input) => {
  const tick = setInterval(() => kept.seen.push(performance.now()), 10);
  for (let n = 0; n < 6; n++) {
    await new Promise((done) => setTimeout(done, 7));
    kept.url.searchParams.append("n", n);
    const text = new TextEncoder().encode("é".repeat(n));
    kept.copy = structuredClone({ n, at: new Date(), all: new Map([[n, kept.copy]]), text });
    kept.digest = new Uint8Array(await crypto.subtle.digest("SHA-1", kept.copy.text));
    kept.bus.dispatchEvent(new Event("x"));
    kept.line = [kept.date.format(new Date()), kept.money.format(n * 1234.5), crypto.randomUUID(), Math.random()];
  }
  clearInterval(tick);
  kept.abort.abort();
  return [kept.url.href, kept.seen, [...kept.digest], kept.line, kept.abort.signal.reason.name];
};
"""


def _told(cell: Cell, events: list[Any]) -> list[list[Any]]:
    return [cell.turn(event) for event in events]


def test_memory_is_the_same_on_every_way() -> None:
    """Event by event, from a copy taken after each event, and all events at once."""
    first = Cell(KEPT)
    states, answers, events = [first.state()], [], [[0, NOW, bytes(16), None, {}]]
    due: list[tuple[int, int]] = []
    while True:
        answers.append(first.turn(events[-1]))
        states.append(first.state())
        if any(command[0] == COMPLETE for command in answers[-1]):
            break
        due += [(command[3], command[1]) for command in answers[-1] if command[0] == TIMER]
        gone = {command[1] for command in answers[-1] if command[0] == 9}
        at, call = min(one for one in due if one[1] not in gone)
        due.remove((at, call))
        events.append([4, at, call])

    assert len(events) > 8
    for number, state in enumerate(states):
        again = Cell(KEPT)
        again.restore(state)
        assert _told(again, events[number:]) == answers[number:]
        assert again.state() == states[-1]
    at_once = Cell(KEPT)
    assert at_once.turn(*events) == [one for answer in answers for one in answer]
    assert at_once.state() == states[-1]
