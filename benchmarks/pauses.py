"""Where the event loop stands still beside an attack: `python -m benchmarks.pauses [ATTACK …] [--place threads] [--ms 60]`.

The loop beats every 5 ms. A thread watches it: where a beat is late it looks at what the loop's thread does, again and again,
and says at the end how long each pause was and what was seen most often in it. Where one call holds the interpreter's lock the
thread cannot look: what it sees right after is still that call.
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
from pathlib import Path

from benchmarks.attacks import ATTACKS, STRICT, Attack, attacked_beside, nothing
from benchmarks.neighbours import PLACES
from cloche import Cloche

BEAT_S, LOOK_S, SECONDS = 0.005, 0.003, 2.0
FRAMES = 14


class Watch:
    """Looks at the thread that made it, where its beats are late."""

    def __init__(self) -> None:
        self.pauses: list[tuple[float, Counter[str]]] = []
        self._thread, self._beat, self._ends = threading.get_ident(), time.perf_counter(), False
        self._seen: Counter[str] = Counter()
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
        self.pauses.append((late, seen))

    def end(self) -> None:
        self._ends = True
        self._watcher.join()

    def _watch(self) -> None:
        while not self._ends:
            time.sleep(LOOK_S)
            if time.perf_counter() - self._beat > 2 * BEAT_S:
                frame = sys._current_frames().get(self._thread)
                stack = traceback.extract_stack(frame)[-FRAMES:]
                self._seen[
                    "\n".join(f"    {'/'.join(Path(f.filename).parts[-2:])}:{f.lineno} {f.name}" for f in stack)
                ] += 1


async def watched(attack: Attack, place: str) -> Watch:
    engine = PLACES[place]()
    with tempfile.TemporaryDirectory() as directory:
        async with Cloche(
            Path(directory, "store.db"), engine=engine, steps=[nothing], policies={"mallory": STRICT}
        ) as app:
            watch = Watch()
            beats = asyncio.create_task(watch.beats())
            await attacked_beside(app, attack, SECONDS)
            beats.cancel()
            watch.end()
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
        late = sorted((pause for pause in pauses if pause[0] * 1000 > options.ms), key=lambda one: -one[0])
        print(
            f"{attack.name} ({options.place}): longest {max(p for p, _ in pauses) * 1000:.0f} ms, {len(late)} long",
            flush=True,
        )
        for pause, seen in late[:4]:
            print(f"  {pause * 1000:.0f} ms")
            for stack, count in seen.most_common(2):
                print(f"   {count} times\n{stack}", flush=True)


if __name__ == "__main__":
    main()
