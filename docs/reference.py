"""The reference of cloche's public names: Markdown pages, made from signatures and docstrings; `docs/build.py` writes them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

PAGES = {  # the title of a page, and which names are on it: those whose home begins so; the first that fits has a name
    "errors": ("Errors", ("cloche.errors",)),
    "running": ("Starting and running", ("cloche.client", "cloche.operations", "cloche.status", "cloche.store")),
    "results": ("Results and records", ("cloche.run", "cloche.history")),
    "steps": ("Steps", ("cloche.steps",)),
    "bounds": ("Engines and policies", ("cloche.engines", "cloche.sandbox", "cloche.tenancy")),
    "workflows": ("What a workflow says", ("cloche_codegen",)),
}
ELSEWHERE = {"testing": ("Testing", "cloche.testing"), "http": ("Over HTTP", "cloche.http")}
_SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Attributes):$", re.MULTILINE)
_ITEM = re.compile(r"^    (\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*): ", re.MULTILINE)


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of each page: `index`, and those of `PAGES` and `ELSEWHERE`."""
    grouped = _grouped()
    titles = {name: title for name, (title, _) in {**PAGES, **ELSEWHERE}.items()}
    lines = [f"* [{title}]({name}.md): {_listed(grouped[name])}" for name, title in titles.items()]
    head = "# Reference\n\nEvery public name, from its docstring. All but the last two pages are importable from `cloche`.\n\n"
    yield "index", head + "\n".join(lines) + "\n"
    for name, title in titles.items():
        parts = [_entry(one, value) for one, value in sorted(grouped[name].items(), key=lambda item: item[0].lower())]
        yield name, f"# {title}\n\n" + "\n".join(parts)


def _grouped() -> dict[str, dict[str, Any]]:
    cloche = import_module("cloche")
    grouped: dict[str, dict[str, Any]] = {name: {} for name in (*PAGES, *ELSEWHERE)}
    for name in cloche.__all__:
        home = cloche._HOME[name]
        page = next(page for page, (_, homes) in PAGES.items() if home.startswith(homes))
        grouped[page][name] = getattr(cloche, name)
    for page, (_, module) in ELSEWHERE.items():
        found = import_module(module)
        grouped[page] = {name: getattr(found, name) for name in found.__all__}
    return grouped


def _listed(names: dict[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names, key=str.lower))


def _entry(name: str, value: Any) -> str:
    """A heading, the signature, the docstring; of a class its public methods too."""
    lines = [f"## {name}", "", *_signature(name, value), *_documented(value)]
    if inspect.isclass(value):
        for method, function in _methods(value):
            lines += [f"### {name}.{method}", "", *_signature(method, function), *_documented(function)]
    return "\n".join(lines)


def _methods(value: type) -> Iterator[tuple[str, Any]]:
    """Those that the package itself defines, with a docstring, not those of Python or of a library."""
    for name in dir(value):
        found = inspect.getattr_static(value, name)
        function = found.fget if isinstance(found, property) else getattr(value, name, None)
        if name.startswith("_") or not callable(function) or inspect.isclass(function):
            continue
        if (getattr(function, "__module__", None) or "").startswith("cloche") and function.__doc__:
            yield name, found if isinstance(found, property) else function


def _signature(name: str, value: Any) -> list[str]:
    if isinstance(value, property) or not callable(value):
        return []
    try:
        text = f"{name}{inspect.signature(value)}"
    except (ValueError, TypeError):  # a class whose metaclass hides it
        return []
    word = "async def " if inspect.iscoroutinefunction(value) else "class " if inspect.isclass(value) else "def "
    text = re.sub(r"(?<=: |> )'([^']*)'", r"\1", text)  # annotations are kept as text
    text = re.sub(r" at 0x[0-9a-f]+", "", text)
    return ["```text", word + text, "```", ""]


def _documented(value: Any) -> list[str]:
    text = inspect.getdoc(value) or ""
    if isinstance(value, type) and value.__doc__ is None:
        text = ""
    return [_as_markdown(text), ""] if text else []


def _as_markdown(text: str) -> str:
    """Google's sections as lists. What else is indented stays as it is: it is code."""
    parts = _SECTION.split(text)
    said = parts[0].rstrip()
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        block, _, rest = body.strip("\n").partition("\n\n")
        items = _ITEM.sub(lambda match: f"\n* `{match[1]}`: ", block)
        said += f"\n\n**{title}**\n" + (items if items.startswith("\n*") else "\n" + inspect.cleandoc(block))
        said += f"\n\n{rest}".rstrip()
    return said
