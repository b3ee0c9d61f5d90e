"""Several files as one version: modules, data and wheels beside the workflow's own module."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import pytest
from support.apps import AppOn, in_loop
from support.guests import needs_python

from cloche.errors import DeployRefused, UsageError
from cloche.operations.files import bundled
from cloche.store import MemoryStore
from cloche.tenancy import Policy

MAIN = """from cloche import step, workflow
from shop import OutOfStock, prices


@workflow(id="order")
async def order(n):
    try:
        return [prices.total(n), prices.rules()]
    except OutOfStock as error:
        return f"none: {error}"
"""
FILES: dict[str, str | bytes] = {
    "main.py": MAIN,
    "shop/__init__.py": "class OutOfStock(Exception):\n    pass\n",
    "shop/prices.py": (
        "import json\nfrom importlib.resources import files\nfrom shop import OutOfStock\n\n\n"
        "def total(n):\n    if n > 9:\n        raise OutOfStock('9 are left')\n"
        "    if n < 0:\n        raise ValueError('negative')\n    return n * 3\n\n\n"
        "def rules():\n    with open(__file__.replace('prices.py', 'rules.json')) as file:\n"
        "        opened = json.load(file)\n"
        "    return [opened, json.loads(files('shop').joinpath('rules.json').read_text())]\n"
    ),
    "shop/rules.json": '{"vat": 19}',
}


async def ran(files: Mapping[str, str | bytes], given: Any) -> Any:
    """How a run of these files ends."""
    needs_python()
    async with AppOn(MemoryStore(), policies={"acme": Policy.strict()}) as app:
        version = await app.deploy("acme", files=files, workflow="order")
        return await (await app.tenant("acme").start(version.id, given)).result()


@in_loop
async def test_a_workflow_imports_what_lies_beside_it() -> None:
    result = await ran(FILES, 2)

    assert result.result == [6, [{"vat": 19}, {"vat": 19}]]


@in_loop
async def test_an_exception_of_a_file_is_caught() -> None:
    result = await ran(FILES, 10)

    assert result.result == "none: 9 are left"


@in_loop
async def test_a_traceback_has_the_lines_of_all_files() -> None:
    text = str((await ran(FILES, -1)).error.traceback)
    assert 'File "<workflow>", line 8, in order\n    return [prices.total(n), prices.rules()]' in text
    assert "File \"shop/prices.py\", line 10, in total\n    raise ValueError('negative')" in text


@in_loop
async def test_a_wheel_is_unpacked_under_glass() -> None:
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("shop/__init__.py", FILES["shop/__init__.py"])
        archive.writestr("shop/prices.py", FILES["shop/prices.py"])
        archive.writestr("shop/rules.json", FILES["shop/rules.json"])
    result = await ran({"main.py": MAIN, "shop-1.0-py3-none-any.whl": wheel.getvalue()}, 2)

    assert result.result == [6, [{"vat": 19}, {"vat": 19}]]


def test_equal_files_are_one_text() -> None:
    assert bundled(FILES, "main.py") == bundled(dict(reversed(FILES.items())), "main.py")
    assert bundled({"main.py": MAIN}, "main.py") == MAIN


@pytest.mark.parametrize(
    "path", ["/etc/x.py", "../x.py", "a/../x.py", "a//b.py", "a\\b.py", "cloche/x.py", "_world.py", "a\n.py"]
)
def test_odd_paths_are_refused(path: str) -> None:
    with pytest.raises(UsageError):
        bundled({"main.py": MAIN, path: ""}, "main.py")


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({**FILES, "shop/prices.py": "def total(:\n"}, "shop/prices.py: "),
        ({**FILES, "x.whl": b"no zip"}, "zip"),
        ({**FILES, "big.txt": "x" * (1 << 20)}, "source_bytes"),
    ],
)
@in_loop
async def test_what_does_not_load_is_refused(files: dict[str, str | bytes], why: str) -> None:
    with pytest.raises(DeployRefused, match=why):
        await ran(files, 1)


@in_loop
async def test_a_main_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="not among the files"):
        await ran({"shop.py": ""}, 1)
