"""Native workflows: a function and all it calls go under glass, steps stay on the host."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import codegen.native_for_tests as author
import pytest
from codegen.functions_for_tests import client
from guest_python.loop_cells import LoopCell
from host.engines.twins import NOW, commands_of, event, started

import cloche
from cloche import Step, Workflow, gather, sleep, step, workflow
from cloche_codegen import Graph, GraphError

DAY_MS = 86_400_000


def commands(cell: LoopCell, *items: Any) -> list[Any]:
    return commands_of(cell.turn([event(items[0], NOW, *items[1:])]))


def begun(made: Workflow, value: Any = None) -> tuple[LoopCell, list[Any]]:
    cell = LoopCell(made.source().code)
    return cell, commands_of(cell.turn([started(value)]))


def test_a_run_from_its_start_to_its_end() -> None:
    cell, asked = begun(author.onboard, {"name": "ann"})
    assert asked == [[0, 1, "create-account", "create-account", [{"name": "ann"}]]]
    asked = commands(cell, 1, 1, {"id": 7, "addresses": ["b@x", "a@x"]})
    assert [command[3:] for command in asked] == [["send_mail", ["a@x"]], ["send_mail", ["b@x"]]]
    assert commands(cell, 1, 2, "a") == []
    ((kind, call, _, due, _),) = commands(cell, 1, 3, "b")
    assert (kind, due) == (1, NOW + 3 * DAY_MS)
    assert commands(cell, 4, call) == [[7, {"account": 7, "mails": 2, "fee": 6, "at": 2026}]]


def test_what_is_emitted_can_be_read() -> None:
    head = """\
# Workflow 'onboard': Take somebody in.
# Taken from its author's file by cloche: change it there, not here.
from cloche import step as _step
from cloche import workflow as _workflow
from cloche import gather
from cloche import sleep
import cloche
create_account = _step('create-account', signature='create_account(user)')
send_mail = _step('send_mail', signature='send_mail(address)')
RATE = {'fee': 2}


def wanted(addresses):
    if any("@" not in address for address in addresses):
