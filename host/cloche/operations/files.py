"""Several files as one source: a workflow's module, and in a last line the files that it brings along (`guest/ABI.md`).

Here they are only put together. What they are is found out under glass, in a process of the tenant's: a wheel is unpacked
there.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from cloche.engines.files import MARK
from cloche.errors import UsageError

_PATH = re.compile(r"(?!\.{1,2}/)[^\x00-\x1f\x7f\\/]+(?:/(?!\.{1,2}(?:/|$))[^\x00-\x1f\x7f\\/]+)*")
_OURS = ("cloche", "_cloche", "_world")
_PASSED_OVER = ("__pycache__", ".venv", "node_modules")
FILES_MAX = 10_000


def bundled(files: Mapping[str, str | bytes], main: str) -> str:
    """One source of `files` (path with `/` -> text, or bytes) whose workflow is in `main`. Equal files give equal texts.

    Raises:
        UsageError: `main` is not among them or no Python, or a path is none that a module or a file beside it can have.
    """
    if not isinstance(files, Mapping) or not all(isinstance(path, str) for path in (main, *files)):
        raise UsageError("files are a mapping, of the path of each to its text or bytes")
    if main not in files:
        raise UsageError(f"the main file {main} is not among the files: {', '.join(sorted(files)[:10])}")
    if not main.endswith(".py"):
        raise UsageError(f"{main} is not Python: several files make a Python workflow; JavaScript is bundled into one")
    for path in files:
        _check(path)
    others = {path: _content(path, content) for path, content in sorted(files.items()) if path != main}
    text = _text(main, files[main])
    if not others:
        return text
    return text.rstrip("\n") + MARK + json.dumps(others, sort_keys=True, separators=(",", ":"))


def _check(path: str) -> None:
    if not _PATH.fullmatch(path):
        raise UsageError(f"{path!r} is no path of a file: write it from the folder on, with / between names")
    if path.partition("/")[0].removesuffix(".py") in _OURS:
        raise UsageError(f"{path} has a name that the guest itself has")


def _content(path: str, content: str | bytes) -> str | dict[str, str]:
    if path.endswith(".py") or isinstance(content, str):
        return _text(path, content)
    return {"base64": base64.b64encode(content).decode()}


def _text(path: str, content: str | bytes) -> str:
    try:
        text = content if isinstance(content, str) else content.decode()
        text.encode()
    except UnicodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error}") from error
    return text


def read_folder(folder: Path, size_max: int) -> dict[str, bytes]:
    """The files of a folder, by path; hidden ones and what tools leave behind are passed over.

    Raises:
        UsageError: they are more than `size_max` bytes or `FILES_MAX` files, or cannot be read.
    """
    found: dict[str, bytes] = {}
    size = 0
    try:
        for root, folders, names in os.walk(folder):
            folders[:] = sorted(one for one in folders if one[0] != "." and one not in _PASSED_OVER)
            for name in sorted(names):
                file = Path(root, name)
                if name[0] == "." or file.suffix == ".pyc" or not file.is_file():
                    continue
                size += file.stat().st_size
                if size > size_max or len(found) >= FILES_MAX:
                    raise UsageError(
                        f"{folder} has more than {size_max} bytes or {FILES_MAX} files: it cannot be deployed"
                    )
                found[file.relative_to(folder).as_posix()] = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error}") from error
    return found
