"""Imports: files and packages that a workflow needs come along, what only steps need is left out, what needs Node.js is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from host.typescript.compile import BYTES_MAX, compiled, engine, given, problems

from cloche.errors import CompileError, TargetError, UsageError
from cloche.operations.typescript import Disk, compile_on_disk
from cloche.operations.typescript.compiling import compile_with
from cloche.run.source_maps import authored

FLOW = 'export async function flow() { "use workflow"; return %s; }\n'
STEP = 'export async function %s() { "use step"; return %s; }\n'


def files_of(files: dict[str, str | bytes], entry: str = "flow.ts") -> set[str]:
    return set(compiled(given(files), entry).files)


def test_relative_files_come_along_as_bundlers_find_them() -> None:
    found = files_of({
        "flow.ts": 'import { a } from "./a";\nimport { b } from "./lib/b.js";\nimport { c } from "./dir";\nimport d from "../d.json";\n'
        + FLOW % "[a, b, c, d]",
        "a.ts": "export const a = 1;",
        "lib/b.ts": "export const b = 2;",
        "dir/index.ts": "export const c = 3;",
        "../d.json": '{"d": 4}',
    })  # fmt: skip
    assert found == {"flow.ts", "a.ts", "lib/b.ts", "dir/index.ts", "../d.json"}


def test_what_only_steps_need_is_left_out() -> None:
    text = (
        'import Stripe from "stripe";\nimport { readFile } from "node:fs/promises";\nimport { unused } from "./nowhere";\n'
        + "const stripe = new Stripe(process.env.KEY!);\n"
        + STEP % ("pay", 'stripe.pay(await readFile("x"), unused)')
        + FLOW % "pay()"
    )
    made = compiled(text)
    assert made.files == ("flow.ts",)
    assert "Stripe" not in made.source.partition("//# sourceMappingURL")[0]


def test_types_are_no_reason_for_a_file_to_come_along() -> None:
    text = (
        'import type { A } from "./a";\nimport { B } from "./b";\n'
        + 'export async function flow(a: A): Promise<B> { "use workflow"; return a; }'
    )
    assert compiled(text).files == ("flow.ts",)


def test_a_file_that_is_not_there_is_told_with_its_line() -> None:
    assert problems('import { a } from "./a";\n' + FLOW % "a") == [("flow.ts", 1, 1, "there is no './a' here: a")]


def test_an_export_that_is_not_there_is_told_with_its_line() -> None:
    files = given(
        {"flow.ts": '\nimport { a, c } from "./a";\n' + FLOW % "[a, c]", "a.ts": "export const a = 1, b = 2;"}
    )
    assert problems(files) == [("flow.ts", 2, 1, "'./a' exports no 'c'")]


def test_what_needs_node_is_refused_with_every_line() -> None:
    text = 'import { readFile } from "node:fs/promises";\nimport os from "os";\n' + FLOW % "[readFile, os]"
    assert problems(text) == [
        ("flow.ts", 1, 1, "'node:fs/promises' cannot be used in a workflow, only in a step: readFile"),
        ("flow.ts", 2, 1, "'os' cannot be used in a workflow, only in a step: os"),
    ]


def test_a_package_that_is_not_installed_is_refused() -> None:
    [(file, line, _, said)] = problems('\n\nimport Stripe from "stripe";\n' + FLOW % "new Stripe()")
    assert (file, line) == ("flow.ts", 3)
    assert said == "'stripe' cannot be used in a workflow, only in a step: Stripe (it is in no node_modules beside it)"


PACKAGES = {
    "node_modules/plain/package.json": '{"name": "plain", "version": "1.0.0", "main": "lib"}',
    "node_modules/plain/lib/index.js": 'const { two } = require("./two"); exports.one = 1; exports.two = two; exports.env = process.env.NODE_ENV;',
    "node_modules/plain/lib/two.js": "module.exports = { two: 2 };",
    "node_modules/modern/package.json": '{"name": "modern", "version": "2.0.0", "type": "module", "exports": '
    '{".": {"node": "./node.js", "import": "./main.js"}, "./sub/*": "./inner/*.js", "./hidden": null}}',
    "node_modules/modern/main.js": 'export { three } from "#inner"; export default "d"; export * from "plain";',
    "node_modules/modern/node.js": 'import "node:fs";',
    "node_modules/modern/inner/a.js": "export const a = 4;",
    "node_modules/@scope/pkg/package.json": '{"name": "@scope/pkg", "version": "3.0.0", "module": "es.js", "main": "cjs.js"}',
    "node_modules/@scope/pkg/es.js": 'import { readFileSync } from "fs";\nexport const pure = 5;\nexport const dirty = () => readFileSync;',
}
PACKAGES["node_modules/modern/package.json"] = (
    PACKAGES["node_modules/modern/package.json"][:-1] + ', "imports": {"#inner": "./three.js"}}'
)
PACKAGES["node_modules/modern/three.js"] = "export const three = 3;"


def test_packages_are_found_by_exports_module_and_main() -> None:
    text = (
        'import { one } from "plain";\nimport d, { three } from "modern";\nimport { a } from "modern/sub/a";\nimport { pure } from "@scope/pkg";\n'
        + FLOW % "[one, d, three, a, pure]"
    )
    found = files_of({"flow.ts": text, **PACKAGES})
    assert found >= {
        "node_modules/plain/lib/index.js",
        "node_modules/plain/lib/two.js",
        "node_modules/modern/main.js",
        "node_modules/modern/three.js",
        "node_modules/modern/inner/a.js",
        "node_modules/@scope/pkg/es.js",
    }
    assert "node_modules/modern/node.js" not in found


def test_a_package_that_needs_node_where_the_workflow_uses_it_is_refused_in_its_own_file() -> None:
    files = given({"flow.ts": 'import { dirty } from "@scope/pkg";\n' + FLOW % "dirty()", **PACKAGES})
    assert problems(files) == [
        ("node_modules/@scope/pkg/es.js", 1, 1, "'fs' cannot be used in a workflow, only in a step: readFileSync")
    ]


@pytest.mark.parametrize("name", ["modern/other", "modern/hidden"])
def test_what_a_package_does_not_export_is_refused(name: str) -> None:
    [(_, line, _, said)] = problems(given({"flow.ts": f'import {{ a }} from "{name}";\n' + FLOW % "a", **PACKAGES}))
    assert (line, said.partition(": ")[2]) == (1, f"a (its package has no '{name}' that can be imported)")


def test_aliases_of_tsconfig_are_followed() -> None:
    files: dict[str, str | bytes] = {
        "flow.ts": 'import { a } from "@/lib/a";\n' + FLOW % "a",
        "src/lib/a.ts": "export const a = 1;",
        "tsconfig.json": '{ // comments, and a comma at the end\n "compilerOptions": { "paths": { "@/*": ["./src/*"], } } }',
    }
    assert files_of(files) == {"flow.ts", "src/lib/a.ts"}


def test_workflows_that_the_entry_hands_on_are_there() -> None:
    files = given({
        "flow.ts": 'export * from "./one";\nexport { two } from "./two";\nimport { three } from "./three";\nexport { three };\n',
        "one.ts": FLOW.replace("flow()", "one()") % "1",
        "two.ts": FLOW.replace("flow()", "two()") % "2",
        "three.ts": FLOW.replace("flow()", "three()") % "3",
    })  # fmt: skip
    assert [one.name for one in compiled(files).workflows] == ["one", "two", "three"]


def test_what_is_imported_twice_comes_once() -> None:
    files: dict[str, str | bytes] = {
        "flow.ts": 'import { a } from "./a";\nimport { b } from "./b";\n' + FLOW % "[a, b]",
        "a.ts": 'export { shared as a } from "./shared";',
        "b.ts": 'import { shared } from "./shared.ts";\nexport const b = shared;',
        "shared.ts": "export const shared = {};",
    }
    made = compiled(given(files))
    assert sorted(made.files) == ["a.ts", "b.ts", "flow.ts", "shared.ts"]


def test_the_bundle_has_the_files_as_they_were_written() -> None:
    files = {"flow.ts": 'import { a } from "./a";\n' + FLOW % "a", "a.ts": "export const a: number = 1; // é€😀\n"}
    source = compiled(given({**files, **PACKAGES})).source
    assert authored(source) == files


def test_equal_files_give_equal_bundles() -> None:
    text = 'import { one } from "plain";\n' + FLOW % "one"
    assert compiled(given({"flow.ts": text, **PACKAGES})) == compiled(
        given({**dict(reversed(PACKAGES.items())), "flow.ts": text})
    )


# ── bounds ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_sources_beyond_the_bound_are_refused_with_the_largest() -> None:
    files = given(
        {"flow.ts": 'import { a } from "./large";\n' + FLOW % "a", "large.ts": f"export const a = 1; // {'x' * 5000}"}
    )
    with pytest.raises(
        CompileError, match=r"more than 1,000 bytes or 5,000 files; the largest are large\.ts \(5,023\)"
    ):
        compile_with(engine(), files.entry("flow.ts"), files, 1_000)


def test_an_entry_without_a_workflow_is_refused() -> None:
    [(file, line, _, said)] = problems(STEP % ("one", "1"))
    assert (file, line) == ("flow.ts", 1)
    assert said.startswith('nothing here is marked "use workflow"')


def test_an_entry_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r"there is no file other\.ts"):
        compiled(given({}), "other.ts")


# ── on this machine ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_ids_are_made_of_the_path_from_the_projects_folder_on(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "src" / "flow.ts").write_text(FLOW % "1")
    made = compile_on_disk(engine(), tmp_path / "src" / "flow.ts")
    assert [one.id for one in made.workflows] == ["workflow//./src/flow//flow"]


def test_packages_above_the_project_and_behind_links_are_found(tmp_path: Path) -> None:
    real = tmp_path / "node_modules" / ".store" / "left@1.0.0" / "node_modules"
    (real / "left").mkdir(parents=True)
    (real / "right").mkdir()
    (real / "left" / "package.json").write_text('{"name": "left", "version": "1.0.0", "main": "index.js"}')
    (real / "left" / "index.js").write_text('module.exports = require("right");')
    (real / "right" / "package.json").write_text('{"name": "right", "version": "1.0.0", "main": "index.js"}')
    (real / "right" / "index.js").write_text("exports.right = 1;")
    project = tmp_path / "app"
    (project / "node_modules").mkdir(parents=True)
    (project / "node_modules" / "left").symlink_to(real / "left")
    (project / "package.json").write_text("{}")
    (project / "flow.ts").write_text('import { right } from "left";\n' + FLOW % "right")
    made = compile_on_disk(engine(), project / "flow.ts")
    assert made.files[0] == "../node_modules/.store/left@1.0.0/node_modules/right/index.js"


def test_a_file_that_is_no_text_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "flow.ts").write_text('import { a } from "./a";\n' + FLOW % "a")
    (tmp_path / "a.ts").write_bytes(b"export const a = '\xff';")
    disk = Disk(tmp_path / "flow.ts")
    with pytest.raises(CompileError, match=r"flow\.ts:1:1: there is no './a' here: a"):
        compile_with(engine(), disk.entry("flow.ts"), disk, BYTES_MAX)


@pytest.mark.parametrize("name", ["flow.py", "nowhere.ts"])
def test_what_is_no_typescript_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "flow.py").touch()
    with pytest.raises(TargetError):
        compile_on_disk(engine(), tmp_path / name)
