"""`Model`: what stands for a pydantic model inside, where there is no pydantic.

It has the fields, defaults, plain methods and properties of the author's class. Which fields there are is checked when one is
made; what is in them is looked at by pydantic, where it arrives. Its description comes from the source (`_types.resolve`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import copy, deepcopy
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, NoReturn
from uuid import UUID

from _cloche import plain


class Model:
    """`__defaults__` and `__factories__` are those of the author's fields, in the class that has them."""

    __described__: ClassVar[dict[str, Any]] = {"fields": {}}
    __defaults__: ClassVar[dict[str, Any]] = {}
    __factories__: ClassVar[dict[str, Any]] = {}

    def __init__(self, /, *root: Any, **given: Any) -> None:
        described, name = type(self).__described__, type(self).__name__
        if "root" in described:
            given = {"root": root[0]} if root else given
            if given.keys() != {"root"}:
                raise TypeError(f"{name}() takes one value")
            self.__dict__["root"] = given["root"]
            return
        if root:
            raise TypeError(f"{name}() takes its fields by name")
        missing = []
        for field, one in described["fields"].items():
            found = [key for key in one.get("from", (field,)) if isinstance(key, str) and key in given]
            if found:
                self.__dict__[field] = given.pop(found[0])
                continue
            default = type(self).__default__(field, _NOTHING)
            if default is _NOTHING:
                missing.append(one.get("from", [field])[0])
            self.__dict__[field] = default
        if missing:
            raise TypeError(f"{name}() is missing {', '.join(map(repr, missing))}")
        if given and described.get("extra") != "allow":
            raise TypeError(f"{name}() has no field {', '.join(map(repr, given))}")
        self.__dict__.update(given)
        if hasattr(self, "model_post_init"):
            self.model_post_init(None)

    @classmethod
    def __default__(cls, field: str, nothing: Any) -> Any:
        """That of a field, made anew each time; `nothing` if it has none."""
        for kind in cls.__mro__:
            of = vars(kind)
            if field in of.get("__factories__", ()):
                return of["__factories__"][field]()
            if field in of.get("__defaults__", ()):
                return deepcopy(of["__defaults__"][field])
        return nothing

    # ── as an object ────────────────────────────────────────────────────────────────────────────────────────────────
    def __setattr__(self, name: str, value: Any) -> None:
        described = type(self).__described__
        if described.get("frozen"):
            raise ValueError(
                f"{type(self).__name__} is frozen: {name!r} cannot be changed, take a model_copy(update=…)"
            )
        is_field = name in described["fields"] or name.startswith("_") or name == "root"
        if not is_field and described.get("extra") != "allow" and not hasattr(type(self), name):
            raise ValueError(f'"{type(self).__name__}" object has no field "{name}"')
        object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        if not type(self).__described__.get("frozen"):
            raise TypeError(f"unhashable type: '{type(self).__name__}'")
        return hash((type(self), *self.__dict__.values()))

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self.__dict__.items())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self)})"

    # ── as data ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def model_copy(self, *, update: dict[str, Any] | None = None, deep: bool = False) -> Any:
        """One more, with some fields changed."""
        made = object.__new__(type(self))
        made.__dict__.update(deepcopy(self.__dict__) if deep else self.__dict__, **(update or {}))
        return made

    __copy__ = model_copy

    def __deepcopy__(self, memo: Any = None) -> Any:
        return self.model_copy(deep=True)

    def model_dump(
        self,
        *,
        mode: str = "python",
        include: Any = None,
        exclude: Any = None,
        by_alias: bool = False,
        exclude_none: bool = False,
        exclude_defaults: bool = False,
    ) -> Any:
        """As pydantic's; `include` and `exclude` are names of fields."""
        options = {
            "mode": mode,
            "by_alias": by_alias,
            "exclude_none": exclude_none,
            "exclude_defaults": exclude_defaults,
        }
        if "root" in type(self).__described__:
            return _dumped(self.__dict__["root"], options)
        made = {}
        for name, value, key in self._fields():
            if (include is not None and name not in include) or (exclude is not None and name in exclude):
                continue
            if (exclude_none and value is None) or (
                exclude_defaults and type(self).__default__(name, _NOTHING) == value
            ):
                continue
            made[key if by_alias else name] = _dumped(value, options)
        return made

    def model_dump_json(self, *, indent: int | None = None, **options: Any) -> str:
        """The dump as JSON."""
        separators = (",", ":") if indent is None else None
        dumped = self.model_dump(mode="json", **options)
        return json.dumps(dumped, indent=indent, separators=separators, ensure_ascii=False)

    def _fields(self) -> Iterator[tuple[str, Any, str]]:
        """Names, values, and under what they cross: fields, what was given beside them, and what is computed."""
        described = type(self).__described__
        for name, value in self.__dict__.items():
            yield name, value, described["fields"].get(name, {}).get("key", name)
        for name in described.get("computed", ()):
            if hasattr(type(self), name):
                yield name, getattr(self, name), name

    def __crossing__(self) -> Any:
        if "root" in type(self).__described__:
            return self.__dict__["root"]
        return {key: value for _, value, key in self._fields()}

    # ── what is not here ────────────────────────────────────────────────────────────────────────────────────────────
    @classmethod
    def model_validate(cls, *arguments: Any, **keywords: Any) -> NoReturn:
        """Refused: values are validated where they arrive, on the host."""
        raise TypeError(
            f"{cls.__name__}.model_validate is pydantic's, which is not inside of a workflow: make it as {cls.__name__}(…), or "
            "validate in a step"
        )

    model_validate_json = model_validate_strings = model_construct = model_json_schema = model_validate


_NOTHING: Any = object()


def _dumped(value: Any, options: dict[str, Any]) -> Any:
    if isinstance(value, Model):
        return value.model_dump(**options)
    if isinstance(value, dict):
        keys = {key: _json(key) if options["mode"] == "json" else key for key in dict.keys(value)}
        return {keys[key]: _dumped(one, options) for key, one in dict.items(value)}
    if type(value) in (list, tuple, set, frozenset):
        made = [_dumped(one, options) for one in value]
        return made if options["mode"] == "json" else type(value)(made)
    return _json(value) if options["mode"] == "json" else value


def _json(value: Any) -> Any:
    match value:
        case Enum():
            return _json(value.value)
        case date() | time():
            return value.isoformat().replace("+00:00", "Z")
        case timedelta():
            return plain(value, "a duration")
        case Decimal() | UUID():
            return str(value)
        case bytes():
            return value.decode()
    return copy(value) if isinstance(value, dict) else value
