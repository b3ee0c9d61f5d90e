"""An author's classes go along with the functions that use them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from codegen import classes_for_tests as written

from cloche_codegen.conditions.functions.reading import opened
from cloche_codegen.conditions.functions.refusals import NotUnderGlass
from cloche_codegen.conditions.functions.take import taken
from cloche_codegen.conditions.functions.taken import Taken

DATA = {"sku": "a", "count": 7, "status": "open"}


def run(found: Taken, *arguments: Any) -> Any:
    namespace: dict[str, Any] = {"__name__": "inside"}
    exec(compile(found.source, "<inside>", "exec", dont_inherit=True), namespace)
    return namespace[found.name](*arguments)


def plain(value: Any) -> Any:
    match value:
        case list() | tuple():
            return [plain(one) for one in value]
        case dict():
            return {key: plain(one) for key, one in value.items()}
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else getattr(value, "value", value)  # type: ignore[arg-type]


def test_classes_mean_inside_what_they_mean_outside() -> None:
    found = taken(written.boxes)
    assert plain(run(found, DATA)) == plain(written.boxes(DATA))
    assert opened(found.source, found.name, found.parameters).constants.keys() == {"LOWEST"}


def test_bases_and_decorators_come_before_what_needs_them() -> None:
    places = [taken(written.boxes).source.index(f"{what}\n") for what in ("class Line:", "class Gift(Line):")]
    assert places == sorted(places)
    namespace: dict[str, Any] = {}
    exec(taken(written.fails).source, namespace)
    with pytest.raises(namespace["ShopError"], match="no nut left") as caught:
        namespace["fails"]("nut")
    assert caught.value.sku == "nut"


def test_members_of_enums_are_captured_and_may_be_defaults() -> None:
    found = taken(written.standard)
    assert "status = Status.OPEN" in found.source
    assert run(found, None) is False


def test_a_class_that_is_defined_in_a_function_goes_with_what_it_captures() -> None:
    assert run(taken(written.local()), 3) == 8


def test_annotations_are_not_needed_inside() -> None:
    source = taken(written.boxes).source
    assert "tags: object = field(" in source
    assert "kinds: ClassVar = " in source
    assert "_: KW_ONLY" in source
    assert "-> Box" not in source


def test_each_line_is_known_by_its_place() -> None:
    found = taken(written.boxes)
    lines = Path(written.__file__).read_text().split("\n")
    for text, place in zip(found.source.split("\n"), found.lines, strict=False):
        if place is not None and "def " not in text and ":" not in text:
            assert lines[place[1] - 1].startswith(text)


@pytest.mark.parametrize(
    ("function", "reason", "advice"),
    [
        (written.renamed, "it uses Other, which is the class Status of", "use it under its own name: Status"),
        (written.modelled, "it uses Model, which is the class Model of", "make what needs the class a step"),
        (written.conditional, "whose source cannot be found", "is written there more than once"),
        (lambda data: subprocess.Popen(data), "which is the module subprocess", "make what needs it a step"),
        (lambda data: Path(data), "it uses Path, which is the class Path of pathlib", "make what needs the class a step"),
    ],
)  # fmt: skip
def test_what_cannot_go_is_refused(function: Any, reason: str, advice: str) -> None:
    with pytest.raises(NotUnderGlass) as caught:
        taken(function)
    assert reason in caught.value.reason
    assert advice in caught.value.advice
    assert "^" in caught.value.shown


def test_the_same_classes_give_the_same_source_in_every_process() -> None:
    program = (
        "from codegen import classes_for_tests as w\n"
        "from cloche_codegen.conditions.functions.take import taken\n"
        "import sys\nsys.stdout.write(taken(w.boxes).source)"
    )
    folder = Path(__file__).parents[1]
    command = [sys.executable, "-c", program]
    done = [subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert done == [taken(written.boxes).source] * 2


def test_a_file_that_was_changed_since_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "changing_classes.py"
    file.write_text("class Kind:\n    A = 1\n\n\ndef uses(data):\n    return Kind.A\n")
    monkeypatch.syspath_prepend(tmp_path)
    import changing_classes  # type: ignore[import-not-found]

    assert run(taken(changing_classes.uses), 0) == 1
    file.write_text("class Kind:\n    B = 1\n\n\ndef uses(data):\n    return Kind.A\n")
    with pytest.raises(NotUnderGlass, match="is not written there as it is now"):
        taken(changing_classes.uses)
