"""What a live cell of the Python guest costs in memory: the pages that it has to itself.

The image of a workflow is shared; a page is a cell's own once the cell has written to it. The bake fills the holes of the heap
(`guest/python/world/start.py`), so that a cell writes to few pages, side by side. If that stopped working, the guest would stay
correct and nothing but this count would show it.
"""

from __future__ import annotations

from guest.cells import NOW
from guest_python.python_cells import python_cell, workflow

PAGE_BYTES = 4096


def pages(before: bytes, after: bytes) -> int:
    """How many pages of `after` differ; what has been added counts where it is not zero."""
    zero = bytes(PAGE_BYTES)
    places = range(0, len(after), PAGE_BYTES)
    return sum(after[at : at + PAGE_BYTES] != (before[at : at + PAGE_BYTES] or zero) for at in places)


def test_a_cell_has_few_pages_to_itself() -> None:
    """However many steps it has made. It is 53 pages, and 83 where the holes of the heap are left open."""
    cell = python_cell(workflow("for i in range(1000): input = await step('inc')(input)\nreturn input"))
    loaded = cell.state()
    cell.start({"n": 0, "text": "some text", "items": [1, 2, 3]})
    for call in range(1, 201):
        cell.complete(call, {"n": call, "text": "some text", "items": [1, 2, 3]}, now=NOW + call)
        if call in (10, 200):
            assert pages(loaded, cell.state()) <= 60
