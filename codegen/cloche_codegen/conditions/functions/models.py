"""An author's pydantic model under glass, where there is no pydantic: the text of a class with its methods and properties.

What it is based on becomes the guest's `Model`. Fields are known from its description (`types`); of each the default, or what
makes it, stands in the class. Validators and serializers stay outside: values are validated where they arrive.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from cloche_codegen.conditions.functions.classes import annotation_edits
from cloche_codegen.conditions.functions.names import Lookup
from cloche_codegen.conditions.functions.reading import TYPES
from cloche_codegen.conditions.functions.source import Written
from cloche_codegen.conditions.functions.text import Edit, bare, cut_out
from cloche_codegen.types import Types

BASE: Final = "Model"  # of the guest's `cloche`
_OUTSIDE: Final = (
    "field_validator", "model_validator", "validator", "root_validator", "field_serializer", "model_serializer",
)  # fmt: skip
# What pydantic's classes have and the guest's stand-in has not.
PYDANTICS_OWN: Final = frozenset([
    "model_validate", "model_validate_json", "model_validate_strings", "model_construct", "model_json_schema", "parse_obj",
    "parse_raw", "model_rebuild",
])  # fmt: skip


def is_model(value: object) -> bool:
    """Whether it is a model that an author may have written."""
    return isinstance(value, type) and issubclass(value, BaseModel) and not value.__module__.startswith("pydantic")


def model_text(source: Written, look_up: Lookup, own: Mapping[str, str]) -> str:
    """Its definition at the left margin, as many lines as in the file. `own` are statements about its fields, each by what it
    sets; they stand where the first field stood."""
    node = source.node
    assert isinstance(node, ast.ClassDef)
    edits = [*_edits_of_head(node, look_up), *_edits_of_body(node, own)]
    dropped = [one for one in edits if one.end_line > one.line or one.text]
    kept = [
        one for one in (*bare(source), *annotation_edits(node)) if not any(_is_within(one, other) for other in dropped)
    ]
    return cut_out(source, [*edits, *kept], node.name)


def _is_within(one: Edit, other: Edit) -> bool:
    return (other.line, other.column) <= (one.line, one.column) <= (other.end_line, other.end_column)


def _edits_of_head(node: ast.ClassDef, look_up: Lookup) -> Iterator[Edit]:
    for base in node.bases:
        root = base.value if isinstance(base, ast.Subscript) else base
        named = root.id if isinstance(root, ast.Name) else root.attr if isinstance(root, ast.Attribute) else ""
        value = look_up(named) if isinstance(root, ast.Name) else None
        if isinstance(root, ast.Name) and is_model(value):
            yield Edit.of(base, root.id)
        elif named == "Generic":
            yield Edit.of(base, "object")
        elif named in ("BaseModel", "RootModel") or getattr(value, "__module__", "").startswith("pydantic"):
            yield Edit.of(base, BASE)


def _edits_of_body(node: ast.ClassDef, own: Mapping[str, str]) -> Iterator[Edit]:
    for statement in node.body:
        match statement:
            case ast.AnnAssign(annotation=annotation) if "ClassVar" in ast.unparse(annotation):
                continue
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield _instead(statement, "; ".join([*own.values(), f"{name}: object"]))
                own = {}
            case ast.ClassDef():
                yield _instead(statement, "pass")
            case ast.Assign(targets=[ast.Name(id="model_config")]):
                yield _instead(statement, "pass")
            case ast.FunctionDef(decorator_list=decorators) if any(_called(one) in _OUTSIDE for one in decorators):
                yield _instead(statement, "pass")
            case ast.FunctionDef(decorator_list=decorators):
                for one in decorators:
                    if _called(one) == "computed_field":
                        alone = len(decorators) == 1
                        yield Edit(
                            one.lineno,
                            one.col_offset - (0 if alone else 1),
                            one.end_lineno or 0,
                            one.end_col_offset or 0,
                            "property" if alone else "",
                        )


def _called(decorator: ast.expr) -> str:
    found = decorator.func if isinstance(decorator, ast.Call) else decorator
    return found.attr if isinstance(found, ast.Attribute) else found.id if isinstance(found, ast.Name) else ""


def _instead(statement: ast.stmt, text: str) -> Edit:
    decorators = getattr(statement, "decorator_list", [])
    line = decorators[0].lineno if decorators else statement.lineno
    return Edit(line, statement.col_offset, statement.end_lineno or 0, statement.end_col_offset or 0, text)


def own_fields(node: ast.ClassDef) -> list[str]:
    """The names that are annotated in its body, private ones too."""
    return [one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]


def fields_text(
    kind: type[BaseModel],
    names: list[str],
    frozen: Callable[[Any], str | None],
    factory: Callable[[str, Any], str | None],
) -> dict[str, str]:
    """Statements that say the defaults of these fields. `frozen` gives the text of a value, `factory` the name of what makes
    one, each None where it cannot go under glass: the field has no default in there then."""
    defaults, factories, private = {}, {}, {}
    for name in names:
        if name in kind.__private_attributes__:
            default = kind.__private_attributes__[name].default
            if default is not PydanticUndefined and (text := frozen(default)) is not None:
                private[name] = f"{name} = {text}"
        elif (field := kind.model_fields.get(name)) is None:
            continue
        elif field.default_factory is not None:
            if not _takes_data(field.default_factory) and (text := factory(name, field.default_factory)) is not None:
                factories[name] = text
        elif field.default is not PydanticUndefined and (text := frozen(field.default)) is not None:
            defaults[name] = text
    made = {"__defaults__": defaults, "__factories__": factories}
    written = {
        name: f"{name} = {{{', '.join(f'{key!r}: {text}' for key, text in one.items())}}}"
        for name, one in made.items()
        if one
    }
    return {**written, **private}


def _takes_data(factory: Any) -> bool:
    try:
        return any(
            one.default is one.empty and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
            for one in inspect.signature(factory).parameters.values()
        )
    except (TypeError, ValueError):  # a class written in C: it makes an empty one
        return False


def descriptions(types: Types, defined: set[str]) -> str:
    """The statement with the descriptions of all classes; of those that are `defined` the source has the class itself."""
    lines = []
    for name, described in sorted(types.classes.items()):
        said = {**described, "defined": True} if name in defined else described
        lines.append(f"    {name!r}: {said!r},\n")
    return f"{TYPES} = {{\n{''.join(lines)}}}"
