"""The files of the store, as programs read files: nothing else can be opened, and nothing can be written."""

from __future__ import annotations

import builtins
import errno
import importlib.metadata
import io
import os
import posix
import re
import sys
from collections.abc import Iterator
from importlib.resources.abc import Traversable, TraversableResources
from pathlib import PurePosixPath
from stat import S_ISDIR
from typing import Any, Self

from . import store
from .refusals import refusal

_FILE_MODE, _FOLDER_MODE = 0o100444, 0o040555


def _path(path: Any) -> str | None:
    """A path under the store's root, without `.` and `..`; None for others."""
    if isinstance(path, int):
        return None
    text = os.path.normpath(os.fsdecode(path))
    return text if f"{text}/".startswith(store.ROOT) else None


def _children(path: str) -> list[str]:
    """The names in a folder of the store."""
    inner = path[len(store.ROOT) :].strip("/")
    start = f"{inner}/" if inner else ""
    found = (one[len(start) :].partition("/")[0] for one in store.paths() if one.startswith(start))
    return list(dict.fromkeys(found))


def _none_there(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


class _File(io.BytesIO):
    name: str  # as files have it: `configparser` and others tell it in their errors


def _opened(path: str, mode: str, encoding: str | None, errors: str | None, newline: str | None) -> Any:
    found = store.content(path)
    if found is None:
        raise _none_there(path)
    data = _File(found)
    data.name = path
    return data if "b" in mode else io.TextIOWrapper(data, encoding or "utf-8", errors, newline)


def _stat(path: str) -> os.stat_result:
    found = store.content(path)
    if found is None and not _children(path):
        raise _none_there(path)
    mode, size = (_FOLDER_MODE, 0) if found is None else (_FILE_MODE, len(found))
    return os.stat_result((mode, 0, 0, 1, 0, 0, size, 0, 0, 0))


def _listed(path: str) -> list[str]:
    found = _children(path)
    if not found:
        raise _none_there(path)
    return found


class _Entry:
    """What `os.scandir` tells of a file or folder; `os.walk` and `Path.rglob` ask it."""

    def __init__(self, folder: str, name: str) -> None:
        self.name, self.path = name, os.path.join(folder, name)

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return S_ISDIR(_stat(self.path).st_mode)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return not self.is_dir()

    def is_symlink(self) -> bool:
        return False

    is_junction = is_symlink

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return _stat(self.path)

    def __fspath__(self) -> str:
        return self.path


class _Scanned(list[_Entry]):
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to close."""

    close = __exit__


def _scanned(path: str) -> _Scanned:
    return _Scanned(_Entry(path, name) for name in _listed(path))


_walk = os.walk


def let_through() -> None:
    """`open`, `os.stat`, `os.listdir` and `os.scandir` have the store's files, and refuse all others."""

    def opening(name: str) -> Any:
        refused = refusal(name)

        def open(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            *_: object,
            **__: object,
        ) -> Any:
            path = _path(file)
            is_read = not set(mode) & set("wax+")
            return _opened(path, mode, encoding, errors, newline) if path and is_read else refused()

        return open

    loader: Any = store.Store
    loader.get_resource_reader = staticmethod(lambda name: Reader(store.file_of(name).rpartition("/")[0]))
    loader.find_distributions = staticmethod(lambda context: distributions(context.name))
    plain = builtins.open
    builtins.open = opening("builtins.open")
    for module in (io, sys.modules["_io"]):
        module.open = opening("io.open")  # type: ignore[attr-defined]
        module.open_code = refusal("io.open_code")  # type: ignore[attr-defined]
    for module in (os, posix):
        for name, function in {"stat": _stat, "lstat": _stat, "listdir": _listed, "scandir": _scanned}.items():
            setattr(module, name, _of_store(function, refusal(f"{module.__name__}.{name}")))
    os.walk = _of_store(_walk, refusal("os.walk"))
    for module in list(sys.modules.values()):
        for name in [name for name, value in vars(module).items() if value is plain]:
            vars(module)[name] = builtins.open  # `tokenize` and others have it by a name of their own


def _of_store(function: Any, refused: Any) -> Any:
    def within(path: Any = ".", *_: object, **__: object) -> Any:
        found = _path(path)
        return function(found) if found else refused()

    return within


class _Node(Traversable):
    """A file or a folder of the store."""

    def __init__(self, path: str) -> None:
        self._path = path

    @property
    def name(self) -> str:
        return self._path.rpartition("/")[2]

    def iterdir(self) -> Iterator[Traversable]:
        return (_Node(f"{self._path}/{name}") for name in _children(self._path))

    def is_file(self) -> bool:
        return store.content(self._path) is not None

    def is_dir(self) -> bool:
        return not self.is_file() and bool(_children(self._path))

    def joinpath(self, *descendants: Any) -> Traversable:
        return _Node(os.path.normpath(os.path.join(self._path, *map(os.fspath, descendants))))

    __truediv__ = joinpath

    def open(self, mode: str = "r", *_: object, **options: Any) -> Any:
        return _opened(self._path, mode, options.get("encoding"), options.get("errors"), options.get("newline"))

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        found: str = self.open("r", encoding=encoding, errors=errors).read()
        return found

    def read_bytes(self) -> bytes:
        found: bytes = self.open("rb").read()
        return found

    def __str__(self) -> str:
        return self._path

    __fspath__ = __str__


class Reader(TraversableResources):
    """`importlib.resources` of a package of the store."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def files(self) -> Traversable:
        return _Node(self._folder)


class _Distribution(importlib.metadata.Distribution):
    def __init__(self, folder: str) -> None:
        self._folder = folder

    def read_text(self, filename: Any) -> str | None:
        found = store.content(f"{self._folder}/{filename}")
        return None if found is None else found.decode()

    def locate_file(self, path: Any) -> Any:
        return PurePosixPath(store.ROOT) / path


def distributions(name: str | None) -> Iterator[_Distribution]:
    """What `importlib.metadata` finds: folders `NAME-VERSION.dist-info` of the store."""
    wanted = None if name is None else _normal(name)
    for folder in _children(store.ROOT.rstrip("/")):
        if folder.endswith(".dist-info") and wanted in (None, _normal(folder.partition("-")[0])):
            yield _Distribution(f"{store.ROOT}{folder}")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()
