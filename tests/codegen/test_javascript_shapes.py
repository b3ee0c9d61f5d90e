"""What is read of a workflow in JavaScript before any run: steps, branches, loops, what runs at once."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from cloche_codegen.javascript_shapes import javascript_shapes
from cloche_codegen.shape_data import shape_data
from cloche_codegen.shapes import Shape

USE = 'const useStep = globalThis[Symbol.for("WORKFLOW_USE_STEP")];\nconst a = useStep("a"), b = useStep("b");\n'


def told(shapes: Iterable[Shape]) -> list[object]:
    """Each as its place, or its kind with what is in its arms."""
    return [
        one.place or one.id if not one.arms else (f"{one.kind} {one.text}".strip(), *arms_of(one)) for one in shapes
    ]


def arms_of(shape: Shape) -> list[object]:
    return [(arm.text, told(arm.items)) if arm.text else told(arm.items) for arm in shape.arms]


def of(body: str) -> list[object]:
    return told(javascript_shapes(f"{USE}export default async function main(x) {{\n{body}\n}}\n"))


@pytest.mark.parametrize(
    ("body", "shapes"),
    [
        ("const one = await a(x); return b(one)", ["a", "b"]),
        ("return b(await a(x))", ["a", "b"]),
        ("if (x > 1) { await a(x) } else await b(x)", [("if", ("if x > 1", ["a"]), ("else", ["b"]))]),
        ("if (x) return a(x);\nelse if (y)\n  await b(y)\nawait a(2)", [("if", ("if x", ["a"]), ("else if y", ["b"])), "a"]),
        ("for (const one of x) await a(one);\nawait b(x)", [("loop for const one of x", ["a"]), "b"]),
        ("while (await a(x)) { await b(x) }", ["a", ("loop while await a(x)", ["b"])]),
        ("try { await a(x) } catch (e) { await b(e) } finally { await a(0) }",
         [("try", ("try", ["a"]), ("catch", ["b"])), "a"]),
        ("await Promise.all([a(1), b(2)])", [("gather", ["a"], ["b"])]),
        ("await Promise.race([a(1), sleep('1 day')])", [("race", ["a"], ["sleep"])]),
        ("await Promise.all(x.map((one) => a(one)))", [("gather", [("loop each of x", ["a"])])]),
        ("const hook = createHook(); await hook; await cloche.child('pays', 'pay', x)", ["createHook", "pays"]),
        ("async function again(y) { await a(y) }\nawait again(1); await again(2)", [("function", ["a"]), ("function", ["a"])]),
        ("const t = /[(\\]]\"/; const s = `if (${x}) {`; // for (;;) {\nawait a(')')", ["a"]),
        ("if (x) { console.log(x) }", []),
        ("x.a(1); this.if(2)", []),
    ],
)  # fmt: skip
def test_calls_stand_as_the_source_has_them(body: str, shapes: list[object]) -> None:
    assert of(body) == shapes


def test_lines_are_those_of_the_source() -> None:
    [first, second] = javascript_shapes(
        f"{USE}export default async function w() {{\n  await a(1);\n\n  await b(2);\n}}"
    )
    assert (first.line, second.line) == (4, 6)


def test_what_typescript_was_compiled_to_names_its_steps() -> None:
    source = (
        '$define(0, () => { var pay = globalThis[Symbol.for("WORKFLOW_USE_STEP")]("step//./flow//pay");\n'
        'async function helper() {}\nasync function order(x) {\n  "use workflow";\n  await pay(x);\n}\n});'
    )
    assert told(javascript_shapes(source)) == ["pay"]


def test_a_function_that_calls_itself_ends() -> None:
    assert of("async function f() { await a(1); await f() }\nawait f()") == [("function", ["a"])]


@pytest.mark.parametrize(
    "source", ["", "const a = (", "}", "async function w() {", "`", "/*", "\0" * 9, "if (", "for" * 99]
)
def test_a_source_that_is_none_has_no_shape(source: str) -> None:
    found = shape_data("javascript", "", source)
    assert (found["is_native"], found["is_read"], found["items"]) == (True, False, [])
