"""Mapped images: cells that share an image are those of its pages, byte for byte, and pages are always the way back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from guest.cells import SEED, pack

from cloche.engines import SandboxEngine
from cloche.sandbox import Cell, Image, Limits, base_image, cells, load_image, mapped_images
from cloche.sandbox.mapped_images import CELLS_MIN, MAPPED_MAX, MappedImage, MappedImages, mapped

SOURCE = """const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];
const table = Array.from({length: 20000}, (_, i) => `item ${i}`);
export default async (input) => { table[7] = "another"; return (await step("a")(input)) + table.length; } // """
START = pack([0, 1_700_000_000_000, SEED, 5, {}])


def image(variant: int = 0, source: str = SOURCE) -> Image:
    return load_image(base_image(*SandboxEngine().guest()), f"{source}{variant}", Limits())


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> MappedImages:
    """Maps images at once, and is what cells ask."""

    def at_once(work: Callable[[], None]) -> None:
        work()

    made = MappedImages(at_once)
    monkeypatch.setattr(cells, "mapped_images", made)
    return made


def mapped_cell(images: MappedImages) -> Cell:
    for _ in range(CELLS_MIN):
        images.find(image())
    assert images.find(image()) is not None
    return Cell(image(), Limits())


def test_a_mapped_cell_is_the_cell_of_the_pages(images: MappedImages) -> None:
    by_pages = Cell(image(), Limits())
    found = mapped_cell(images)

    assert found.state_hash() == by_pages.state_hash()
    assert found.resident_bytes < by_pages.resident_bytes - image().page_count * 4000
    assert found.turn([START]) == by_pages.turn([START])
    assert (found.state_hash(), found.fuel_used) == (by_pages.state_hash(), by_pages.fuel_used)


def test_what_a_mapped_cell_writes_is_its_own(images: MappedImages) -> None:
    first = mapped_cell(images)
    before = first.state_hash()
    first.turn([START])

    assert first.state_hash() != before
    assert Cell(image(), Limits()).state_hash() == before


def test_a_mapped_cell_outlives_the_image_it_was_made_from(images: MappedImages) -> None:
    by_pages = Cell(image(), Limits())
    found = mapped_cell(images)
    for variant in range(1, MAPPED_MAX + 2):
        for _ in range(CELLS_MIN + 1):
            images.find(image(variant))

    assert images.find(image()) is None
    assert found.turn([START]) == by_pages.turn([START])


def test_a_mapped_cell_freezes_and_thaws(images: MappedImages) -> None:
    first = Cell(image(), Limits())
    first.turn([START])
    digest, saved = first.freeze()()
    mapped_cell(images)

    assert Cell.thaw(image(), Limits(), saved).state_hash() == digest == first.state_hash()


def test_a_workflow_is_mapped_only_after_some_cells_and_with_many_pages(images: MappedImages) -> None:
    assert [images.find(image()) is None for _ in range(CELLS_MIN + 1)] == [True] * CELLS_MIN + [False]
    small = image(source="export default async () => 1 // ")
    assert [images.find(small) for _ in range(CELLS_MIN + 1)] == [None] * (CELLS_MIN + 1)


def test_a_process_without_threads_maps_its_images_at_once() -> None:
    images = MappedImages()
    images.make_at_once()
    for _ in range(CELLS_MIN):
        images.find(image())

    assert images.find(image()) is not None


def test_a_cell_is_made_by_pages_where_the_kernel_maps_nothing(
    images: MappedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_pages = Cell(image(), Limits())
    mapped_cell(images)

    def refused(self: MappedImage, address: int) -> NoReturn:
        raise OSError("no more mappings")

    monkeypatch.setattr(MappedImage, "put", refused)
    found = Cell(image(), Limits())

    assert found.state_hash() == by_pages.state_hash()
    assert found.resident_bytes == by_pages.resident_bytes


def test_an_image_that_cannot_be_mapped_leaves_pages_as_they_are(
    images: MappedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(image: Image) -> NoReturn:
        raise OSError("no room")

    monkeypatch.setattr(mapped_images, "mapped", full)
    assert [images.find(image()) for _ in range(CELLS_MIN + 2)] == [None] * (CELLS_MIN + 2)


def test_a_memory_that_differs_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mapped(image()) is not None

    def nothing(self: MappedImage, address: int) -> None:
        """As if something else were mapped there."""

    monkeypatch.setattr(MappedImage, "put", nothing)
    assert mapped(image()) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_cells_that_are_gone_leave_no_mapping_behind(images: MappedImages) -> None:
    mapped_cell(images)

    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count("cloche-image")

    before = mappings()
    kept = [Cell(image(), Limits()) for _ in range(20)]
    assert mappings() == before + len(kept)
    kept.clear()
    assert mappings() == before
