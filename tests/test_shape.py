"""Files, functions and classes stay small enough to be read: each limit is a number here, each exception has its reason.

A file has at most 450 lines, a function 45, a class 25 methods and 15 attributes. Attributes are what methods assign to `self`
and what stands annotated in the body. In tests, classes are not counted.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
LINES_MAX, FUNCTION_LINES_MAX, METHODS_MAX, ATTRIBUTES_MAX = 450, 45, 25, 15

# What is beyond a limit, and why it reads better so. `file` or `file:name of the function or class`.
EXCEPTIONS = {
    "codegen/cloche_codegen/draft.py:__init__": "a line for each option of create_workflow, and one for its attribute",
    "codegen/cloche_codegen/remote_steps.py:__init__": "a line for each option of a remote step",
    "codegen/cloche_codegen/draft.py:Draft": "each of the options of create_workflow is an attribute under its own name; "
    "the rest is what building collects",
    "codegen/cloche_codegen/steps.py:Step": "each option of create_step is an attribute under its own name",
    "guest/python/prelude/_blocks.py:Block": "the state of one open block, in step with that of guest/js/prelude/workflow.js; "
    "an object more for each block would cost memory and fuel",
    "host/cloche/steps/context.py:StepContext": "what an author may know of a step stands under its own name",
    "host/cloche/store/protocol.py:Append": "what one commit writes, a field for each thing that a store keeps",
    "host/cloche/store/memory/data.py:MemoryData": "a field for each table of a store",
    "host/cloche/history/messages.py": "the table of the wire: a class for each event and command, with its fields and numbers",
    "host/cloche/run/results.py:RunResult": "what can be known of how a run stands, each under its own name",
    "host/cloche/operations/why.py:Why": "what can be said of why a run does not move, each under its own name",
    "host/cloche/http/models.py:WhyOut": "the same, as JSON has it",
    "host/cloche/http/step_models.py:AttemptGiven": "what a worker is given of an attempt, each under its own name",
    "host/cloche/worker/worker.py:__init__": "makes the parts of a worker, each in its line, in the order in which they need "
    "each other",
    "host/cloche/tenancy/policy.py:Policy": "a frozen table: one field for each bound, with its unit and reason",
}


def beyond(text: str, where: str, *, are_classes_counted: bool = True) -> Iterator[tuple[str, str]]:
    """What of a file is beyond a limit: its name as in `EXCEPTIONS`, and by how much."""
    if (lines := text.count("\n")) > LINES_MAX:
        yield where, f"{lines} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX:
                yield f"{where}:{node.name}", f"{lines} lines"
        elif isinstance(node, ast.ClassDef) and are_classes_counted:
            methods = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
            attributes = attributes_of(node)
            if len(methods) > METHODS_MAX or len(attributes) > ATTRIBUTES_MAX:
                yield f"{where}:{node.name}", f"{len(methods)} methods, {len(attributes)} attributes"


def attributes_of(node: ast.ClassDef) -> set[str]:
    fields = {one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)}
    return fields | {
        one.attr
        for one in ast.walk(node)
        if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)
        if isinstance(one.value, ast.Name) and one.value.id == "self"
    }


def files(folder: str) -> Iterator[tuple[str, Path]]:
    generated = ("built", "golden", "stored")
    for file in sorted((REPOSITORY / folder).rglob("*.py")):
        if not set(file.relative_to(REPOSITORY).parts) & {*generated, "__pycache__"}:
            yield file.relative_to(REPOSITORY).as_posix(), file


@pytest.mark.parametrize("folder", ["codegen", "guest", "host", "tests"])
def test_everything_can_be_read_at_once(folder: str) -> None:
    found = {
        name: size
        for where, file in files(folder)
        for name, size in beyond(file.read_text("utf-8"), where, are_classes_counted=folder != "tests")
    }
    assert {name: size for name, size in found.items() if name not in EXCEPTIONS} == {}
    assert [name for name in EXCEPTIONS if name.startswith(f"{folder}/") and name not in found] == []


def test_what_is_too_large_is_named() -> None:
    assert list(beyond("x = 1\n" * 451, "f.py")) == [("f.py", "451 lines")]
    assert list(beyond("def f():\n" + "    x = 1\n" * 45, "f.py")) == [("f.py:f", "46 lines")]
    methods = "class C:\n" + "".join(f"    def m{i}(self): self.a, self.b = 1, 2\n" for i in range(26))
    assert list(beyond(methods, "f.py")) == [("f.py:C", "26 methods, 2 attributes")]
    fields = "class C:\n" + "".join(f"    a{i}: int\n" for i in range(16))
    assert list(beyond(fields, "f.py")) == [("f.py:C", "0 methods, 16 attributes")]
    assert list(beyond(fields, "f.py", are_classes_counted=False)) == []
    assert list(beyond("x = 1\n" * 450, "f.py")) == []
