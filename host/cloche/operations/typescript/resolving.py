"""Which file an import means: relative ones, and packages of `node_modules` as Node.js finds them.

Nothing of a file is evaluated here: `package.json` and `tsconfig.json` are read as JSON, sources as text.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

from cloche.errors import LimitExceeded, UsageError

FILE_BYTES_MAX = 4 << 20
JSON_CHARS_MAX = 1 << 20  # of a file that describes a package or a project: it is read in one piece
NAME_CHARS_MAX = 1_000  # of what is imported, and of what a file says that it is
LOOKS_MAX = 300_000  # at what a tenant has brought: about a second; a project of 1,000 files takes 20,000
ENDINGS = (".ts", ".tsx", ".mts", ".js", ".mjs", ".cjs", ".jsx", ".cts", ".json")
_INSTEAD = {".js": (".ts", ".tsx"), ".mjs": (".mts",), ".cjs": (".cts",), ".jsx": (".tsx",)}
_ENDING = re.compile(r"\.[cm]?[jt]sx?$|\.json$")
# Both in linear time, whatever is brought: a line's own blanks alone; what is not closed goes to the end.
_MODULE = re.compile(r"^[^\S\n]*(?:import\b\s*[\w{*\"'$]|export\b\s*[\w{*])", re.MULTILINE)
_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|//[^\n]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
_PACKAGE = re.compile(r"(@[^/]+/[^/]+|[^@./#][^/]*)(?:/(.*))?")
Kind = Literal["es", "commonjs", "json"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """`path` is from the project's folder on, with `/`; `id` is what the ids of what it marks are made of."""

    path: str
    text: str
    id: str
    kind: Kind = "es"
    is_package: bool = False

    def to_wire(self) -> dict[str, Any]:
        """As the compiler takes it."""
        return {
            "path": self.path,
            "text": self.text,
            "id": self.id,
            "kind": self.kind,
            "isPackage": self.is_package,
        }


@dataclass(frozen=True, slots=True)
class Missing:
    why: str


class Resolver(Protocol):
    def __call__(self, importer: str, name: str, /) -> SourceFile | Missing: ...


