"""The tests of tc39/test262, one scenario (file × sloppy, strict, module) in one cell.

They are read from a checkout of the commit below, which `TEST262` names; nothing of them is kept here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path

from guest.cells import FAIL, LOG, Cell, GuestStopped

COMMIT = "be13516fb6441b950ba8a3df97eb34062c186972"
PARTS = ("test/language", "test/built-ins", "test/annexB")
FUEL = 20_000_000_000
ABSENT = {  # of the engine, or of the guest on purpose
    "Temporal", "ShadowRealm", "import-defer", "source-phase-imports", "SharedArrayBuffer", "Atomics", "Atomics.waitAsync",
    "Atomics.pause", "tail-call-optimization", "cross-realm", "host-gc-required", "IsHTMLDDA", "CanBlockIsFalse",
    "import-bytes", "import-text", "joint-iteration", "explicit-resource-management", "decorators",
    "nonextensible-applies-to-private", "immutable-arraybuffer", "await-dictionary", "iterator-sequencing",
}  # fmt: skip
_IMPORTS = re.compile(
    r"_FIXTURE|(?:from|import)\s*\(?\s*['\"]\./|import\("
)  # files beside it, which a workflow has not
_HEAD = re.compile(r"/\*---.*?---\*/", re.DOTALL)
_LEXICAL = re.compile(r"^(?:const|let) (\w+)", re.MULTILINE)  # would be seen nowhere else
NOT_HERE = {  # holds for a script, and not where it is evaluated; begins with a hashbang, and the harness stands before it
    "test/language/expressions/delete/11.4.1-5-3.js", "test/language/comments/hashbang/module.js",
}  # fmt: skip
KNOWN = Path(__file__).with_name("known.txt")
DRIVER = """
globalThis.$262 = { global: globalThis, gc() {}, evalScript: (0, eval),
  AbstractModuleSource: function () { throw new TypeError() },
  createRealm() { throw new Error("no realms") }, detachArrayBuffer: (buffer) => { buffer.transfer() } };
globalThis.print = (text) => console.log(String(text));
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    path: str
    mode: str  # sloppy, strict, module, raw

    def __str__(self) -> str:
        return f"{self.path} ({self.mode})"


@dataclass(frozen=True, slots=True)
class Header:
    """What the front matter of a test says."""

    flags: frozenset[str]
    features: frozenset[str]
    includes: tuple[str, ...]
    negative: tuple[str, str] | None  # phase and name

    @classmethod
    def of(cls, text: str) -> Header:
        found = re.search(r"/\*---(.*?)---\*/", text, re.DOTALL)
        head = found[1].replace("\r", "\n") if found else ""
        phase = re.search(r"negative:\s*\n\s+phase: (\w+)\s*\n\s+type: (\w+)", head)
        phase = phase or re.search(r"negative:\s*\n\s+type: (?P<name>\w+)\s*\n\s+phase: (?P<phase>\w+)", head)
        negative = (phase[1], phase[2]) if phase else None
        return cls(
            frozenset(_list(head, "flags")), frozenset(_list(head, "features")), _list(head, "includes"), negative
        )


def _list(head: str, name: str) -> tuple[str, ...]:
    if found := re.search(rf"^\s*{name}:\s*\[(.*?)\]", head, re.MULTILINE | re.DOTALL):
        return tuple(part.strip() for part in found[1].split(",") if part.strip())
    if found := re.search(rf"^\s*{name}:\s*\n((?:\s+- .*\n?)+)", head, re.MULTILINE):
        return tuple(line.strip()[2:].strip() for line in found[1].splitlines() if line.strip())
    return ()


def checkout() -> Path | None:
    """A folder with its files, if `TEST262` names a repository that has the commit (a bare one too)."""
    named = os.environ.get("TEST262")
    if not named:
        return None
    kept = Path(__file__).parents[2] / ".cache" / "test262" / COMMIT
    if not kept.exists():
        part = kept.with_suffix(f".{os.getpid()}")
        part.mkdir(parents=True)
        archive = subprocess.run(
            ["git", "-C", named, "archive", COMMIT, "test", "harness"], check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "-x", "-C", str(part)], input=archive, check=True)
        part.rename(kept)
    return kept


