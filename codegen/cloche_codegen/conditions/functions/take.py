"""Python functions under glass: a function with everything it needs, as one piece of source.

`taken` finds the source of a lambda or def, checks what it captures and puts both together: imports, frozen values, classes
and helper functions, and last the function itself. The text stays the author's, line for line; only annotations and decorators
of functions are left out, because what they name is not there, and defaults are frozen. What cannot go under glass is refused
with the file, the line, and the expression underlined.
"""

from __future__ import annotations

import ast
import builtins
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from types import FunctionType, ModuleType
from typing import Any, Final

from pydantic import BaseModel

from cloche_codegen.conditions.functions.awaited import schemas_awaited
from cloche_codegen.conditions.functions.bundling import (
    NotBundled,
    exceptions_in,
    files_of,
    is_bundled,
    module_names,
    modules_used,
)
from cloche_codegen.conditions.functions.captures import (
    FROZEN_SIZE_MAX,
    PURE_MODULES,
    SAFE_BUILTINS,
    WORKFLOW_MODULES,
    NotPlain,
    described,
    frozen,
    import_of,
    plainly,
    why_not_inside,
)
from cloche_codegen.conditions.functions.classes import class_text, class_written, is_takeable
from cloche_codegen.conditions.functions.instead import check_words
from cloche_codegen.conditions.functions.models import (
    BASE,
    PYDANTICS_OWN,
    descriptions,
    fields_text,
    is_model,
    model_text,
    own_fields,
)
from cloche_codegen.conditions.functions.names import (
    MISSING,
    Lookup,
    in_class,
    in_function,
    names_in_class,
    names_in_function,
    own_name,
    use_of,
)
from cloche_codegen.conditions.functions.near import undefined
from cloche_codegen.conditions.functions.refusals import NotUnderGlass, function_in, parameters_of, refused, unwrapped
from cloche_codegen.conditions.functions.source import NoSource, Place, Written, written
from cloche_codegen.conditions.functions.taken import Definition, Taken
from cloche_codegen.conditions.functions.text import Edit, bare, cut_out
from cloche_codegen.names import qualified_name
from cloche_codegen.schemas import adapter_of
from cloche_codegen.types import Types

_GENERATES: Final = 0x20  # CO_GENERATOR
_AWAITS: Final = 0x80 | 0x100 | 0x200  # CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR
_BLOCKS: Final = ("def ", "async ", "class ", "@")

Crossing = Callable[[str, Any], str | None]
OnEvent = Callable[[str | None, Any], None]


def taken(
    function: Any,
    *,
    is_workflow: bool = False,
    crossing: Crossing | None = None,
    types: Types | None = None,
    on_event: OnEvent | None = None,
) -> Taken:
    """A function and all it needs.

    Args:
        is_workflow: it may be a coroutine function, and so may what it calls.
        crossing: what an object of the host becomes in there: the statement that defines it under a name, or None.
        types: the types of what it is given: their classes come along where they can, and their descriptions.
        on_event: is told of each `wait_for_event(name, schema=…)`: its name, where that is written there, and the schema.

    Raises:
        NotUnderGlass: It, or something it needs, cannot go there.
    """
    return _Taking(is_workflow, crossing, types or Types(), on_event).take(function)


