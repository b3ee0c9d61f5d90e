"""A Python guest of one's own: pure-Python packages of the embedder's choice can be imported in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from guest.cells import SEED, pack, python_module

from cloche.engines import SandboxEngine
from cloche.sandbox import Cell, Limits, base_image, load_image
from cloche_guest import BuildFailed, derive_python, find_guest

SOURCE = """from cloche import workflow
@workflow
async def main(input):
    import rates.tables
    return rates.tables.double(input)
"""


def test_a_package_is_baked_into_a_guest_of_its_own(tmp_path: Path) -> None:
    python_module()  # or this is skipped
    package = tmp_path / "rates"
    package.mkdir()
    (package / "__init__.py").write_text("FACTOR = 2\n")
    (package / "tables.py").write_text("from . import FACTOR\ndef double(x): return x * FACTOR\n")
    derived = derive_python([package], tmp_path / "own.wasm")
    engine = SandboxEngine(python_guest=derived.path)
    cell = Cell(load_image(base_image(*engine.guest("python")), SOURCE, Limits()), Limits())

    assert cell.turn([pack([0, 0, SEED, 21, {}])]) == b"\x82\x07\x18\x2a\xf6"
    plain = find_guest("python")
    assert plain is not None
    assert plain.digest != derived.digest


def test_a_folder_that_is_no_package_is_refused(tmp_path: Path) -> None:
    python_module()
    with pytest.raises(BuildFailed, match="not the folder of a Python package"):
        derive_python([tmp_path], tmp_path / "own.wasm")
