"""Sources and packages that mean harm, as tenants deploy them or projects have them: each ends within its bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.apps import in_loop

import cloche
from cloche import Cloche, Policy
from cloche.errors import CompileError, DeployRefused, UsageError
from cloche.operations.typescript.resolving import Given, Missing

W = '\nexport async function w() { "use workflow"; return '


def circle(size: int) -> dict[str, str | bytes]:
    """Each file imports the next one, and the last the first."""
    own = "export const a = (n: number): number => (n > 0 ? b(n - 1) : {n});"
    files: dict[str, str | bytes] = {
        f"f{n}.ts": f'import {{ a as b }} from "./f{(n + 1) % size}";\n{own.replace("{n}", str(n))}\n'
        for n in range(size)
    }
    return files | {"flow.ts": f'import {{ a }} from "./f0";{W}a(5); }}\n'}


@in_loop
async def test_a_circle_of_many_files_is_compiled_or_refused_and_runs() -> None:
    async with Cloche(policies={"acme": Policy()}) as app:
        version = await app.deploy("acme", files=circle(300), main="flow.ts")
        assert (await (await app.tenant("acme").start(version, [])).result()).unwrap() == 5


SLOW = {
    "a pattern that goes back for ever": f"const r = /^(a+)+$/;{W}r.test('a'.repeat(5000) + 'b'); }}",
    "a type that is a riddle": "type A<T> = "
    + "T extends [infer X, ...infer Y] ? " * 2_000
    + "T"
    + " : never" * 2_000
    + f";{W}1; }}",
    "comments within comments": "/*" * 200_000 + "*/" + f"{W}1; }}",
    "a name of a megabyte": f"const {'a' * 1_000_000} = 1;{W}1; }}",
    "exports by the thousand": "".join(f"export const a{n} = {n};" for n in range(20_000)) + f"{W}1; }}",
    "steps by the thousand": "".join(f'export async function s{n}() {{ "use step"; }}\n' for n in range(3_000))
    + f"{W}1; }}",
    "a chain of calls": f"const f: any = () => f;{W}f" + "()" * 20_000 + "; }",
    "lines by the million": "\n" * 1_000_000 + f"{W}1; }}",
}


@pytest.mark.parametrize("what", SLOW)
@in_loop
async def test_a_source_that_is_slow_to_read_is_bounded(what: str) -> None:
    """It is deployed or refused, and whatever its run does is bounded by the tenant's limits."""
    policy = Policy.strict().model_copy(update={"source_bytes": 4 << 20})
    async with Cloche(policies={"mallory": policy}) as app:
        reason = version = None
        try:
            version = await app.deploy("mallory", SLOW[what], language="typescript", workflow="w")
        except DeployRefused as refused:
            reason = refused.facts["reason"]
        assert reason in (None, "compile", "limit-exceeded", "evaluation")
        if version is not None:
            result = await (await app.tenant("mallory").start(version, [])).result()
            assert result.status in ("success", "failed")


@in_loop
async def test_a_source_of_ten_megabytes_is_refused_before_it_is_read() -> None:
    async with Cloche(policies={"mallory": Policy.strict()}) as app:
        with pytest.raises(DeployRefused, match="has more than"):
            await app.deploy("mallory", f"// {'x' * 10_000_000}{W}1; }}", language="typescript")


TARGETS = [
    "./../../secret.js",
    "./lib/../../secret.js",
    "./node_modules/other/a.js",
    "../secret.js",
    "/etc/passwd",
    "./%2e%2e/x.js",
    ".",
]


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_package_exports_lies_in_it(target: str) -> None:
    files = Given({
        "flow.ts": "", "secret.js": "export default 1", "node_modules/secret.js": "export default 1",
        "node_modules/p/node_modules/other/a.js": "export default 1",
        "node_modules/p/package.json": f'{{"name": "p", "version": "1.0.0", "exports": {{".": "{target}", "./*": "./*"}}}}',
    })  # fmt: skip
    assert isinstance(files("flow.ts", "p"), Missing)
    assert isinstance(files("flow.ts", "p/../../secret.js"), Missing)
    assert isinstance(files("flow.ts", "p/node_modules/other/a.js"), Missing)


ODD: list[Any] = [
    1,
    [],
    [[["./a.js"]]],
    {"import": {"import": 1}},
    {"./x": None},
    {"*": "./*"},
    {"./a*b*c": "./*"},
    None,
    "",
    {".": {}},
]


@pytest.mark.parametrize("exports", ODD, ids=str)
def test_exports_of_any_form_are_read_or_refused(exports: Any, tmp_path: Path) -> None:
    import json

    package = tmp_path / "node_modules" / "p"
    package.mkdir(parents=True)
    (tmp_path / "package.json").write_text("{}")
    (package / "a.js").write_text("export const x = 1;")
    (package / "package.json").write_text(
        json.dumps({"name": ["p"], "version": {}, "type": 1, "exports": exports, "main": [], "imports": 3})
    )
    (tmp_path / "flow.ts").write_text(f'import {{ x }} from "p";{W}x; }}\n')
    found: Any = None
    try:
        found = [one.id for one in cloche.load_bundle(tmp_path / "flow.ts").workflows]
    except CompileError as refused:
        found = refused.facts["file"], refused.facts["line"]
    assert found in (["w"], ("flow.ts", 1))


def test_links_that_lead_in_a_circle_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "a.ts").symlink_to("b.ts")
    (tmp_path / "b.ts").symlink_to("a.ts")
    (tmp_path / "node_modules").symlink_to("node_modules")
    for name in ("./a", "p"):
        (tmp_path / "flow.ts").write_text(f'import {{ x }} from "{name}";{W}x; }}\n')
        with pytest.raises(CompileError, match=r"flow\.ts:1:1"):
            cloche.load_bundle(tmp_path / "flow.ts")


def test_a_package_behind_a_link_is_found_where_it_lies(tmp_path: Path) -> None:
    store = tmp_path / "store" / "p"
    store.mkdir(parents=True)
    (store / "package.json").write_text('{"name": "p", "version": "1.0.0", "type": "module", "exports": "./a.js"}')
    (store / "a.js").write_text("export const x = 7;")
    project = tmp_path / "project"
    (project / "node_modules").mkdir(parents=True)
    (project / "package.json").write_text("{}")
    (project / "node_modules" / "p").symlink_to(store)
    (project / "flow.ts").write_text(f'import {{ x }} from "p";{W}x; }}\n')
    assert [one.id for one in cloche.load_bundle(project / "flow.ts").workflows] == ["w"]


def test_no_source_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "flow.ts").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError):
        cloche.load_bundle(tmp_path / "flow.ts")
