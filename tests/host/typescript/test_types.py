"""Types become spaces: every line and column of what runs is that of what was written, and nothing else is lost."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, TypeAlias

import pytest
from guest.cells import SEED, pack
from host.typescript.compile import engine
from host.typescript.record import FIXTURES, fixtures
from hypothesis import given
from hypothesis import strategies as st

from cloche.history.messages import CompleteRun
from cloche.history.output import split_output, unpack_command
from cloche.operations.typescript import COMPILE_LIMITS
from cloche.operations.typescript.compiling import compiler_source
from cloche.sandbox import Cell, base_image, load_image

Both: TypeAlias = tuple[str, str]  # TypeScript, and the same without types

_ASKED = """
export default ({ file, text }) => {
  const problems = new Problems(), found = withoutTypes(file, text, problems);
  return { source: found?.source ?? null, problems: problems.found.map((one) => `${one.line}:${one.column} ${one.message}`) };
};
"""


@cache
def image() -> Any:
    source = compiler_source().replace("export default async (entry)", "const compile_ = async (entry)") + _ASKED
    return load_image(base_image(*engine().guest()), source, COMPILE_LIMITS)


def blanked(text: str, file: str = "flow.ts") -> tuple[str | None, list[str]]:
    """The JavaScript of a file, and its problems as `line:column message`."""
    output = Cell(image(), COMPILE_LIMITS).turn([pack([0, 0, SEED, {"file": file, "text": text}, {}])])
    [command] = [unpack_command(one) for each in split_output(output) for one in each]
    assert isinstance(command, CompleteRun)
    return command.value["source"], command.value["problems"]


def javascript(text: str) -> str:
    source, problems = blanked(text)
    assert source is not None, problems
    return source


def bare(text: str) -> str:
    """Without what may be anywhere."""
    return re.sub(r"[\s;]", "", text)


def assert_in_place(text: str, made: str) -> None:
    """The same lines, and each character where it was or a space."""
    assert [len(line) for line in made.split("\n")] == [len(line) for line in text.split("\n")]
    moved = [(was, now) for was, now in zip(text, made, strict=True) if now not in (was, " ", ";", "(", ")")]
    assert moved == []


@pytest.mark.parametrize("file", [one for one in fixtures() if one not in ("enums.ts", "serde.ts")])
def test_types_of_a_whole_file_become_spaces(file: str) -> None:
    text = (FIXTURES / file).read_text()
    assert_in_place(text, javascript(text))


# ── programs of many forms ──────────────────────────────────────────────────────────────────────────────────────────────
names = st.sampled_from(["a", "b", "value", "other", "async_", "type_"])
types = st.recursive(
    st.sampled_from(
        ["string", "number", "unknown", "Order", "ns.Order", "'x' | 'y'", "`n-${number}`", "typeof a", "null", "this"]
    ),
    lambda inner: st.one_of(
        st.builds("Array<{}>".format, inner),
        st.builds("{}[]".format, st.sampled_from(["string", "Order"])),
        st.builds("{{ a: {}; readonly b?: {}, [key: string]: {} }}".format, inner, inner, inner),
        st.builds("(x: {}, ...rest: {}[]) => {}".format, inner, st.sampled_from(["string", "Order"]), inner),
        st.builds("Map<\n  {},\n  {}\n>".format, inner, inner),
        st.builds("({})[]".format, inner),
        st.builds("[first: {}, second?: {}]".format, inner, inner),
        st.builds("T extends {} ? {} : never".format, st.sampled_from(["string", "Order"]), inner),
        st.builds("{{ [K in keyof T]?: {} }}".format, inner),
        st.builds("Promise<{}> & {{ new (): {} }}".format, inner, inner),
    ),
    max_leaves=4,
)


def same(text: str) -> Both:
    return text, text


atoms = st.one_of(names, st.sampled_from(["1", '"text"', "`t${a}`", "[1, a]", "{ a, b: 2 }", "/re[/]x/g", "null"])).map(
    same
)


def around(expressions: st.SearchStrategy[Both]) -> st.SearchStrategy[Both]:
    return st.one_of(
        st.builds(lambda e, t: (f"({e[0]} as {t})", f"({e[1]})"), expressions, types),
        st.builds(lambda e, t: (f"({e[0]} satisfies {t})", f"({e[1]})"), expressions, types),
        st.builds(lambda e: (f"({e[0]})!.x", f"({e[1]}).x"), expressions),
        st.builds(lambda e, t: (f"(<{t}>({e[0]}))", f"(({e[1]}))"), expressions, types),
        st.builds(lambda e, t: (f"f<{t}>({e[0]})", f"f({e[1]})"), expressions, types),
        st.builds(lambda e, t: (f"new Map<{t}, {t}>({e[0]})", f"new Map({e[1]})"), expressions, types),
        st.builds(
            lambda e, t: (f"(<T,>(p: {t}, q?: {t}): {t} => ({e[0]}))", f"((p, q) => ({e[1]}))"), expressions, types
        ),
        st.builds(
            lambda e, t: (
                f"(async <T extends {{}},\n  U>(p: {t}): Promise<\n  {t}\n> => ({e[0]}))",
                f"(async (p) => ({e[1]}))",
            ),
            expressions,
            types,
        ),
        st.builds(lambda e, t: (f"[{e[0]}, ...({e[0]} as {t})]", f"[{e[1]}, ...({e[1]})]"), expressions, types),
        st.builds(
            lambda e: (f"{{ m({e[0].strip('()')[:0]}): void {{}}, k: {e[0]} }}", f"{{ m() {{}}, k: {e[1]} }}"),
            expressions,
        ),
    )


expressions = st.recursive(atoms, around, max_leaves=4)
ends = st.sampled_from([";\n", "\n", "\n;", ";"])
statements = st.one_of(
    st.builds(
        lambda e, t, end: (f"const c: {t} = {e[0]}{end}", f"const c = {e[1]}{end}"), expressions, types, st.just(";\n")
    ),
    st.builds(lambda t: (f"let v: {t}\n(function () {{}})()\n", "let v\n;(function () {})()\n"), types),
    st.builds(lambda e, t: (f"void (0 as {t})\n", "void (0)\n"), expressions, types),
    st.builds(lambda e, t: (f"w = x as {t}\n[0].y = {e[0]}\n", f"w = x\n;[0].y = {e[1]}\n"), expressions, types),
    st.builds(lambda t: (f"type T1<T> = {t};\n", ""), types),
    st.builds(lambda t: (f"export interface I1<T> extends I2 {{ a?: {t}; m(): {t} }}\n", ""), types),
    st.builds(lambda t: (f"declare const d: {t};\nexport declare function df(a: {t}): {t};\n", ""), types),
    st.builds(
        lambda e, t: (
            f"function f1<T>(this: {t}, a: {t} = {e[0]}, ...r: {t}): asserts a is {t} {{ return {e[0]} }}\n",
            f"function f1(a = {e[1]}, ...r) {{ return {e[1]} }}\n",
        ),
        expressions,
        types,
    ),
    st.builds(
        lambda e, t: (
            f"abstract class K<T> extends B<{t}> implements I<{t}>, J {{\n  private readonly x: {t} = {e[0]}\n  static y?: {t};\n"
            f"  protected abstract z: {t};\n  declare q: {t};\n  ['k']!: {t}\n  public override async m<T>(a?: {t}): Promise<{t}> {{}}\n"
            f"  abstract n(): {t};\n  get g(): {t} {{ return {e[0]} }}\n}}\n",
            f"class K extends B {{ x = {e[1]} static y ['k'] async m(a) {{}} get g() {{ return {e[1]} }} }}\n",
        ),
        expressions,
        types,
    ),
    st.builds(
        lambda e, t: (f"for (const o of {e[0]} as {t}) {{ o! }}\n", f"for (const o of {e[1]}) {{ o }}\n"), atoms, types
    ),
    st.builds(
        lambda e, t: (f"try {{ {e[0]} }} catch (x: unknown) {{}}\n", f"try {{ {e[1]} }} catch (x) {{}}\n"),
        atoms.filter(lambda e: e[0][0] != "{"),
        types,
    ),
    st.just(
        (
            "import type { A } from 'a';\nimport { type B, c1 } from 'b';\nexport type { A };\n",
            "import { c1 } from 'b';\n",
        )
    ),
)


@given(st.lists(statements, min_size=1, max_size=5))
def test_types_of_any_program_become_spaces(program: list[Both]) -> None:
    text = "".join(
        f"{{\n{one[0]}}}\n" if "import" not in one[0] and "export" not in one[0] else one[0] for one in program[:1]
    )
    expected = "".join(
        f"{{\n{one[1]}}}\n" if "import" not in one[0] and "export" not in one[0] else one[1] for one in program[:1]
    )
    for number, (typed, plain) in enumerate(program[1:]):
        if "import" in typed or "export" in typed:
            continue
        text += f"export const n{number} = () => {{\n{typed}}};\n"
        expected += f"export const n{number} = () => {{\n{plain}}};\n"
    made = javascript(text)
    assert_in_place(text, made)
    assert bare(made) == bare(expected)


# ── what is more than a type ────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("namespace N { export const a = 1; }", "1:1 a namespace is more than a type"),
        ("import fs = require('fs');", "1:1 'import … =' is not JavaScript"),
        ("const a = 1;\nexport = a;", "2:1 'export =' is not JavaScript"),
        ("@sealed\nclass A {}", "1:1 decorators are not taken"),
        ("class A {\n  @log m() {}\n}", "2:3 decorators are not taken"),
        ("const f = () => <T>{ a: 1 };", "1:17 write { … } as T here"),
        ("const a = <div>hello</div>;", "JSX is not for workflows"),
        ("const a = ;", "1:11 Unexpected token"),
        ("const a: = 1;", "1:10 "),
        ("function f( {", "1:14 "),
        ("let x = 'open\n", "1:9 Unterminated string constant"),
        ("/[/", "1:2 Unterminated regular expression"),
        ("`", "1:2 Unterminated template"),
    ],
)
def test_what_is_no_type_is_refused_by_its_line(text: str, problem: str) -> None:
    source, problems = blanked(text)
    assert source is None
    assert problem in problems[0]


def test_jsx_is_refused_by_its_line_in_a_file_for_it() -> None:
    source, problems = blanked("const a = 1;\nconst b = <p>{a}</p>;", "flow.tsx")
    assert (source, problems) == (None, ["2:11 JSX is not for workflows: render it in a step"])


def test_a_namespace_of_types_is_a_type() -> None:
    assert bare(javascript("namespace N { export type A = 1; interface B {} }\nconst a = 1;")) == "consta=1"


def test_an_enum_stays_in_its_lines() -> None:
    made = javascript("enum E {\n  A,\n  B = 'b',\n  C = 1 << 3,\n  D,\n}\nconst after = E.D;")
    assert made.count("\n") == 6
    assert made.split("\n")[6] == "const after = E.D;"


def test_parameter_properties_are_set_when_there_is_a_this() -> None:
    made = javascript("class A extends B { constructor(private a: string, readonly b = 1) { super(a); this.c = 2; } }")
    assert bare("super(a); this.a = a; this.b = b; this.c = 2;") in bare(made)