class Files:
    """Where sources are: by path from the project's folder on, `../` above it.

    All that is looked at for an import is counted (`spend`): how much that is depends on what the files say.
    """

    def __init__(self) -> None:
        self._described: dict[str, dict[str, Any]] = {}  # what files of JSON say, by path

    def spend(self, looks: int = 1) -> None:
        """So many files and names more are looked at.

        Raises:
            LimitExceeded: of whoever brought the files no more are.
        """

    def text(self, path: str) -> str | None:
        raise NotImplementedError

    def real(self, path: str) -> str:
        """Where a path leads that may go through links."""
        return path

    def folders_above(self, folder: str) -> Iterator[str]:
        """The folder, and those around it."""
        while True:
            yield folder
            if not folder:
                return
            folder = posixpath.dirname(folder)

    def entry(self, path: str) -> SourceFile:
        """
        Raises:
            UsageError: there is no such file, or it cannot be read.
        """
        text = self.text(path)
        if text is None:
            raise UsageError(
                f"there is no file {path}, or it is no UTF-8, or it has more than {FILE_BYTES_MAX:,} bytes"
            )
        return SourceFile(path, text, _id(path))

    def __call__(self, importer: str, name: str, /) -> SourceFile | Missing:
        try:
            return self._found(importer, name)
        except RecursionError:
            return Missing("what is said of it leads from one to the next without end")

    def _found(self, importer: str, name: str) -> SourceFile | Missing:
        if len(name) > NAME_CHARS_MAX:
            return Missing(f"its name has more than {NAME_CHARS_MAX:,} characters")
        folder = posixpath.dirname(importer)
        if name.startswith((".", "/")):
            path = posixpath.normpath(posixpath.join(folder, name))
            found = self._file(path)
            if found is None:
                return Missing(f"there is no '{name}' here: {path}")
            return self._read(found, importer)
        for path in self._aliases(name):
            if (found := self._file(path)) is not None:
                return self._read(found, importer)
        return self._package(folder, importer, name)

    # ── paths ───────────────────────────────────────────────────────────────────────────────────────────────────────
    def _file(self, path: str) -> str | None:
        """As a bundler looks for it: the file itself, with an ending, as a folder."""
        self.spend(len(ENDINGS))
        for candidate in _candidates(path):
            if self.text(candidate) is not None:
                return candidate
        described = self._json(f"{path}/package.json")
        for field in ("module", "main"):
            if isinstance(main := described.get(field), str):
                found = self._file(posixpath.normpath(f"{path}/{main}"))
                if found is not None:
                    return found
        return next((one for end in ENDINGS if self.text(one := f"{path}/index{end}") is not None), None)

    def _read(self, path: str, importer: str) -> SourceFile | Missing:
        text = self.text(path)
        if text is None:
            return Missing(f"{path} is no text")
        is_package = "node_modules/" in path
        return SourceFile(path, text, self._id(path), self._kind(path, text), is_package)

    def _kind(self, path: str, text: str) -> Kind:
        if path.endswith(".json"):
            return "json"
        if path.endswith((".cjs", ".cts")):
            return "commonjs"
        if not path.endswith(".js") or "node_modules/" not in path:
            return "es"
        return "es" if self._manifest(path)[1].get("type") == "module" or _MODULE.search(text) else "commonjs"

    def _id(self, path: str) -> str:
        if "node_modules/" not in path:
            return _id(path)
        folder, described = self._manifest(path)
        name, version = described.get("name"), described.get("version")
        inner = _ENDING.sub("", path.removeprefix(f"{folder}/"))
        return f"{name}/{inner}@{version}" if isinstance(name, str) and isinstance(version, str) else _id(path)

    def _manifest(self, path: str) -> tuple[str, dict[str, Any]]:
        """The folder around a file that has a package.json, and what that says."""
        for folder in self.folders_above(posixpath.dirname(path)):
            self.spend()
            if described := self._json(posixpath.join(folder, "package.json")):
                return folder, described
            if posixpath.basename(folder) == "node_modules":
                break
        return "", {}

    def _json(self, path: str) -> dict[str, Any]:
        known = self._described.get(path)
        if known is None:
            text = self.text(path) or "{}"
            self.spend(len(text) // 64)
            try:
                found = json.loads(text) if len(text) <= JSON_CHARS_MAX else {}
            except (ValueError, RecursionError):
                found = {}
            known = self._described[path] = found if isinstance(found, dict) else {}
        return known

    # ── packages ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _package(self, folder: str, importer: str, name: str) -> SourceFile | Missing:
        if name.startswith("#"):
            around, described = self._manifest(importer)
            target = self._by_pattern(described.get("imports"), name)
            found = self._file(posixpath.normpath(f"{around}/{target}")) if target else None
            return self._read(found, importer) if found else Missing(f"no package.json says what '{name}' is")
        parts = _PACKAGE.fullmatch(name)
        if parts is None:
            return Missing("it is the name of no package")
        for above in self.folders_above(folder):
            self.spend()
            if posixpath.basename(above) == "node_modules":
                continue
            path = posixpath.join(above, "node_modules", parts[1])
            if self._json(f"{path}/package.json"):
                return self._of_package(self.real(path), parts[2], importer, name)
        return Missing("it is in no node_modules beside it")

    def _of_package(self, path: str, inner: str | None, importer: str, name: str) -> SourceFile | Missing:
        described = self._json(f"{path}/package.json")
        exports = described.get("exports")
        if exports is None:
            found = self._file(f"{path}/{inner}" if inner else path)
        else:
            target = self._by_pattern(_as_subpaths(exports), f"./{inner}" if inner else ".")
            found = self._file(posixpath.normpath(f"{path}/{target}")) if target else None
        if found is None:
            return Missing(f"its package has no '{name}' that can be imported")
        return self._read(found, importer)

    def _aliases(self, name: str) -> Iterator[str]:
        """The paths that `tsconfig.json` gives a name: `"paths": {"@/*": ["./src/*"]}`."""
        text = self.text("tsconfig.json") or "{}"
        options = _without_comments(text).get("compilerOptions") if len(text) <= JSON_CHARS_MAX else None
        options = options if isinstance(options, dict) else {}
        paths, base = options.get("paths"), options.get("baseUrl")
        for pattern, targets in paths.items() if isinstance(paths, dict) else ():
            self.spend()
            if (rest := _rest(pattern, name)) is not None and isinstance(targets, list):
                for target in targets:
                    self.spend()
                    inner = _filled(str(target), rest)
                    yield posixpath.normpath(posixpath.join(base if isinstance(base, str) else "", inner))

    def _by_pattern(self, table: Any, name: str) -> str | None:
        """What a table of `exports` or `imports` gives for a name: the longest pattern that fits."""
        if not isinstance(table, dict):
            return None
        self.spend(len(table))
        if name in table:
            return self._target(table[name], "")
        found = [(pattern, rest) for pattern in table if (rest := _rest(str(pattern), name)) is not None]
        if not found:
            return None
        pattern, rest = max(found, key=lambda one: (len(one[0].partition("*")[0]), one[0]))
        return self._target(table[pattern], rest)

    def _target(self, value: Any, rest: str) -> str | None:
        self.spend()
        if isinstance(value, str):
            inner = _filled(value, rest)
            return inner if _IN_PACKAGE.fullmatch(inner) else None
        if isinstance(value, list):
            return next((found for one in value if (found := self._target(one, rest)) is not None), None)
        if isinstance(value, dict):
            for condition, inner in value.items():
                if condition in _CONDITIONS and (found := self._target(inner, rest)) is not None:
                    return found
        return None


class Given(Files):
    """Files that somebody has handed over, by path."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        super().__init__()
        self._files = files
        self._texts: dict[str, str | None] = {}
        self._looks = 0

    def spend(self, looks: int = 1) -> None:
        self._looks += looks
        if self._looks > LOOKS_MAX:
            message = f"to find what it imports took more than {LOOKS_MAX:,} looks at files and names"
            raise LimitExceeded(message, limit="looks", value=LOOKS_MAX, asked=self._looks)

    def text(self, path: str) -> str | None:
        found = self._files.get(path)
        if isinstance(found, bytes) and path not in self._texts:
            self._texts[path] = _decoded(found)
        text = self._texts[path] if isinstance(found, bytes) else found
        return text if text is not None and len(text) <= FILE_BYTES_MAX else None


class Disk(Files):
    """The files of a project on this machine. `root` is its folder: the next one around `file` that has a package.json, else
    the file's own.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        folder = file.resolve().parent
        described = [one for one in (folder, *folder.parents) if (one / "package.json").is_file()]
        self.root = described[0] if described else folder
        self._texts: dict[str, str | None] = {}

    def path_of(self, file: Path) -> str:
        """As the compiler calls it."""
        return _from(self.root, file.resolve())

    def text(self, path: str) -> str | None:
        if path not in self._texts:
            self._texts[path] = _text_of(self.root / path)
        return self._texts[path]

    def real(self, path: str) -> str:
        return _from(self.root, (self.root / path).resolve())

    def folders_above(self, folder: str) -> Iterator[str]:
        here = (self.root / folder).resolve()
        for one in (here, *here.parents):
            yield _from(self.root, one)


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode("utf-8-sig") if len(data) <= FILE_BYTES_MAX else None
    except UnicodeDecodeError:
        return None


def _text_of(file: Path) -> str | None:
    try:
        return file.read_text("utf-8-sig") if file.is_file() and file.stat().st_size <= FILE_BYTES_MAX else None
    except (OSError, UnicodeDecodeError, ValueError):
        return None


def _from(root: Path, file: Path) -> str:
    parts, base = file.parts, root.parts
    shared = next(
        (i for i, pair in enumerate(zip(parts, base, strict=False)) if pair[0] != pair[1]), min(len(parts), len(base))
    )
    return "/".join([".."] * (len(base) - shared) + list(parts[shared:]))


def _id(path: str) -> str:
    return f"./{_ENDING.sub('', path)}"


def _candidates(path: str) -> Iterator[str]:
    ending = _ENDING.search(path)
    if ending is not None:
        yield path
        yield from (path[: ending.start()] + other for other in _INSTEAD.get(ending[0], ()))
    yield from (path + end for end in ENDINGS)


def _as_subpaths(exports: Any) -> Any:
    """`exports` may be what only "." has."""
    is_by_path = isinstance(exports, dict) and any(str(key).startswith(".") for key in exports)
    return exports if is_by_path else {".": exports}


_IN_PACKAGE = re.compile(r"\.(?:/(?!(?:\.\.?|node_modules)(?:/|$))[^/\\]+)+")  # as Node has it: it leads nowhere else
_CONDITIONS = ("workflow", "import", "module", "default", "require")


def _filled(target: str, rest: str) -> str:
    """A target with what its `*` stands for; one that is no path is cut."""
    return target[:NAME_CHARS_MAX].replace("*", rest)


def _rest(pattern: str, name: str) -> str | None:
    """What the `*` of a pattern stands for in a name; "" where it has none and is the name."""
    head, star, tail = pattern.partition("*")
    if not star:
        return "" if pattern == name else None
    fits = name.startswith(head) and name.endswith(tail) and len(name) >= len(head) + len(tail)
    return name[len(head) : len(name) - len(tail)] if fits else None


@lru_cache(maxsize=8)
def _without_comments(text: str) -> dict[str, Any]:
    """JSON as TypeScript's tools take it, with comments and commas at ends."""
    bare = _COMMENT.sub(lambda found: found[0] if found[0][0] == '"' else " ", text)
    try:
        found = json.loads(re.sub(r",(\s*[}\]])", r"\1", bare))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
