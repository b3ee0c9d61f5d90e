"""What the command line shows of a failure: the traceback of the step, and the place in a native workflow."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import cloche
from support.guests import needs_python

SHOP = """
import cloche
from cloche import create_workflow, step


@step(retries=0)
def charge(amount: int) -> int:
    raise Declined("declined \\x1b[31m")


built = create_workflow(id="built").then(charge).commit()


@cloche.workflow
async def native(amount: int) -> int:
    return await charge(amount)


class Declined(ValueError): ...
"""
OF_THE_STEP = ['shop.py", line 8, in charge', '    raise Declined("declined ', "\nshop.Declined: declined \\x1b[31m"]
OF_THE_WORKFLOW = ['File "shop.py", line 16, in native', "    return await charge(amount)"]


@pytest.fixture
def shop(tmp_path: Path) -> str:
    file = tmp_path / "shop.py"
    file.write_text(SHOP)
    return str(file)


def test_the_traceback_of_a_step_is_shown(shop: str, store: str) -> None:
    ran = cloche("run", f"{shop}:built", "--input", "1", "--store", store, "--run-id", "r1")
    assert ran.code == 1
    log = cloche("log", "r1", "--store", store).out.replace("\n       ", "\n")  # indented below their record
    for text in (ran.err, cloche("show", "r1", "--store", store).err, log):
        assert [part for part in OF_THE_STEP if part not in text] == []
    shown = cloche("show", "r1", "--store", store, "--json").json()
    assert OF_THE_STEP[0] in shown["error"]["traceback"]


def test_a_native_workflow_shows_its_authors_file_and_line(shop: str, store: str) -> None:
    needs_python()
    ran = cloche("run", f"{shop}:native", "--input", "1", "--store", store, "--run-id", "r1")
    assert ran.code == 1
    log = cloche("log", "r1", "--store", store).out.replace("\n       ", "\n")  # indented below their record
    for text in (ran.err, cloche("show", "r1", "--store", store).err, log):
        assert [part for part in [*OF_THE_STEP, *OF_THE_WORKFLOW] if part not in text] == []


def test_a_source_map_beside_a_bundle_says_where_it_was_written(tmp_path: Path, store: str) -> None:
    bundle, beside = tmp_path / "order.js", tmp_path / "order.js.map"
    bundle.write_text("throw new TypeError('no shop');\nexport default () => 1\n//# sourceMappingURL=order.js.map\n")
    beside.write_text('{"version": 3, "sources": ["src/shop.ts"], "names": [], "mappings": "AAwCE"}')
    deploy = ("deploy", str(bundle), "--tenant", "acme", "--store", store)

    refused = cloche(*deploy)
    assert (refused.code, "src/shop.ts:41:3: " in refused.err) == (2, True)
    beside.write_text("no map")
    refused = cloche(*deploy)
    assert "its source map is left out: it is no source map" in refused.err
    assert "line 1: " in refused.err
