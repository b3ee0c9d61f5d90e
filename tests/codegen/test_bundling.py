"""Modules that a native workflow uses as modules go along as they are, with what they import: one source, one digest."""

from __future__ import annotations

import codegen.bundling_for_tests as author
import pytest
from guest.cells import python_module
from support.apps import in_loop

from cloche import Cloche, DirectEngine, SandboxEngine, Workflow
from cloche.engines.files import MARK, texts_of
from cloche_codegen import Graph, GraphError

HOME = "codegen/shop_for_tests"


def test_the_files_of_a_module_and_of_what_it_imports_go_along() -> None:
    source = author.order.source().code

    assert sorted(texts_of(source)) == [f"{HOME}/__init__.py", f"{HOME}/errors.py", f"{HOME}/rules.py"]
    assert "\nimport codegen.shop_for_tests.errors\n" in source
    assert "\nfrom codegen.shop_for_tests.rules import Price\n" in source  # one class, not a copy of it
    assert source.count(MARK) == 1


def test_a_stored_graph_gives_the_same_source() -> None:
    graph = author.order.graph

    assert Graph.from_json(graph.to_json()).native == graph.native


def test_an_import_within_the_function_brings_the_module_too() -> None:
    assert f"{HOME}/rules.py" in texts_of(author.late.source().code)


def test_no_module_is_run_to_find_it() -> None:
    elsewhere = f"{HOME}/elsewhere"  # whose import fails here

    assert {f"{elsewhere}/__init__.py", f"{elsewhere}/console.py"} <= set(texts_of(author.lazily.source().code))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (author.paying, "it uses the module codegen.shop_for_tests.flows, which has the step pay of the host"),
        (author.versioned, "needs pydantic_core._pydantic_core, which is not written in Python"),
    ],
    ids=["step", "c"],
)
def test_what_cannot_go_along_is_refused_by_name(made: Workflow, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        made.source()


@in_loop
@pytest.mark.parametrize("engine", [SandboxEngine, DirectEngine])
async def test_they_are_imported_under_glass(engine: type[SandboxEngine | DirectEngine]) -> None:
    python_module()  # or this is skipped
    async with Cloche(workflows=[author.order, author.late], engine=engine()) as app:
        good, caught, empty = [await app.start(author.order, lines) for lines in ([1, 2], [1, 200], [])]
        late = await app.start(author.late, [5])

        assert (await good.result(final=True)).unwrap() == ["paid 3", True, True, True]
        assert (await caught.result(final=True)).unwrap() == ["caught: too much", True, True, True]
        assert (await late.result(final=True)).unwrap() == 5
        failed = await empty.result(final=True)
        assert "nothing to sell" in str(failed)
        assert (await app.replay(good.id)).ok
