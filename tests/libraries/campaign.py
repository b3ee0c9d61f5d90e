"""Each program of `programs/` is bundled, run by Node.js and run under glass with the bounds that runs have by default.

The libraries are those of `package-lock.json`, whose hashes npm checks; nothing of them is executed before, and they
are kept in `.cache/libraries`. Timers fire at once, in the order in which they are due.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from guest.cells import COMPLETE, FAIL, FUEL, NOW, TIMER, Cell, GuestStopped

from cloche import Limits

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
CACHE = HERE.parents[1] / ".cache" / "libraries"
TIMERS_MAX = 500
DOES_NOT_END = "waits for something that never comes"


class Unavailable(Exception):
    """Node.js, npm or the way to its registry is not here."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`why` it does not give Node's answer; empty if it does. Sizes in bytes, fuel of evaluating the bundle."""

    name: str
    why: str
    bundle_bytes: int
    load_fuel: int


def prepare() -> Path:
    """The folder with the bundles, made once for each state of the programs and the lock.

    Raises:
        Unavailable: with the reason.
    """
    files = [HERE / "package-lock.json", HERE / "bundle.mjs", *sorted(PROGRAMS.glob("*.js"))]
    key = blake2b(b"".join(file.read_bytes() for file in files), digest_size=8).hexdigest()
    bundles = CACHE / f"bundles-{key}"
    if not bundles.exists():
        part = CACHE / f"part-{os.getpid()}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        failed = json.loads(_node(str(HERE / "bundle.mjs"), str(PROGRAMS), str(_modules()), str(part)))
        if failed:
            raise Unavailable(f"the programs could not be bundled: {failed}")
        part.rename(bundles)
    return bundles


def _modules() -> Path:
    lock = (HERE / "package-lock.json").read_bytes()
    folder = CACHE / f"npm-{blake2b(lock, digest_size=8).hexdigest()}"
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder / name)
        _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], folder)
        (folder / "done").touch()
    return folder / "node_modules"


def _node(*arguments: str) -> str:
    return _run(["node", *arguments], HERE)


def _run(command: Sequence[str], folder: Path) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not on this machine") from None
    if done.returncode:
        raise Unavailable(f"{' '.join(command[:2])} failed: {done.stderr[-500:]}")
    return done.stdout


def compared(bundles: Path, names: Sequence[str]) -> Iterator[Verdict]:
    """The verdict on each of the programs, in their order."""
    with ThreadPoolExecutor(2) as pool:
        wanted = dict(zip(names, pool.map(lambda name: _judged(bundles / f"{name}.js"), names), strict=True))
    for name in names:
        source = (bundles / f"{name}.js").read_text("utf-8")
        given, why, load_fuel = under_glass(source)
        if not why and given != wanted[name]:
            why = f"gives {_short(given)}, and Node {_short(wanted[name])}"
        yield Verdict(name, why, len(source.encode()), load_fuel)


def _judged(bundle: Path) -> Any:
    try:
        return json.loads(_node(str(HERE / "judge.mjs"), str(bundle)))
    except Unavailable as failed:  # then nothing is right
        return f"fails: {failed}"


def under_glass(source: str) -> tuple[Any, str, int]:
    """What the program gives, as JSON would have it; or why it gives nothing; and the fuel that its load took."""
    limits = Limits()
    cell = Cell(memory_bytes_max=limits.memory_bytes)
    cell.store.set_fuel(limits.fuel_per_load)
    try:
        cell.load(source)
    except GuestStopped as stopped:
        return None, f"does not load: {_said(stopped.failure)}", 0
    except Exception as error:  # a trap: out of fuel, most likely
        return None, f"is stopped while it loads: {str(error)[:80]}", 0
    load_fuel = limits.fuel_per_load - cell.store.get_fuel()
    cell.store.set_fuel(FUEL)
    try:
        return *_led(cell), load_fuel
    except Exception as error:
        return None, f"is stopped: {str(error)[:80]}", load_fuel


def _led(cell: Cell) -> tuple[Any, str]:
    waiting: list[tuple[int, int]] = []
    now, commands = NOW, cell.start()
    for _ in range(TIMERS_MAX):
        for command in commands:
            if command[0] == COMPLETE:
                return _as_json(command[1]), ""
            if command[0] == FAIL:
                return None, f"fails: {_said(command[1])}"
            if command[0] == TIMER:
                waiting.append((command[3], command[1]))
            if command[0] == 9:
                waiting = [timer for timer in waiting if timer[1] != command[1]]
        if not waiting:
            return None, DOES_NOT_END
        due, call = min(waiting)
        waiting.remove((due, call))
        now = max(now, due)
        commands = cell.turn([4, now, call])
    return None, "sets timers without end"


def _as_json(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case list():
            return [_as_json(item) for item in value]
        case dict():
            return {key: _as_json(item) for key, item in value.items()}
    return value


def _said(failure: Any) -> str:
    return _short(f"{failure['name']}: {failure['message']}")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 160 else text[:160] + "…"
