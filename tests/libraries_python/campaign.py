"""Each program of `programs/` is run by this Python and under glass, with the bounds that runs have by default.

The libraries are those of `requirements.txt`, whose hashes pip checks; they are baked into guests that are kept in
`.cache/libraries-python`. Large libraries have a guest of their own, which imports them while it is baked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from guest.cells import SEED, pack, sequence

from cloche.errors import GuestFault, LoadFailed, MemoryExhausted
from cloche.sandbox import BaseImage, Cell, Limits, load_image
from cloche_guest import BuildFailed, derive_python, find_guest

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
CACHE = HERE.parents[1] / ".cache" / "libraries-python"
LARGE = {  # what a program needs besides itself is in its guest too
    "babel": ("babel",),
    "networkx": ("networkx",),
    "phonenumbers": ("phonenumbers",),
    "sympy": ("sympy", "mpmath"),
}
IMPORTED = {"networkx": ("networkx",), "phonenumbers": ("phonenumbers",), "sympy": ("sympy",)}
COMPLETE = 7
TAIL = """
from cloche import workflow as _workflow
@_workflow
async def _main(input): return program()
"""


class Unavailable(Exception):
    """The Python guest, or the way to the packages, is not here."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`why` it does not give CPython's answer; empty if it does. Bytes of the image's own pages."""

    name: str
    why: str
    image_bytes: int


def names() -> list[str]:
    return sorted(file.stem for file in PROGRAMS.glob("*.py"))


def installed() -> Path:
    """The folder with the libraries.

    Raises:
        Unavailable: with the reason.
    """
    lock = HERE / "requirements.txt"
    folder = CACHE / f"pip-{blake2b(lock.read_bytes() + sys.version.encode(), digest_size=8).hexdigest()}"
    if not (folder / "done").exists():
        options = ["--require-hashes", "--no-deps", "--no-compile", "--only-binary", ":all:", "--quiet", "--upgrade"]
        command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *options]
        done = subprocess.run(
            [*command, "--target", str(folder), "-r", str(lock)], capture_output=True, text=True, timeout=600
        )
        if done.returncode:
            raise Unavailable(f"pip could not fetch them: {done.stderr[-500:]}")
        (folder / "done").touch()
    return folder


def guest_for(name: str, folder: Path) -> BaseImage:
    """The guest with the libraries of a program.

    Raises:
        Unavailable: there is no guest, or none can be made.
    """
    plain = find_guest("python")
    if plain is None:
        raise Unavailable("the Python guest is not built: make guest-python")
    group = name if name in LARGE else "small"
    file = CACHE / f"{group}-{plain.digest[:12]}-{folder.name}.wasm"
    if not file.exists():
        try:
            derive_python(_packages(group, folder), file, imports=IMPORTED.get(group, ()))
        except BuildFailed as error:
            raise Unavailable(f"the guest with {group} cannot be baked: {error}") from error
    wasm = file.read_bytes()
    return BaseImage(blake2b(wasm, digest_size=32).hexdigest(), wasm)


def _packages(group: str, folder: Path) -> list[Path]:
    large = {package for packages in LARGE.values() for package in packages if package != "mpmath"}
    found = []
    for path in sorted(folder.iterdir()):
        is_module = path.suffix == ".py" or (path / "__init__.py").exists()
        own = path.stem in LARGE[group] if group in LARGE else path.stem not in large
        if (is_module and own) or (path.suffix == ".dist-info" and group == "small"):
            found.append(path)
    return found


def compared(programs: Sequence[str]) -> Iterator[Verdict]:
    """The verdict on each of the programs, in their order.

    Raises:
        Unavailable: with the reason.
    """
    folder = installed()
    bases: dict[str, BaseImage] = {}
    for name in programs:
        group = name if name in LARGE else "small"
        try:
            base = bases[group] = bases.get(group) or guest_for(name, folder)
        except MemoryExhausted as error:
            yield Verdict(name, f"its guest is too large: {_short(error)}", 0)
            continue
        wanted = _judged(name, folder)
        given, why, size = under_glass(base, (PROGRAMS / f"{name}.py").read_text("utf-8"))
        if not why and given != wanted:
            why = f"gives {_short(given)}, and CPython {_short(wanted)}"
        yield Verdict(name, why, size)


def _judged(name: str, folder: Path) -> Any:
    code = "import json, runpy, sys; print(json.dumps(runpy.run_path(sys.argv[1])['program']()))"
    command = [sys.executable, "-W", "ignore", "-c", code, str(PROGRAMS / f"{name}.py")]
    environment = {**os.environ, "PYTHONPATH": str(folder), "TZ": "UTC"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    return json.loads(done.stdout) if done.returncode == 0 else f"fails: {done.stderr[-300:]}"


def under_glass(base: BaseImage, program: str) -> tuple[Any, str, int]:
    """What the program gives, or why it gives nothing; and how many bytes of pages its image has."""
    limits = Limits()
    try:
        image = load_image(base, program + TAIL, limits)
        size = image.page_count * 4096
        *_, last = [
            one for one in sequence(Cell(image, limits).turn([pack([0, 0, SEED, None, {}])])) if one is not None
        ]
    except LoadFailed as error:
        return None, f"does not load: {_short(error)}", 0
    except GuestFault as error:
        return None, f"is stopped: {_short(error)}", 0
    if last[0] != COMPLETE:
        return None, f"fails: {_short(last[1]['name'])}: {_short(last[1]['message'])}", size
    return last[1], "", size


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 200 else text[:200] + "…"
