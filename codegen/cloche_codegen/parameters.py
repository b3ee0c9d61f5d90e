"""What a step or workflow is called with: its parameters, without the one that gets the context.

A call that the author's code makes is bound as Python binds it (`of_call`), with Python's own words for what does not fit. What
flows in the builder is one value: it becomes the one parameter that needs a value, or, where several do, it is a mapping of
them by name (`of_value`). Defaults are never filled in here: the function that is called does it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from inspect import Parameter, Signature
from keyword import iskeyword
from typing import Annotated, Any, Final, NotRequired, Union, get_args

from pydantic import TypeAdapter, ValidationError, ValidationInfo, WrapValidator
from pydantic_core import to_jsonable_python
from typing_extensions import TypedDict

_BY_POSITION: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_REST: Final = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_CONTEXTS: Final = ("ctx", "context")


@dataclass(frozen=True)
class Parameters:
    """`name` is the function's as messages show it. `whole` is its signature, `own` the same without `context`."""

    name: str
    whole: Signature
    context: str | None = None
    types: Mapping[str, Any] = field(default_factory=dict, repr=False)  # of its own, where they have some
    resources: Mapping[str, type] = field(default_factory=dict, repr=False)  # what the host gives it, by annotation

    @cached_property
    def own(self) -> Signature:
        kept = [
            one for name, one in self.whole.parameters.items() if name != self.context and name not in self.resources
        ]
        return self.whole.replace(parameters=kept)

    @cached_property
    def needed(self) -> list[str]:
        """Those without a default, but for `*args` and `**kwargs`."""
        own = self.own.parameters.values()
        return [one.name for one in own if one.default is Parameter.empty and one.kind not in _REST]

    @cached_property
    def is_by_name(self) -> bool:
        """Whether one value cannot be all of them: it is a mapping then."""
        own = self.own.parameters
        return len(self.needed) > 1 or (
            len(self.needed) == 1 and own[self.needed[0]].kind is Parameter.KEYWORD_ONLY and len(own) > 1
        )

    @cached_property
    def first(self) -> str | None:
        """The parameter that one value becomes; None where there is none, or one value is several."""
        if self.is_by_name:
            return None
        own = list(self.own.parameters.values())
        names = self.needed or [one.name for one in own if one.kind is not Parameter.VAR_KEYWORD]
        return names[0] if names else None

    @cached_property
    def is_either(self) -> bool:
        """Of a workflow: whether its input is the one value that it needs, or a mapping of its parameters by name."""
        own = self.own.parameters.values()
        return not self.is_by_name and (len(own) > 1 or any(one.kind in _REST for one in own))

    def are_named(self, value: Any) -> bool:
        """Whether a mapping names all parameters that need a value, and nothing but parameters. The guest has the same rule."""
        own = self.own.parameters
        is_open = any(one.kind is Parameter.VAR_KEYWORD for one in own.values())
        known = {name for name, one in own.items() if one.kind is not Parameter.VAR_KEYWORD}
        return isinstance(value, Mapping) and value.keys() >= set(self.needed) and (is_open or value.keys() <= known)

    @cached_property
    def has_second(self) -> bool:
        """Whether there is a second parameter by position that needs a value."""
        positional = [one for one in self.whole.parameters.values() if one.kind in _BY_POSITION]
        return len(positional) > 1 and positional[1].default is Parameter.empty

    @cached_property
    def is_plain(self) -> bool:
        """Whether the function is called as `(value)` or `(value, context)`."""
        names = [name for name, one in self.whole.parameters.items() if one.kind in _BY_POSITION]
        wanted = [self.first] if self.context is None else [self.first, self.context]
        return not self.is_by_name and names[: len(wanted)] == wanted

    def input_of(self, named: Mapping[str, Any]) -> Any:
        """What the step's context calls its input: the one argument, or all of them by name."""
        if self.is_by_name or len(named) > 1:
            return dict(named)
        return named.get(self.first or "")

    def with_context(self) -> Parameters:
        """The same for a function that takes the context in any case, by keyword."""
        if self.context is not None:
            return self
        extra = Parameter("step_context", Parameter.KEYWORD_ONLY)
        several = [*self.whole.parameters.values(), extra]
        several.sort(key=lambda one: one.kind)
        return replace(self, whole=self.whole.replace(parameters=several), context=extra.name)

    def without_resources(self) -> Parameters:
        """The same for a function that is not given any."""
        kept = [one for name, one in self.whole.parameters.items() if name not in self.resources]
        return replace(self, whole=self.whole.replace(parameters=kept), resources={})

    def of_value(self, value: Any) -> dict[str, Any]:
        """One value as arguments by name.

        Raises:
            TypeError: several parameters need values, and it is no mapping of them.
        """
        if not self.is_by_name:
            first = self.first
            rest = first is not None and self.own.parameters[first].kind is Parameter.VAR_POSITIONAL
            return {} if first is None else {first: [value] if rest else value}
        if not isinstance(value, Mapping):
            wanted = ", ".join(repr(name) for name in self.needed)
            raise TypeError(f"{self.name}() takes a mapping with {wanted}, not a {type(value).__name__}")
        return self.of_call([], dict(value))

    def of_call(self, arguments: list[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by the names of their parameters; `*args` as a list, `**kwargs` as a dict.

        Raises:
            TypeError: they do not fit, in the words in which Python says so.
        """
        own = self.own
        try:
            bound = own.bind(*arguments, **keywords).arguments
        except TypeError:
            if all(one.kind is not Parameter.POSITIONAL_ONLY for one in own.parameters.values()):
                self._refuse(arguments, keywords)
            bound = self._by_name(arguments, keywords)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in bound.items()}

    def _by_name(self, arguments: list[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Of a mapping, which can name parameters that are positional only."""
        only = [one.name for one in self.own.parameters.values() if one.kind is Parameter.POSITIONAL_ONLY]
        if arguments or not all(name in keywords for name in only):
            self._refuse(arguments, keywords)
        try:
            rest = {name: value for name, value in keywords.items() if name not in only}
            return dict(self.own.bind(*(keywords[name] for name in only), **rest).arguments)
        except TypeError:
            self._refuse(arguments, keywords)
            raise

    def _refuse(self, arguments: list[Any], keywords: Mapping[str, Any]) -> None:
        _stub_of(self.definition)(*arguments, **keywords)

    def spread(self, bound: Mapping[str, Any], context: Any = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """How the function is called with arguments by name, and its context."""
        given = dict(bound) if self.context is None else {**bound, self.context: context}
        for name, one in self.whole.parameters.items():
            if one.kind is Parameter.VAR_POSITIONAL and name in given:
                given[name] = tuple(given[name])
        made = inspect.BoundArguments(self.whole, given)
        return made.args, made.kwargs

    @cached_property
    def text(self) -> str:
        """As they stand in a `def`, without annotations, and with `...` for each default."""
        plain = [
            one.replace(
                annotation=Parameter.empty, default=_Dots if one.default is not Parameter.empty else one.default
            )
            for one in self.own.parameters.values()
        ]
        return str(Signature(plain))[1:-1]

    @cached_property
    def definition(self) -> str:
        """As in a `def`: `charge(order, amount, *, currency=...)`."""
        is_plain = self.name.isidentifier() and not iskeyword(self.name)
        return f"{self.name if is_plain else 'step'}({self.text})"


class _Dotted:
    def __repr__(self) -> str:
        return "..."


_Dots: Final = _Dotted()


def _stub_of(definition: str) -> Callable[..., None]:
    """A function that does nothing: calling it says whether a call fits. The text is of a function of this process."""
    made: dict[str, Any] = {}
    exec(f"def {definition}: pass", {}, made)
    (stub,) = made.values()
    found: Callable[..., None] = stub
    return found


class _Resource:
    def __repr__(self) -> str:
        return "resource()"


RESOURCE: Final = _Resource()


def resource() -> Any:
    """The default of a step's parameter that the host gives it: `async def charge(order: Order, db: Db = resource())`.

    What it is given is that of `Cloche(resources={Db: …})` for its annotation. It is no part of a call, so checkers and
    workflows pass the others alone.
    """
    return RESOURCE


def workflow_parameters(function: Callable[..., Any]) -> Parameters:
    """Those of a native workflow. What was given beside its input goes to a parameter named `given`, else to the second of two
    positional parameters without annotations."""
    whole = inspect.signature(function)
    plain = [one for one in whole.parameters.values() if one.kind not in _REST]
    given = next((one.name for one in plain if one.name == "given" and len(plain) > 1), None)
    return Parameters(function.__name__, whole, given or _second(plain))


def parameters_of(function: Callable[..., Any]) -> Parameters:
    """Those of a step's function.

    The context is a parameter annotated `StepContext`, else one named `ctx` or `context`, else the second of two positional
    parameters without annotations.
    """
    whole = inspect.signature(function)
    name = getattr(function, "__name__", None) or type(function).__name__
    return Parameters(name, whole, _context_of(function, whole))


def annotated_context(function: Callable[..., Any]) -> str | None:
    """The name of the parameter that is annotated `StepContext`."""
    for one in inspect.signature(function).parameters.values():
        annotation = one.annotation
        named = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
        if one.kind not in _REST and named.strip("'\" ").rpartition(".")[2] == "StepContext":
            return one.name
    return None


def _context_of(function: Callable[..., Any], whole: inspect.Signature) -> str | None:
    if named := annotated_context(function):
        return named
    plain = [one for one in whole.parameters.values() if one.kind not in _REST]
    for one in plain:
        if one.name in _CONTEXTS and (len(plain) > 1 or one.kind is Parameter.KEYWORD_ONLY):
            return one.name
    return _second(plain)


def _second(plain: list[Parameter]) -> str | None:
    positional = [one for one in plain if one.kind in _BY_POSITION]
    if len(positional) == len(plain) == 2 and all(one.annotation is Parameter.empty for one in positional):
        second = positional[1]
        return second.name if second.default is Parameter.empty else None
    return None


def type_of(one: Parameter, annotation: Any) -> Any:
    """Of what `of_call` gives for a parameter: its annotation as a type, None without."""
    if annotation is None or one.kind not in _REST:
        return annotation
    return list[annotation] if one.kind is Parameter.VAR_POSITIONAL else dict[str, annotation]


def mapping_type(name: str, parameters: Parameters, types: Mapping[str, Any]) -> Any:
    """The type of a mapping of these parameters by name; `types` are their annotations, Any where there is none."""
    fields: dict[str, Any] = {}
    own = parameters.own.parameters.values()
    for one in own:
        if one.kind is Parameter.VAR_KEYWORD:
            continue
        kind: Any = types.get(one.name) or Any
        is_optional = one.default is not Parameter.empty or one.kind is Parameter.VAR_POSITIONAL
        fields[one.name] = NotRequired[kind] if is_optional else kind
    make: Any = TypedDict  # the names are known at run time only
    made = make(name, fields)
    is_open = any(one.kind is Parameter.VAR_KEYWORD for one in own)
    made.__pydantic_config__ = {"extra": "allow" if is_open else "forbid"}
    return made


def input_type(parameters: Parameters) -> Any:
    """The type of a workflow's input: of its one parameter, of a mapping of all, or of either. None: it says nothing."""
    types, first = parameters.types, parameters.types.get(parameters.first or "")
    if parameters.is_by_name:
        return mapping_type(parameters.name, parameters, types)
    if not parameters.is_either:
        return first
    named = mapping_type(parameters.name, parameters, types)
    alone: Any = None if parameters.first is None else first or Any
    if parameters.first is not None and parameters.own.parameters[parameters.first].kind is Parameter.VAR_POSITIONAL:
        alone = get_args(first)[0] if first else Any
    return Annotated[Union[named, alone], WrapValidator(_Either(parameters, named, alone))]  # noqa: UP007


class _Either:
    """What reads an input that is one value or a mapping of parameters: as these if it can be that, else as the value.

    A value that would pass for such a mapping becomes the mapping of the parameter that it is: the guest goes by names alone.
    """

    def __init__(self, parameters: Parameters, named: Any, first: Any) -> None:
        self._parameters, self._named, self._first = parameters, named, first

    @cached_property
    def _adapters(self) -> tuple[TypeAdapter[Any], TypeAdapter[Any]]:
        return TypeAdapter(self._named), TypeAdapter(self._first)

    def __call__(self, value: Any, handler: Any, info: ValidationInfo) -> Any:
        named, first = self._adapters
        if self._parameters.are_named(value):
            try:
                return named.validate_python(value, context=info.context)
            except ValidationError:
                with suppress(ValidationError):
                    return self._alone(first.validate_python(value, context=info.context))
                raise
        try:
            return self._alone(first.validate_python(value, context=info.context))
        except ValidationError:
            if value is None and not self._parameters.needed:
                return {}
            if isinstance(value, Mapping) and value.keys() & self._parameters.own.parameters.keys():
                named.validate_python(value, context=info.context)  # what is wrong with it as that
            raise

    def _alone(self, value: Any) -> Any:
        if self._parameters.first is None:
            return {}
        wire = value if isinstance(value, Mapping) else to_jsonable_python(value, by_alias=True, fallback=repr)
        return {self._parameters.first: value} if self._parameters.are_named(wire) else value