@dataclass(slots=True)
class _Taking:
    """One function on its way: what has been found of what it needs, by name."""

    is_workflow: bool
    crossing: Crossing | None
    types: Types
    on_event: OnEvent | None
    objects: dict[str, Any] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    crossed: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, Definition] = field(default_factory=dict)  # functions, classes, members of enums
    exceptions: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def bundled(self) -> frozenset[str]:
        """The modules that go along as they are: what is theirs is imported from them, so that it is one thing inside."""
        return module_names(self.files)

    @property
    def modules(self) -> frozenset[str]:
        return WORKFLOW_MODULES if self.is_workflow else PURE_MODULES

    def take(self, given: Any) -> Taken:
        """Once more, where a module was found after something of its own had been copied."""
        while True:
            files = dict(self.files)
            found = self._take(given)
            copied = (
                getattr(self.objects[name], "__module__", None) for name in self.definitions if name in self.objects
            )
            if self.files == files or self.bundled.isdisjoint(copied):
                return found
            for table in self._tables():
                table.clear()

    def _tables(self) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = [self.imports, self.values, self.constants, self.crossed, self.definitions]
        return [self.objects, self.exceptions, *made]

    def _take(self, given: Any) -> Taken:
        function = function_in(given)
        source = self._checked(function)
        if function.__code__.co_flags & _GENERATES:
            raise refused(source, source.node, "it is a generator", "return a list instead of yielding")
        name = own_name(source)
        self.objects[name] = function
        own = self._define(name, function, source)
        self._bring_types()
        made = [Definition(text) for text in sorted(set(self.imports.values()))]
        made += [Definition(text) for text in self.crossed.values()]
        made += [Definition(f"{name} = {text}") for name, text in self.constants.items()]
        there = [*self.definitions, *self.imports]
        defined = {name for name in there if self.objects.get(name, self) is self.types.objects.get(name)}
        described = [Definition(descriptions(self.types, defined))] if self.is_workflow and self.types.classes else []
        for one in (*self.definitions.values(), *described, own):
            if made and (one.text.startswith(_BLOCKS) or made[-1].text.startswith(_BLOCKS)):
                made += [Definition("")] * 2
            made.append(one)
        text = "\n".join(one.text for one in made) + "\n"
        lines: list[tuple[str, int] | None] = []
        for one in made:
            count = one.text.count("\n") + 1
            lines += [None if one.file is None else (one.file, one.line + index) for index in range(count)]
        count = 1 if self.is_workflow else parameters_of(function, source)
        return Taken(name, text, count, tuple(lines), dict(self.values), dict(self.exceptions), dict(self.files))

    # ── one function ────────────────────────────────────────────────────────────────────────────────────────────────
    def _checked(self, function: FunctionType) -> Written:
        """The source of a function of a kind that can go."""
        try:
            source = written(function)
        except NoSource as error:
            code = function.__code__
            place = Place(code.co_filename, code.co_firstlineno)
            raise NotUnderGlass(
                f"its source cannot be found: {function.__qualname__}", place, "", str(error)
            ) from error
        flags = function.__code__.co_flags
        if flags & _AWAITS and not self.is_workflow:
            advice = "write it without async: only steps may wait, and their results are in the context"
            raise refused(source, source.node, "it is async", advice)
        return source

    def _define(self, name: str, function: FunctionType, source: Written) -> Definition:
        """The text of a function under `name`; everything it needs is defined on the way."""
        self._check_statements(set(function.__code__.co_freevars), source)
        if self.is_workflow:
            check_words(source, in_function(function))
        if self.on_event is not None:
            for event, schema in schemas_awaited(function, source):
                self.on_event(event, schema)
        text = cut_out(source, [*bare(source), *self._defaults(function, source)], name)
        for free in names_in_function(text):
            self._capture(free, in_function(function), source)
        return Definition(text, source.file, source.node.lineno)

    def _define_class(self, name: str, given: type, source: Written) -> None:
        """The text of a class, after what it needs to be defined; what its methods need may come later."""
        self._check_statements(set(), source)
        look_up = in_class(given)
        if is_model(given):
            self._define_model(name, given, source, look_up)
            return
        text = class_text(source)
        at_once, later = names_in_class(text)
        for free in at_once:
            self._capture(free, look_up, source)
        self.definitions[name] = Definition(text, source.file, source.first_line)
        if issubclass(given, Exception):
            self.exceptions[name] = qualified_name(given)
        for free in later:
            self._capture(free, look_up, source)

    def _check_statements(self, outer: set[str], source: Written) -> None:
        for node in ast.walk(source.node):
            match node:
                case ast.Global():
                    advice = "return what it computes instead: a function under glass changes nothing outside of itself"
                    raise refused(source, node, f"it declares global {', '.join(node.names)}", advice)
                case ast.Nonlocal() if outer & set(node.names):
                    advice = "return what it computes instead: a function under glass changes nothing outside of itself"
                    raise refused(source, node, f"it changes {', '.join(node.names)} of the function around it", advice)
                case ast.Import():
                    for alias in node.names:
                        self._check_import(alias.name, node, source)
                case ast.ImportFrom():
                    module = "." * node.level + (node.module or "")
                    self._check_import(module, node, source)
                    inner = (f"{module}.{alias.name}" for alias in node.names)
                    for one in filter(is_bundled, inner if module in self.bundled else ()):
                        self._bundle(one, node, source)
                case ast.Attribute(attr=attr) if self.is_workflow and attr in PYDANTICS_OWN:
                    advice = "make the model by its name (Order(…)): its values are validated where they arrive. Or use a step"
                    raise refused(source, node, f"it uses {attr}, which is pydantic's and not inside", advice)

    def _check_import(self, module: str, node: ast.stmt, source: Written) -> None:
        if self.is_workflow and not module.startswith(".") and is_bundled(module):
            self._bundle(module, node, source)
        elif module not in self.modules and not (self.is_workflow and module == "cloche"):
            advice = (
                "import what you need at the top of the file if it is a pure function, or make what needs it a step"
            )
            raise refused(source, node, f"it imports {module}, which is not inside the Python guest", advice)

    def _defaults(self, function: FunctionType, source: Written) -> Iterator[Edit]:
        """Defaults are made when a function is defined: what they were then is frozen."""
        arguments = source.arguments
        values = [*(function.__defaults__ or ())]
        given = list(zip(arguments.defaults, values, strict=True))
        kwdefaults = function.__kwdefaults__ or {}
        given += [
            (node, kwdefaults[argument.arg])
            for argument, node in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            if node is not None
        ]
        for node, value in given:
            try:
                yield Edit.of(node, self._frozen(value))
            except NotPlain as error:
                raise refused(source, node, f"its default is {error.what}", error.advice) from None

    def _frozen(self, value: Any) -> str:
        text = frozen(value, self._member)
        for module in ("datetime", "decimal"):
            if f"_{module}." in text:
                self.imports[f"_{module}"] = f"import {module} as _{module}"
        return text

    def _member(self, member: Enum) -> str | None:
        """What a member of an author's enum is called in there; its class comes along."""
        kind = type(member)
        if not is_takeable(kind) or self.objects.setdefault(kind.__name__, kind) is not kind:
            return None
        if kind.__name__ not in self.definitions:
            try:
                self._define_class(kind.__name__, kind, class_written(kind))
            except NoSource:
                return None
        return f"{kind.__name__}.{member.name}"

    # ── what it captures ────────────────────────────────────────────────────────────────────────────────────────────
    def _capture(self, name: str, look_up: Lookup, source: Written) -> None:
        value = look_up(name)
        if value is MISSING:
            self._check_builtin(name, source)
            return
        if name in self.objects:
            if self.objects[name] is not value and not self._same_constant(name, value):
                advice = "give one of them another name: under glass both stand in one place"
                raise refused(source, use_of(name, source), f"it uses two different things named {name}", advice)
            return
        self.objects[name] = value
        self._bring(name, value, source)

    def _bring(self, name: str, value: Any, source: Written) -> None:
        if self.crossing and (crossed := self.crossing(name, value)):
            (self.imports if crossed.startswith(("from ", "import ")) else self.crossed)[name] = crossed
            return
        if imported := import_of(name, value, self.modules):
            self.imports[name] = imported
            return
        if self.is_workflow and isinstance(value, logging.Logger):
            self.imports["_logging"] = "import logging as _logging"
            self.crossed[name] = f"{name} = _logging.getLogger({value.name!r})"
            return
        inner = unwrapped(value)
        if self.is_workflow and isinstance(value, ModuleType) and is_bundled(value.__name__):
            self._bring_module(name, value, source)
            return
        if imported := import_of(name, value, self.bundled):
            self.imports[name] = imported
            if isinstance(value, type) and issubclass(value, Exception):
                self.exceptions[name] = qualified_name(value)
            return
        if self.is_workflow and is_model(inner):
            self._bring_class(name, inner, source)
        elif isinstance(inner, FunctionType):
            self.definitions[name] = self._define(name, inner, self._checked(inner))
        elif is_takeable(inner):
            self._bring_class(name, inner, source)
        else:
            self._bring_value(name, value, source)

    def _bundle(self, module: str, node: ast.AST, source: Written) -> None:
        """The files of a module go along, and those of what it imports."""
        if module in self.bundled:
            return
        try:
            self.files.update(files_of(module))
        except NotBundled as error:
            raise refused(source, node, f"it uses {error.what}", error.advice) from None

    def _bring_module(self, name: str, value: ModuleType, source: Written) -> None:
        """Under its name, and those inside of it that are used through it (`shop.rules.price`)."""
        home = value.__name__
        for one in [home, *modules_used(name, home, source.node)]:
            self._bundle(one, use_of(name, source), source)
            self.imports[one if name == home else name] = (
                f"import {one}" if name == home else f"import {home} as {name}"
            )
        self.exceptions.update(exceptions_in(name, value))

    def _bring_class(self, name: str, given: type, source: Written) -> None:
        what = f"it uses {name}, which is {described(given)}"
        if name != given.__name__:
            raise refused(source, use_of(name, source), what, f"use it under its own name: {given.__name__}")
        try:
            written_there = class_written(given)
        except NoSource as error:
            raise refused(source, use_of(name, source), f"{what}, whose source cannot be found", str(error)) from None
        self._define_class(name, given, written_there)
        if is_model(given):
            self.types.of(adapter_of(given, name))

    # ── types ───────────────────────────────────────────────────────────────────────────────────────────────────────
    def _bring_types(self) -> None:
        """The classes of what it is given, with their methods. One that cannot go is there as its fields alone."""
        for name in sorted(self.types.objects):
            kind = self.types.objects[name]
            if kind.__name__ != name or self.objects.get(name) is not None or not (is_model(kind) or is_takeable(kind)):
                continue
            before = [(table, dict(table)) for table in [*self._tables(), self.files]]
            self.objects[name] = kind
            if imported := import_of(name, kind, self.bundled):
                self.imports[name] = imported
                continue
            try:
                self._define_class(name, kind, class_written(kind))
            except (NotUnderGlass, NoSource):
                for table, kept in before:
                    table.clear()
                    table.update(kept)

    def _define_model(self, name: str, given: type[BaseModel], source: Written, look_up: Lookup) -> None:
        assert isinstance(source.node, ast.ClassDef)
        self.imports[BASE] = f"from cloche import {BASE}"
        self.objects.setdefault(BASE, BaseModel)
        at_once, later = names_in_class(model_text(source, look_up, {}))
        for free in at_once:
            if free != BASE:
                self._capture(free, look_up, source)
        own = fields_text(given, own_fields(source.node), self._frozen_or_none, partial(self._factory, name))
        text = model_text(source, look_up, own)
        self.definitions[name] = Definition(text, source.file, source.first_line)
        for free in later:
            if free != BASE:
                self._capture(free, look_up, source)

    def _frozen_or_none(self, value: Any) -> str | None:
        """The text of a default, where it has one; a URL is a text inside."""
        if type(value).__module__.startswith("pydantic."):
            return repr(str(value))
        try:
            return self._frozen(value)
        except NotPlain:
            return None

    def _factory(self, kind: str, field: str, factory: Any) -> str | None:
        """The name of what makes a default, which comes along."""
        named = str(getattr(factory, "__name__", ""))
        if getattr(builtins, named, None) is factory:
            return named
        name = f"_{kind}_{field}"
        if imported := import_of(name, factory, self.modules):
            self.imports[name] = imported
            return name
        if not isinstance(factory, FunctionType):
            return None
        try:
            self.definitions[name] = self._define(name, factory, self._checked(factory))
        except NotUnderGlass:
            return None
        return name

    def _bring_value(self, name: str, value: Any, source: Written) -> None:
        try:
            text = self._frozen(value)
        except NotPlain as error:
            what = f"it uses {name}, which is {error.what}"
            raise refused(source, use_of(name, source), what, error.advice) from None
        if len(text) > FROZEN_SIZE_MAX:
            what = f"it uses {name}, data of {len(text):,} characters; at most {FROZEN_SIZE_MAX:,} are frozen"
            raise refused(source, use_of(name, source), what, "pass it to the workflow as input, or let a step use it")
        if text == plainly(value):
            self.constants[name] = text
            self.values[name] = value
        else:  # it names classes
            self.definitions[name] = Definition(f"{name} = {text}")

    def _same_constant(self, name: str, value: Any) -> bool:
        return name in self.constants and self.constants[name] == plainly(value)

    def _check_builtin(self, name: str, source: Written) -> None:
        if name in SAFE_BUILTINS:
            return
        if self.is_workflow and name == "print":
            return
        if why := why_not_inside(name):
            raise refused(source, use_of(name, source), f"it uses {name}, which {why}", "make what needs it a step")
        raise undefined(name, use_of(name, source), source, self.objects)
