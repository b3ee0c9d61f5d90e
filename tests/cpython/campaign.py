"""Modules of CPython's own tests, each loaded as a tenant loads several files, each test in a cell of its own.

They are read from the folder `test` of a CPython 3.14: that which `CPYTHON_TESTS` names, or that of Debian's package below,
which is fetched by its name and hash where the machine has Debian's tools, or that of a `python3.14` of the machine.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from cbor2 import CBORDecodeError
from guest.cells import NOW, SEED, pack, sequence

from cloche.errors import ClocheError, GuestFault, LoadFailed
from cloche.history.limits import Limits
from cloche.sandbox import BaseImage, Cell, base_image, load_image
from cloche_guest import find_guest

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "cpython"
VERSION, SUITE = "3.14.8-1", "forky"
PACKAGES = {  # the tests, and what they share
    "libpython3.14-testsuite": "072cc5c4b9468efdc60deceece230c7009bf65e2638a104597202eb32673135f",
    "libpython3.14-stdlib:amd64": "abfa1b45e311461a4f8ee110d203efbc18808fada340af7036235b0d0c4cfd9a",
}
KNOWN = HERE / "known.txt"
COMPLETE = 7
LEFT_OUT = "bz2 and its encoding, and the documentation and sources of the library, which are left out"
LATER = "by what it says, what 3.14.1 to 3.14.8 changed or mended: the tests are those of 3.14.8"
DATA = {  # of a module: folders and files that it reads
    "test_argparse": ["translationdata"],
    "test_baseexception": ["exception_hierarchy.txt"],
    "test_charmapcodec": ["testcodec.py"],
    "test_cmath": ["mathdata"],
    "test_configparser": ["configdata"],
    "test_decimal": ["decimaltestdata"],
    "test_exception_hierarchy": ["exception_hierarchy.txt"],
    "test_float": ["mathdata"],
    "test_fractions": ["mathdata"],
    "test_getopt": ["translationdata"],
    "test_grammar": ["typinganndata"],
    "test_inspect": ["typinganndata"],
    "test_math": ["mathdata"],
    "test_mimetypes": ["mime.types", "mime.types2"],
    "test_opcodes": ["typinganndata"],
    "test_traceback": ["levenshtein_examples.json"],
    "test_type_aliases": ["typinganndata"],
    "test_optparse": ["translationdata"],
    "test_random": ["randv2_32.pck", "randv2_64.pck", "randv3.pck"],
    "test_sax": ["xmltestdata"],
    "test_str": ["encoded_modules"],
    "test_tokenize": ["tokenizedata"],
    "test_type_annotations": ["typinganndata"],
    "test_typing": ["typinganndata"],
    "test_unicode_identifiers": ["tokenizedata"],
    "test_utf8source": ["tokenizedata"],
    "test_xml_etree": ["xmltestdata"],
    "test_xml_etree_c": ["xmltestdata"],
}
# Of this repository's choice: modules about the language, numbers, texts, collections and the pure part of the library. Those
# about what is outside (files, processes, sockets, threads, the interpreter's own machinery) are not among them.
MODULES = (HERE / "modules.txt").read_text("utf-8").split()
_C_TESTS = r"No module named '(?:_test|_xx|xx|_ctypes_test)|_testcapi|_testinternalcapi|_testlimitedcapi|_testbuffer"
PURPOSE = (  # in what a test fails with: it asks for what is absent on purpose
    (
        "outside of a workflow",
        re.compile(
            r"outside of a workflow|OutsideError|script_helper|SkipTest:|'(?:http|socketserver|smtplib|big_o)\b"
        ),
    ),
    ("C modules of the tests", re.compile(_C_TESTS)),
)
# What tests import at their top and is not in the guest: that which uses it fails.
STUBS = {
    "idlelib.py": "",
    "test/test_tools/__init__.py": """import unittest
def skip_if_missing(tool=None): raise unittest.SkipTest("the tools of CPython's sources are not here")
""",
}


class Unavailable(Exception):
    """The Python guest, or the tests, are not here."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a test ended: passes, skips, absent (it asks for what is absent on purpose), fails, and why."""

    test: str
    end: str
    why: str


def suite_folder() -> Path:
    """The folder `test`.

    Raises:
        Unavailable: with what to do.
    """
    if named := os.environ.get("CPYTHON_TESTS"):
        return _checked(Path(named))
    kept = CACHE / f"debian-{VERSION}"
    if not kept.exists() and not _fetched(kept):
        if python := shutil.which("python3.14"):
            code = "import test; print(test.__path__[0])"
            done = subprocess.run([python, "-c", code], capture_output=True, text=True)
            if done.returncode == 0:
                return _checked(Path(done.stdout.strip()))
        raise Unavailable(
            f"Debian's packages {VERSION} could not be fetched: CPYTHON_TESTS names the folder `test` of a CPython 3.14"
        )
    return _checked(next(kept.glob("usr/lib/python3*/test")))


def _checked(folder: Path) -> Path:
    if not (folder / "support" / "__init__.py").exists():
        raise Unavailable(f"{folder} is no folder with CPython's tests: it has no support/__init__.py")
    return folder