"""
    code = author.onboard.source().code
    assert code.startswith(head)
    assert code.endswith("_workflow(onboard)\n")
    assert "async def onboard(user):\n" in code


def test_lines_of_the_code_are_lines_of_the_file() -> None:
    source = author.onboard.source()
    written = Path(author.__file__).read_text("utf-8").split("\n")
    shared = [(line, place) for line, place in source.map.items() if "def " not in source.code.split("\n")[line - 1]]
    assert len(shared) > 15
    for line, place in shared:
        name, _, number = place.partition(":")
        assert name == "native_for_tests.py"
        assert source.code.split("\n")[line - 1] == written[int(number) - 1]


def test_a_failure_points_at_the_line_of_the_author() -> None:
    cell, _ = begun(author.onboard, {})
    ((kind, failure),) = commands(cell, 1, 1, {"addresses": ["nobody"]})
    assert (kind, failure["name"], failure["message"]) == (8, "ValueError", "an address without an @")
    places = [(author.onboard.source().map[line], function) for line, function in failure["trace"]]
    lines, first = inspect.getsourcelines(author.wanted)
    (raising,) = (first + index for index, line in enumerate(lines) if "raise" in line)
    assert places[-1] == (f"native_for_tests.py:{raising}", "wanted")
    assert places[0][1] == "onboard"


def test_it_has_the_face_of_a_workflow() -> None:
    made = author.onboard
    assert isinstance(made, Workflow)
    assert (made.id, made.guest, made.language, made.description) == (
        "onboard",
        "python",
        "python",
        "Take somebody in.",
    )
    assert list(made.graph.steps) == list(made.steps) == ["create-account", "send_mail"]
    assert made.input_adapter() is not None
    assert made.to_text().startswith("workflow onboard\n  function onboard\n    step create-account\n")
    assert made.to_mermaid().startswith("flowchart TD")
    assert made.to_svg().startswith("<svg")


def test_a_stored_one_is_the_same() -> None:
    graph = author.onboard.graph
    text = graph.to_json()
    loaded = cloche.load_workflow(text, steps=author.onboard.steps)
    assert loaded.graph == graph
    assert loaded.graph.to_json() == text
    assert loaded.source().code == author.onboard.source().code


def test_the_tree_is_not_for_it() -> None:
    with pytest.raises(GraphError, match="only the Python guest can run: use SandboxEngine"):
        _ = author.onboard.tree


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("async def onboard", "def onboard", "does not end with an async function"),
        ("_step('send_mail'", "_step('send-mail'", "the graph has no step 'send-mail'; did you mean 'send_mail'?"),
        ("import cloche\\n", "import os\\n", "is no import, no data and no definition"),
        ('"nodes":[]', '"nodes":[{"type":"step","id":"send_mail","step":"send_mail"}]', "has neither nodes nor nested"),
        ('"guest":"python"', '"guest":"javascript"', 'and guest="javascript" was asked for'),
    ],
)
def test_a_stored_one_that_does_not_fit_is_refused(before: str, after: str, message: str) -> None:
    text = author.onboard.graph.to_json()
    assert before in text
    with pytest.raises(GraphError) as caught:
        cloche.load_workflow(text.replace(before, after), steps=author.onboard.steps)
    assert message in str(caught.value)


@step
def known(data: Any) -> Any:
    return data


def test_what_it_cannot_take_along_is_told_when_it_is_used() -> None:
    @workflow
    async def asks(data: Any) -> Any:
        return client.knows(await known(data))

    with pytest.raises(GraphError) as caught:
        _ = asks.graph
    assert "workflow 'asks' cannot be used: 1 problem" in str(caught.value)
    assert "it uses client, which is an object of the host: a Client" in str(caught.value)
    assert "        return client.knows(await known(data))\n" in str(caught.value)


def test_only_an_async_function_is_one() -> None:
    with pytest.raises(GraphError, match="is no async function; write async def"):

        @workflow(id="w")
        def plain(data: Any) -> Any:
            return data


def test_it_cannot_be_changed_or_be_a_step() -> None:
    with pytest.raises(GraphError, match="is committed and cannot change"):
        author.onboard.then(known)
    with pytest.raises(GraphError, match="is native and cannot be a step; start it as a child run"):
        cloche.create_workflow(id="w").then(author.onboard)


def test_what_belongs_inside_says_so_outside() -> None:
    async def one() -> None: ...

    calls: list[Callable[[], Any]] = [
        lambda: gather(one()), lambda: cloche.race(one()), lambda: sleep(1), lambda: cloche.sleep_until(datetime.now(UTC)),
        lambda: cloche.wait_for_event("e"), lambda: cloche.start_child("w"), cloche.now,
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(RuntimeError, match="works inside of a native workflow only, and was called outside"):
            call()


def test_names_of_cloche_may_be_called_otherwise() -> None:
    from cloche import FatalError as Final
    from cloche import gather as together

    @workflow
    async def renames(data: Any) -> Any:
        try:
            return await together(known(1), known(2))
        except Final:
            return None

    cell, asked = begun(renames)
    assert [command[4] for command in asked] == [[1], [2]]
    assert commands(cell, 1, 1, 1) == []
    assert commands(cell, 1, 2, 2) == [[7, [1, 2]]]


def test_a_step_is_still_a_function_outside() -> None:
    assert isinstance(known, Step)
    assert known.execute(1) == known.__call__(1) == 1  # type: ignore[comparison-overlap]  # for checkers it is awaited


def test_a_graph_knows_native_and_the_old_form() -> None:
    old = '{"id":"w","nodes":[{"type":"step","id":"a","step":"a"}],"format":1,"guest":"auto","mode":"strict","steps":{"a":{}}}'
    assert Graph.from_json(old).native is None
