"""Which suspended steps a resume means: by path before suffix, by the item of a list and never by a loop's turn."""

from __future__ import annotations

from typing import Any

import pytest

from cloche import create_step, create_workflow
from cloche.errors import NotSuspended
from cloche.history import CallId, Path
from cloche.history.effects import Suspension
from cloche.run.selection import chosen
from cloche_codegen import Graph

ask = create_step(id="ask", execute=lambda data: data)
polls = create_workflow(id="polls").dountil(ask, "false").commit()
inner = create_workflow(id="inner").foreach(ask).commit()
OF_LOOPS = create_workflow(id="w").foreach(polls).commit().graph
OF_LISTS = create_workflow(id="w").foreach(inner).commit().graph
IN_A_LOOP = create_workflow(id="w").dountil(inner, "false").commit().graph


def named(*paths: str, graph: Graph | None = None, **asked: Any) -> list[str]:
    """The paths that are meant, of those that are suspended."""
    suspended = [Suspension(CallId(number), Path(path), None, (), "ask") for number, path in enumerate(paths)]
    return [str(one.path) for one in chosen("r1", suspended, graph=graph, **asked)]


def refused(*paths: str, graph: Graph | None = None, **asked: Any) -> str:
    with pytest.raises(NotSuspended) as error:
        named(*paths, graph=graph, **asked)
    return error.value.message


def test_a_whole_path_comes_before_a_suffix() -> None:
    assert named("s", "U/s", step="s") == ["s"]
    assert named("s", "U/s", step="U/s") == ["U/s"]
    assert named("U/s", "V/t", step="s") == ["U/s"]


def test_an_outer_workflow_comes_before_a_suffix() -> None:
    assert named("s/ask", "U/s", step="s") == ["s/ask"]
    assert named("s", "s/ask", step="s") == ["s"]


def test_two_ends_of_one_name_are_not_clear() -> None:
    assert "multiple suspended steps: U/s, V/s" in refused("U/s", "V/s", step="s")


def test_an_index_is_the_item_of_the_list() -> None:
    assert named("ask[0]", "ask[1]", graph=inner.graph, foreach_index=1) == ["ask[1]"]
    assert named("polls[0]/ask[3]", "polls[3]/ask[0]", graph=OF_LOOPS, foreach_index=0) == ["polls[0]/ask[3]"]
    assert named("polls[0]/ask[3]", "polls[3]/ask[0]", graph=OF_LOOPS, step="ask", foreach_index=3) == [
        "polls[3]/ask[0]"
    ]
    assert named("inner[7]/ask[1]", "inner[7]/ask[2]", graph=IN_A_LOOP, foreach_index=2) == ["inner[7]/ask[2]"]


def test_a_turn_of_a_loop_is_no_item() -> None:
    assert "does not wait for item 3" in refused("ask[3]", graph=polls.graph, foreach_index=3)
    assert "does not wait for step 'ask', item 3" in refused(
        "polls[0]/ask[3]", graph=OF_LOOPS, step="ask", foreach_index=3
    )
    assert "does not wait for item 3" in refused("ask[3]", foreach_index=3)


def test_an_index_names_one_list() -> None:
    paths = ("inner[0]/ask[1]", "inner[1]/ask[0]", "inner[1]/ask[1]")
    assert "does not wait for item 0" in refused(*paths, graph=OF_LISTS, foreach_index=0)
    assert named(*paths, graph=OF_LISTS, step="inner", foreach_index=0) == ["inner[0]/ask[1]"]
    assert named(*paths, graph=OF_LISTS, step="ask", foreach_index=0) == ["inner[1]/ask[0]"]


def test_an_index_means_one_step() -> None:
    paths = ("inner[0]/ask[1]", "inner[1]/ask[0]", "inner[1]/ask[1]")
    assert "multiple suspended" in refused(*paths, graph=OF_LISTS, step="inner", foreach_index=1)
    assert "multiple suspended" in refused(*paths, graph=OF_LISTS, step="ask", foreach_index=1)


def test_without_an_index_all_items_are_meant() -> None:
    assert named("ask[0]", "ask[1]") == ["ask[0]", "ask[1]"]