def _fetched(kept: Path) -> bool:
    """Debian's package, from where this machine has its packages: the keys are the machine's, the hash is ours."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return False
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        settings = _apt(Path(work))
        if settings is None:
            return False
        environment = {**os.environ, "APT_CONFIG": str(settings)}
        wanted = [f"{name}={VERSION}" for name in PACKAGES]
        for command in (["apt-get", "-qq", "update"], ["apt-get", "-qq", "download", *wanted]):
            done = subprocess.run(command, cwd=work, env=environment, capture_output=True, timeout=300)
            if done.returncode:
                return False
        archives = sorted(Path(work).glob("*.deb"))
        if {sha256(one.read_bytes()).hexdigest() for one in archives} != set(PACKAGES.values()):
            return False
        for one in archives:
            subprocess.run(["dpkg-deb", "-x", str(one), f"{work}/root"], check=True)
        os.rename(f"{work}/root", kept)
    return True


def _apt(work: Path) -> Path | None:
    """Settings of apt's with lists of their own, so that nothing of the machine's changes."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"], capture_output=True, text=True
    )
    places = [line for line in done.stdout.splitlines() if "security" not in line]
    keys = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if not places or not keys.exists():
        return None
    (work / "lists" / "partial").mkdir(parents=True)
    (work / "cache" / "archives" / "partial").mkdir(parents=True)
    (work / "sources.list").write_text(f"deb [signed-by={keys}] {places[0]} {SUITE} main\n")
    file = work / "apt.conf"
    file.write_text(
        f'Dir::State::Lists "{work}/lists";\nDir::Cache "{work}/cache";\nDir::Etc::SourceParts "/dev/null";\n'
        f'Dir::Etc::SourceList "{work}/sources.list";\nAPT::Sandbox::User "root";\n'
    )
    return file


def plain_guest() -> BaseImage:
    """The guest.

    Raises:
        Unavailable: it is not built.
    """
    plain = find_guest("python")
    if plain is None:
        raise Unavailable("the Python guest is not built: make guest-python")
    return base_image(plain.digest, plain.wasm)


def run(base: BaseImage, folder: Path, module: str) -> Iterator[Verdict]:
    """The verdict on each test of a module; one on the module alone, where it cannot be loaded."""
    limits = Limits(
        fuel_per_event=10_000_000_000, fuel_per_load=40_000_000_000, memory_bytes=256 << 20, image_bytes=128 << 20
    )
    try:
        image = load_image(base, _source(folder, module), limits)
        names = _answer(Cell(image, limits), None)
    except (LoadFailed, GuestFault) as error:
        yield _judged(f"test.{module}", "fails", str(error))
        return
    for number, name in enumerate(names):
        try:
            end, why = _answer(Cell(image, limits), number)
        except (ClocheError, CBORDecodeError) as error:  # the second of a text that CPython has broken
            end, why = "fails", f"{type(error).__name__}: {error}"
        yield _judged(name, end, why)


def _judged(name: str, end: str, why: str) -> Verdict:
    name = name.removeprefix("test.")
    if end == "fails":
        for reason, pattern in PURPOSE:
            if pattern.search(why):
                return Verdict(name, "absent", reason)
    return Verdict(name, end, " ".join(why.split())[-300:])


def _answer(cell: Cell, number: int | None) -> Any:
    *_, last = [one for one in sequence(cell.turn([pack([0, NOW, SEED, number, {}])])) if one is not None]
    return last[1] if last[0] == COMPLETE else ("fails", f"{last[1]['name']}: {last[1]['message']}")


def _source(folder: Path, module: str) -> str:
    files = _files(folder, module)
    names = sorted(path.removesuffix(".py").replace("/", ".") for path in files if path.startswith(f"test/{module}/"))
    inner = [name for name in names if "__" not in name and f"{name.replace('.', '/')}.py" in files]
    head = f"MODULE, INNER = {module!r}, {inner!r}\n"
    return head + (HERE / "inside.py").read_text("utf-8").rstrip("\n") + "\n# cloche:files " + json.dumps(files)


def _files(folder: Path, module: str) -> dict[str, str | dict[str, str]]:
    """The module, with what it reads, and what it shares with others."""
    found = [path for path in sorted(folder.glob("*.py")) if not path.name.startswith("test_")]
    found += sorted((folder / "support").rglob("*.py"))
    for name in [*_with_others(folder, module), *DATA.get(module, [])]:
        path = folder / name
        found += [one for one in sorted(path.rglob("*")) if one.is_file()] if path.is_dir() else [path]
    return STUBS | {
        f"test/{one.relative_to(folder).as_posix()}": _content(one)
        for one in found
        if one.exists() and one.suffix != ".pyc"
    }


_OTHER = re.compile(r"\btest\.(test_\w+)|from test import (test_\w+)")


def _with_others(folder: Path, module: str) -> list[str]:
    """The module, and those of other tests that it takes something from."""
    found: list[str] = []
    todo = [module]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.append(name)
        for path in (folder / f"{name}.py", *sorted((folder / name).glob("*.py"))):
            if path.exists():
                todo += [one or other for one, other in _OTHER.findall(path.read_text("utf-8", "replace"))]
    return [file for name in found for file in (f"{name}.py", name)]


def _content(file: Path) -> str | dict[str, str]:
    data = file.read_bytes()
    try:
        return data.decode() if file.suffix == ".py" else {"base64": base64.b64encode(data).decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


@cache
def known() -> dict[str, str]:
    """Tests that fail, as patterns of their names, and why: the last heading (`# …`) before them in known.txt."""
    found, why = {}, ""
    for line in KNOWN.read_text("utf-8").splitlines():
        if line.startswith("#"):
            why = line.removeprefix("# ")
        elif line:
            found[line] = why
    return found


def reason_of(test: str) -> str:
    """Why a test that fails does; empty if that is not known."""
    return next((why for pattern, why in known().items() if fnmatchcase(test, pattern)), "")
