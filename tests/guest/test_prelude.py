"""The prelude: scripts that run while the guest is baked, and what only they can do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import wasmtime
from guest.cells import NOW, Cell, engine, workflow

from cloche_guest import BuildFailed, artifacts
from cloche_guest.build import Sources, build

LISTENING = """
(cloche) => {
  const heard = [];
  cloche.listen("suspended", (path, whether) => { heard.push(["suspended", path, whether]); throw new Error("ignored") });
  cloche.listen("bailed", (value) => { heard.push(["bailed", value]); return "reason" });
  cloche.listen("cancelRequested", (reason) => { heard.push(["cancelRequested", reason]) });
  cloche.heard = () => heard.slice();
  try { cloche.listen("other", () => 1) } catch (error) { heard.push(error.name) }
  const strict = (function () { return this })() === undefined;
  heard.push(strict);
}
"""


def build_with(folder: Path, **files: str) -> bytes:
    """The guest with further prelude files."""
    shutil.copytree(artifacts.SOURCES.root, folder)
    shutil.copytree(artifacts.SOURCES.root.parent / "common", folder.parent / "common")
    for name, text in files.items():
        (folder / "prelude" / f"{name}.js").write_text(text)
    return build(Sources(folder), artifacts._cache_directory(), lambda _: None).wasm


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> wasmtime.Module:
    return wasmtime.Module(engine(), build_with(tmp_path_factory.mktemp("prelude") / "js", x_listening=LISTENING))


def test_listeners_hear_an_event_before_its_promise_settles(listening: wasmtime.Module) -> None:
    source = workflow("""
    const a = step("a")(), b = step("b")(), again = step("b")();
    const thrown = await a.catch((error) => error), then = cloche.heard().slice(2);
    await b; await again; return [thrown, then, cloche.heard().slice(2)];""")
    cell = Cell(source, guest=listening)
    cell.start()
    cell.turn([3, NOW, 3, {"path": "b#2"}], [7, NOW], [9, NOW, 3, {"path": "b#2"}], [7, NOW, "user"])

    assert cell.turn([10, NOW, 1, {"n": 1}]) == []
    heard = [
        ["suspended", "b#2", True],
        ["cancelRequested", None],
        ["suspended", "b#2", False],
        ["cancelRequested", "user"],
        ["bailed", {"n": 1}],
    ]
    assert cell.complete(2) == []
    assert cell.complete(3) == [[7, ["reason", heard, heard]]]


def test_prelude_files_are_strict_and_their_mistakes_are_errors(listening: wasmtime.Module) -> None:
    assert Cell("export default () => cloche.heard().slice(0, 2)", guest=listening).start() == [
        [7, ["TypeError", True]]
    ]


def test_what_they_add_is_frozen(listening: wasmtime.Module) -> None:
    source = workflow("return [Object.isFrozen(cloche.heard), 'listen' in cloche]")

    assert Cell(source, guest=listening).start() == [[7, [True, False]]]


@pytest.mark.parametrize("text", ["(cloche) => { null.x }", "(cloche) => {", "5"])
def test_a_file_that_does_not_run_fails_the_build_by_name(text: str, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"broken\.js does not run"):
        build_with(tmp_path / "js", broken=text)
