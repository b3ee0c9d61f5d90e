"""Where the event loop stands still beside an attack: `python -m benchmarks.pauses [ATTACK …] [--place threads] [--ms 60]`.

The loop beats every 5 ms. A thread watches it: where a beat is late it looks at what the loop's thread does, again and again,
and says at the end how long each pause was, what was seen most often in it, and how much of it each thread computed: a loop
that computed little was kept from the core, or from the interpreter's lock, by those that computed much. Where one call holds
that lock the watching thread cannot look: what it sees right after is still that call. A neighbour makes steps meanwhile: where
one tenant is alone, nobody waits for anybody's turn.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.attacks import ATTACKS, STRICT, Attack, attacked_beside, nothing
from benchmarks.neighbours import PLACES
from cloche import Cloche, create_step, create_workflow, path
from cloche.cli.settling import keep_what_is_loaded

BEAT_S, LOOK_S, SECONDS = 0.005, 0.003, 2.0
FRAMES = 14


@dataclass(frozen=True, slots=True)
class Pause:
    """A beat that came so much too late, what the loop's thread was seen at, what each thread computed since the last beat."""

    seconds: float
    seen: Counter[str]
    computed: dict[str, float]


class Watch:
    """Looks at the thread that made it, where its beats are late."""

    def __init__(self) -> None:
        self.pauses: list[Pause] = []
        self._thread, self._beat, self._ends = threading.get_ident(), time.perf_counter(), False
        self._seen: Counter[str] = Counter()
        self._computed = _computed()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    async def beats(self) -> None:
        while True:
            self.beat()
            await asyncio.sleep(BEAT_S)

    def beat(self) -> None:
        now = time.perf_counter()
        late, self._beat = now - self._beat - BEAT_S, now
        seen, self._seen = self._seen, Counter()
        before, self._computed = self._computed, _computed()
        spent = {name: s - before.get(name, 0.0) for name, s in self._computed.items()}
        self.pauses.append(Pause(late, seen, spent))

    def end(self) -> None:
        self._ends = True
        self._watcher.join()

    def _watch(self) -> None:
        while not self._ends:
            time.sleep(LOOK_S)
            if time.perf_counter() - self._beat > 2 * BEAT_S:
                frames = sys._current_frames()
                self._seen[_told(frames[self._thread])] += 1
                if (busy := self._busiest()) in frames:
                    self._seen[f"    {busy}, which computes most:\n{_told(frames[busy])}"] += 1

    def _busiest(self) -> int:
        """Of the other threads, the one that has computed most since the last beat: it may have the interpreter's lock."""
        before, now = self._computed, _computed()
        others = [one for one in threading.enumerate() if one.ident not in (self._thread, threading.get_ident())]
        spent = {one.ident: now.get(one.name, 0.0) - before.get(one.name, 0.0) for one in others}
        return max(spent, key=lambda ident: spent[ident], default=0) or 0


def _told(frame: FrameType) -> str:
    stack = traceback.extract_stack(frame)[-FRAMES:]
    return "\n".join(f"    {'/'.join(Path(f.filename).parts[-2:])}:{f.lineno} {f.name}" for f in stack)


def _computed() -> dict[str, float]:
    """The seconds that each thread has computed, by its name, and the whole process."""
    spent = {"all": time.process_time()}
    for thread in threading.enumerate():
        with suppress(OSError):  # it has ended meanwhile
            clock = time.pthread_getcpuclockid(thread.ident or 0)
            spent[thread.name] = spent.get(thread.name, 0.0) + time.clock_gettime(clock)
    return spent


async def watched(attack: Attack, place: str) -> Watch:
    engine = PLACES[place]()
    has_begun = asyncio.Event()

    async def tick(data: dict[str, int]) -> dict[str, int]:
        has_begun.set()
        await asyncio.sleep(0.002)
        return data

    ticking = create_workflow(id="ticking", guest="javascript")
    ticking.dountil(create_step(id="ticks", execute=tick), path("inputData.left") < 1).commit()
    options: Any = {"engine": engine, "steps": [nothing], "workflows": [ticking], "policies": {"mallory": STRICT}}
    with tempfile.TemporaryDirectory() as directory:
        async with Cloche(Path(directory, "store.db"), **options) as app:
            run = await app.tenant("calm").start(ticking, {"left": 1})
            await has_begun.wait()
            keep_what_is_loaded()
            watch = Watch()
            beats = asyncio.create_task(watch.beats())
            await attacked_beside(app, attack, SECONDS)
            beats.cancel()
            watch.end()
            await run.cancel()
    close = getattr(engine, "close", None)
    if close is not None:
        close()
    return watch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attacks", nargs="*", help="names of attacks, or what they begin with; all if none is named")
    parser.add_argument("--place", choices=list(PLACES), default="threads")
    parser.add_argument("--ms", type=float, default=60.0, help="pauses that are longer are told")
    options = parser.parse_args()
    for attack in ATTACKS:
        if options.attacks and not any(attack.name.startswith(name) for name in options.attacks):
            continue
        pauses = asyncio.run(watched(attack, options.place)).pauses
        late = sorted((pause for pause in pauses if pause.seconds * 1000 > options.ms), key=lambda one: -one.seconds)
        longest = max(pause.seconds for pause in pauses) * 1000
        own = max(pause.computed.get("MainThread", 0.0) for pause in pauses) * 1000
        print(
            f"{attack.name} ({options.place}): longest {longest:.0f} ms, {len(late)} long; the loop computed {own:.0f} at most",
            flush=True,
        )
        for pause in late[:4]:
            most = sorted(pause.computed.items(), key=lambda one: -one[1])[:6]
            told = ", ".join(f"{name} {seconds * 1000:.0f}" for name, seconds in most if seconds > 0.001)
            print(f"  {pause.seconds * 1000:.0f} ms; computed in ms: {told}")
            for stack, count in pause.seen.most_common(2):
                print(f"   {count} times\n{stack}", flush=True)


if __name__ == "__main__":
    main()
