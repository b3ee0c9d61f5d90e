"""Bundles: the workflows of one file, compiled here, or of a script that another builder compiled."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cloche.engines import CellSource
from cloche.errors import TargetError
from cloche.operations.typescript.compiling import EXPORT, Compiled, compile_with
from cloche.operations.typescript.resolving import Disk

ENDINGS = frozenset([".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs", ".jsx"])
BYTES_MAX = 16 << 20  # of the sources of one bundle, on this machine
SCRIPT_BYTES_MAX = 64 << 20
COMMON = "var exports = {}, module = { exports }; "  # what scripts of builders may speak of, on their first line
_WORKFLOW = re.compile(  # by other builders, and by ours
    r"""(?:__private_workflows\.set\(|\$workflow\([^"\n;]{1,300}(?:\["[^"\n]{1,200}"\])?, )"(workflow//[^"\\\n]{1,400})\""""
)
_DIRECTIVE = re.compile(r"""^[^\S\n]*(["'])use (?:workflow|step)\1""", re.MULTILINE)
_STEP = re.compile(r"""WORKFLOW_USE_STEP["']\)\]\(\s*"([^"\\\n]{1,400})\"""")
_IN_TEXT = re.compile(r"(?:const|var|let) workflowCode\d* = (`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\")", re.DOTALL)
_ESCAPE = re.compile(r"\\(u\{[0-9a-fA-F]+\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|\r\n|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": "", "\r\n": ""}


@dataclass(frozen=True, slots=True)
class Bundle:
    """`source` is one module for all the workflows; `workflows` by name -> id, `steps` by id."""

    source: str
    workflows: dict[str, str]
    steps: tuple[str, ...]


def read_bundle(engine: CellSource, file: Path) -> Bundle:
    """The bundle of a TypeScript or JavaScript file, with what it imports, or of a compiled script. Blocks.

    Raises:
        TargetError: there is no such file, or it is neither.
        CompileError: it cannot be compiled.
    """
    if not is_script(file):
        raise TargetError(f"{file} is neither TypeScript nor JavaScript", target=str(file))
    text = _text(file)
    script = script_in(text)
    if script is not None:
        return of_script(script)
    made = compile_on_disk(engine, file)
    ids = [one.id for one in made.workflows]
    return Bundle(made.source, by_name(ids), tuple(one.id for one in made.steps))


def is_script(path: str | Path) -> bool:
    """Whether it is called as TypeScript or JavaScript is."""
    return isinstance(path, str | Path) and Path(path).suffix in ENDINGS


def is_marked(file: Path, text: str) -> bool:
    """Whether a file is one of bundles, and not a module whose default export is the workflow."""
    return file.suffix not in (".js", ".mjs") or script_in(text) is not None or _DIRECTIVE.search(text) is not None


def compile_on_disk(engine: CellSource, file: Path) -> Compiled:
    """What a file of this machine becomes, with what it imports. Blocks.

    Raises:
        TargetError: there is no such file, or it is neither TypeScript nor JavaScript.
        CompileError: it cannot be compiled.
    """
    if not is_script(file):
        raise TargetError(f"{file} is neither TypeScript nor JavaScript", target=str(file))
    _text(file)
    disk = Disk(file)
    return compile_with(engine, disk.entry(disk.path_of(file)), disk, BYTES_MAX)


def script_in(text: str) -> str | None:
    """The script that another builder compiled, if the text is one or holds one; None of what is still to be compiled."""
    found = _IN_TEXT.search(text)
    script = _unquoted(found[1]) if found is not None else text
    return script if _WORKFLOW.search(script) else None


def of_script(script: str) -> Bundle:
    """The bundle of a compiled script."""
    ids = list(dict.fromkeys(_WORKFLOW.findall(script)))
    is_ours = script.rpartition("//# sourceMappingURL")[0].endswith(EXPORT)
    return Bundle(
        script if is_ours else f"{COMMON}{script}\n{EXPORT}", by_name(ids), tuple(dict.fromkeys(_STEP.findall(script)))
    )


def by_name(ids: list[str]) -> dict[str, str]:
    """The ids by what follows their last `//`; two that share that are called by their whole ids."""
    names = [id.rpartition("//")[2] for id in ids]
    return {name if names.count(name) == 1 else id: id for id, name in zip(ids, names, strict=True)}


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > SCRIPT_BYTES_MAX:
            raise TargetError(f"{file} has more than {SCRIPT_BYTES_MAX:,} bytes", target=str(file))
        return file.read_text("utf-8-sig")
    except FileNotFoundError:
        raise TargetError(f"there is no file {file}", target=str(file)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"{file} cannot be read: {error}", target=str(file)) from error


def _unquoted(literal: str) -> str:
    """The text of a JavaScript string or template without parts."""

    def one(found: re.Match[str]) -> str:
        escaped = found[1]
        if escaped[0] in "ux" and len(escaped) > 1:
            return chr(int(escaped[1:].strip("{}"), 16))
        return _ESCAPES.get(escaped, escaped)

    return _ESCAPE.sub(one, literal[1:-1])
