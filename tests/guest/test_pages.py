"""What a live cell of the JavaScript guest costs in memory: the pages that it has to itself."""

from __future__ import annotations

from guest.cells import Cell

PAGE_BYTES = 4096
BEFORE_WEB_GLOBALS = 22  # pages of this cell, of a guest without Intl, URL, timers, events and encodings


def test_a_cell_of_a_plain_workflow_pays_little_for_the_globals_that_it_does_not_use() -> None:
    """At most 30 kB more than it was without them. It is 25 pages."""
    cell = Cell("export default async (input) => { const a = await cloche.sleep('a', 5); return [a, input]; }")
    loaded = cell.state()
    cell.start({"n": 1})
    started = cell.state()

    places = range(0, len(started), PAGE_BYTES)
    own = sum(started[at : at + PAGE_BYTES] != (loaded[at : at + PAGE_BYTES] or bytes(PAGE_BYTES)) for at in places)
    assert own <= BEFORE_WEB_GLOBALS + 7
