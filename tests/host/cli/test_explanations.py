"""Every error code has a page, and every page a code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import cloche
import cloche_codegen
from cloche import errors
from cloche.cli.explanations import EXPLANATIONS, PROBLEMS, explanation

CODEGEN = Path(cloche_codegen.__file__).parent
_MAKERS = ("Problem", "one", "add", "report")


def problem_codes() -> Iterator[str]:
    """Of all problems that codegen tells: the first argument of what makes one, where it is written there."""
    for file in sorted(CODEGEN.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                code = node.args[0].value
                if name in _MAKERS and isinstance(code, str) and len(node.args) >= 3:
                    yield code


def _codes() -> set[str]:
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    return {kind.code for kind in kinds if issubclass(kind, errors.ClocheError)}


def test_every_error_code_has_a_page_and_every_page_a_code() -> None:
    assert set(EXPLANATIONS) == _codes() | {"graph"}


def test_no_two_kinds_of_error_share_a_code() -> None:
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(_codes()) == sum(issubclass(kind, errors.ClocheError) for kind in kinds)


def test_a_page_is_more_than_a_line() -> None:
    assert [code for code in EXPLANATIONS if len((explanation(code) or "").split()) < 15] == []


def test_every_code_in_brackets_is_explained() -> None:
    codes = set(problem_codes())
    assert {"schema_misfit", "python_function", "duplicate_id"} <= codes
    assert codes == set(PROBLEMS)
    assert explanation("[schema_misfit]") == explanation("schema_misfit") == PROBLEMS["schema_misfit"]


def test_every_error_is_explained_by_its_name_too() -> None:
    found = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and hasattr(cloche, name)}
    kinds = [name for name, kind in found.items() if hasattr(kind, "code")]
    assert len(kinds) > 40
    assert [name for name in [*kinds, "GraphError", "NotCommitted"] if explanation(name) is None] == []
    assert explanation("MissingStep") == explanation("missing-step")
    assert explanation("missing-nothing") is explanation("Nothing") is None
