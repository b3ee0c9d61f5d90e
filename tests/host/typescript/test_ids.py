"""Ids and closures are those that the published plugin gives, on files that it has compiled (`record.py` renews them)."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from host.typescript.compile import compiled, given
from host.typescript.record import FIXTURES, IDS, fixtures

RECORDED: dict[str, dict[str, Any]] = json.loads(IDS.read_text())
_STEP_CALL = re.compile(r'WORKFLOW_USE_STEP"\)\]\("(step//[^"]+)"(?:, \(\) => \(\{ ([^}]*) \}\))?\)')
_CLASS = re.compile(r'"(class//[^"]+)"')

# What is read there is taken along here: the plugin looks for names of the whole file, and leaves methods of objects out.
CLOSURES_OF_OURS = {
    "step//./shadows//shadowed/used": ["value"],
    "step//./shadows//shadowed/destructured": ["value"],
    "step//./objects//use/local/run": ["factor"],
    "step//./nested_places//flow/local/execute": ["items"],
    "step//./default_nested_arrow//s1": ["limit"],
}


def whole(file: str) -> Any:
    """A file with all that is in it: one that imports all of it."""
    name = file.rpartition(".")[0]
    entry = f'import * as all from "./{name}";\nexport async function entry() {{ "use workflow"; return all; }}\n'
    files = {one: (FIXTURES / one).read_text() for one in fixtures()}
    return compiled(given({**files, "entry_.ts": entry}), "entry_.ts")


def of_file(file: str, ids: Any) -> list[str]:
    middle = f"//./{file.rpartition('.')[0]}//"
    return sorted(id for id in ids if middle in id)


@pytest.mark.parametrize("file", fixtures())
def test_a_file_has_the_ids_of_the_published_plugin(file: str) -> None:
    made, recorded = whole(file), RECORDED[file]
    assert of_file(file, [one.id for one in made.workflows]) == recorded["workflows"]
    assert of_file(file, [one.id for one in made.steps]) == recorded["steps"]
    assert of_file(file, set(_CLASS.findall(made.source))) == recorded["classes"]


@pytest.mark.parametrize("file", fixtures())
def test_steps_take_the_names_along_that_the_published_plugin_takes(file: str) -> None:
    found = {id: sorted(names.split(", ")) for id, names in _STEP_CALL.findall(whole(file).source) if names}
    ours = {id: names for id, names in found.items() if of_file(file, [id])}
    expected = {**RECORDED[file]["closures"], **{id: CLOSURES_OF_OURS[id] for id in of_file(file, CLOSURES_OF_OURS)}}
    assert ours == expected


def test_there_are_many_kinds_of_functions_in_the_recorded_files() -> None:
    assert len(RECORDED) >= 20
    assert sum(len(one["workflows"]) + len(one["steps"]) for one in RECORDED.values()) >= 60
    assert sorted(RECORDED) == fixtures(), "run python -m host.typescript.record"
