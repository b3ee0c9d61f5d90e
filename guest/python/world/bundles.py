"""A source that brings other files along: its last line is a comment, `# cloche:files`, with all of them as JSON.

So the lines of the source are those of its author, and the whole is one text with one digest. A file is text, or bytes as
`{"base64": …}`; a wheel (`.whl`) is what is in it. Those whose path is that of a module can be imported; all of them can be
read beside it.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from typing import Any, Final

from . import store

MARK: Final = "\n# cloche:files "


def _unpacked(wheel: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        return {one.filename: archive.read(one) for one in archive.infolist() if not one.is_dir()}


def opened(source: str) -> str:
    """The source without the files, which are put into the store.

    Raises:
        ValueError: what follows the mark is not JSON.
        zipfile.BadZipFile: a wheel is none.
    """
    own, mark, rest = source.rpartition(MARK)
    if not mark or "\n" in rest:
        return source
    found: dict[str, Any] = json.loads(rest)
    modules: dict[str, tuple[str | bytes, bool]] = {}
    files: dict[str, bytes] = {}
    for path, content in found.items():
        data = content.encode() if isinstance(content, str) else base64.b64decode(content["base64"])
        inside = _unpacked(data) if path.endswith(".whl") else {path: data}
        for name, one in inside.items():
            if name.endswith(".py"):
                module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                modules[module] = (store.Raw(one), name.endswith("/__init__.py"))
            else:
                files[name] = one
    for name in list(modules):  # folders without an `__init__.py` are packages too
        while name := name.rpartition(".")[0]:
            modules.setdefault(name, ("", True))
    store.add(modules, files)
    return own + "\n"