def scenarios(root: Path, share: float = 1.0) -> Iterator[Scenario]:
    """Those that are meant for this guest; of all, a `share` that the hash of their names picks."""
    for part in PARTS:
        for file in sorted((root / part).rglob("*.js")):
            path = str(file.relative_to(root))
            if (
                path.endswith("_FIXTURE.js")
                or int(blake2b(path.encode(), digest_size=4).hexdigest(), 16) > share * 2**32
            ):
                continue
            text = file.read_text("utf-8", "surrogateescape")
            header = Header.of(text)
            if _IMPORTS.search(text) or path in NOT_HERE:
                continue
            if (
                header.features & ABSENT
                or header.flags & {"CanBlockIsTrue", "CanBlockIsFalse"}
                or "atomicsHelper.js" in header.includes
            ):
                continue
            if "module" in header.flags:
                yield Scenario(path, "module")
            elif "raw" in header.flags:
                yield Scenario(path, "raw")
            else:
                if "onlyStrict" not in header.flags:
                    yield Scenario(path, "sloppy")
                if "noStrict" not in header.flags:
                    yield Scenario(path, "strict")


def run(root: Path, scenario: Scenario) -> str:
    """Why it does not pass; empty if it does."""
    text = (root / scenario.path).read_text("utf-8", "surrogateescape")
    header = Header.of(text)
    harness = "" if scenario.mode == "raw" else _harness(root, header)
    cell = Cell()
    cell.store.set_fuel(FUEL)
    try:
        if scenario.mode == "module":
            thrown = _module(cell, harness, text)
        else:
            code = ('"use strict";\n' if scenario.mode == "strict" else "") + text
            thrown = _script(cell, harness, code)
    except GuestStopped as stopped:
        thrown = (
            (stopped.failure or {}).get("name", f"fault {stopped.code}"),
            str((stopped.failure or {}).get("message")),
        )
        if thrown[1].startswith("the code has no workflow"):  # it ran to its end, and its default export is a value
            thrown = None
    except Exception as error:
        thrown = type(error).__name__, str(error)[:100]
    if thrown and thrown[1].startswith("Test262Error"):  # an object that is no error, with a text of its own
        thrown = "Test262Error", thrown[1]
    if header.negative is not None:
        return "" if thrown and thrown[0] == header.negative[1] else f"not {header.negative[1]} but {thrown}"
    if thrown:
        return f"{thrown[0]}: {thrown[1]}"[:200]
    return ""


def known() -> dict[str, str]:
    """The scenarios that do not pass, and why: the last heading (`# …`) before them in known.txt."""
    found, why = {}, ""
    for line in KNOWN.read_text("utf-8").splitlines():
        if line.startswith("#"):
            why = line.removeprefix("# ")
        elif line:
            found[line] = why
    return found


def _harness(root: Path, header: Header) -> str:
    names = ["assert.js", "sta.js", *(["doneprintHandle.js"] if "async" in header.flags else []), *header.includes]
    return DRIVER + "".join(_included(root, name) for name in dict.fromkeys(names))


@cache
def _included(root: Path, name: str) -> str:
    return (root / "harness" / name).read_text("utf-8") + "\n"


def _script(cell: Cell, harness: str, code: str) -> tuple[str, str] | None:
    """Each by itself: what a strict text declares is its own where it is evaluated, and the harness is for all."""
    cell.load(
        "const never = new Promise(() => {}); export default (input) => { for (const t of input) (0, eval)(t); return never }"
    )
    return _thrown(cell, [_LEXICAL.sub(r"var \1", harness), code])


def _module(cell: Cell, harness: str, code: str) -> tuple[str, str] | None:
    """A module has no default export mostly: one is added, unless there is one."""
    export = (
        ""
        if re.search(r"export\s+default|as default", _HEAD.sub("", code))
        else "\nexport default () => new Promise(() => {});"
    )
    cell.load(f"(0, eval)({json.dumps(harness)});" + code + export)
    return _thrown(cell, None) if export else None


def _thrown(cell: Cell, given: object) -> tuple[str, str] | None:
    commands = cell.start(given)
    for command in commands:
        if command[0] == FAIL:
            return command[1]["name"], command[1]["message"]
        if command[0] == LOG and "Test262:AsyncTestFailure" in command[2]:
            return "AsyncTestFailure", command[2]
    is_asynchronous = isinstance(given, list) and "function $DONE" in given[0]
    is_done = any(command[0] == LOG and "Test262:AsyncTestComplete" in command[2] for command in commands)
    return ("NotDone", "it did not end") if is_asynchronous and not is_done else None
