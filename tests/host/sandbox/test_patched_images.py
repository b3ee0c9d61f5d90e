"""Pre-patched images: cells of a patched artefact are those of the pages, byte for byte, and pages are always the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import wasmtime
from guest.cells import SEED, pack

from cloche.engines import SandboxEngine
from cloche.sandbox import Cell, Image, Limits, base_image, cells, load_image, patched_images
from cloche.sandbox.engine import engine
from cloche.sandbox.patched_images import CELLS_MIN, PATCHED_MAX, PatchedImages, patched

SOURCE = """const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];
const table = Array.from({length: 20000}, (_, i) => `item ${i}`);
export default async (input) => (await step("a")(input)) + table.length; // """
START = pack([0, 1_700_000_000_000, SEED, 5, {}])


def image(variant: int = 0, source: str = SOURCE) -> Image:
    return load_image(base_image(*SandboxEngine().guest()), f"{source}{variant}", Limits())


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> PatchedImages:
    """Patches images at once, and is what cells ask."""

    def at_once(work: Callable[[], None]) -> None:
        work()

    made = PatchedImages(at_once)
    monkeypatch.setattr(cells, "patched_images", made)
    return made


def test_a_patched_cell_is_the_cell_of_the_pages(images: PatchedImages) -> None:
    by_pages = Cell(image(), Limits())
    for _ in range(CELLS_MIN):
        Cell(image(), Limits())
    patched_cell = Cell(image(), Limits())

    assert images.find(image()) is not None
    assert patched_cell.state_hash() == by_pages.state_hash()
    assert patched_cell.resident_bytes < by_pages.resident_bytes
    assert patched_cell.turn([START]) == by_pages.turn([START])
    assert (patched_cell.state_hash(), patched_cell.fuel_used) == (by_pages.state_hash(), by_pages.fuel_used)


def test_a_patched_cell_freezes_and_thaws(images: PatchedImages) -> None:
    first = Cell(image(), Limits())
    first.turn([START])
    digest, saved = first.freeze()()
    for _ in range(CELLS_MIN + 1):
        Cell(image(), Limits())

    assert Cell.thaw(image(), Limits(), saved).state_hash() == digest == first.state_hash()


def test_a_workflow_is_patched_only_after_some_cells_and_with_many_pages(images: PatchedImages) -> None:
    assert [images.find(image()) is None for _ in range(CELLS_MIN + 1)] == [True] * CELLS_MIN + [False]
    small = image(source="export default async () => 1 // ")
    assert [images.find(small) for _ in range(CELLS_MIN + 1)] == [None] * (CELLS_MIN + 1)


def test_patched_images_are_bounded(images: PatchedImages) -> None:
    for variant in range(PATCHED_MAX + 2):
        for _ in range(CELLS_MIN + 1):
            images.find(image(variant))

    assert images.find(image(PATCHED_MAX + 1)) is not None
    assert images.find(image(0)) is None


def test_an_artefact_of_another_form_leaves_pages_as_they_are(
    images: PatchedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Image] = []

    def other(found: Image) -> None:
        asked.append(found)

    monkeypatch.setattr(patched_images, "patched", other)
    for variant in (0, 1):
        for _ in range(CELLS_MIN + 1):
            assert images.find(image(variant)) is None

    assert len(asked) == 1  # the guest is known not to fit


def test_a_cell_that_differs_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Any = image().base.module
    elsewhere = wasmtime.Module(engine().wasm, "(module)")
    base: Any = SimpleNamespace(state=image().base.state, module=elsewhere, layout=image().base.layout)

    assert patched(replace(image(), base=base)) is None

    # As if the bytes that were changed were not the memory.
    monkeypatch.setattr(patched_images, "_loaded", lambda artefact: real)
    assert patched(image()) is None
