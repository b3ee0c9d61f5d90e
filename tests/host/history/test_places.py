"""Blocks that are entered and not left."""

from __future__ import annotations

from cloche.history import Seq
from cloche.history.places import Places


def entered(*paths: str) -> Places:
    return Places((path, seq) for seq, path in enumerate(paths, 1))


def test_a_place_is_known_by_the_record_that_entered_it() -> None:
    places = entered("W", "W/each", "W/each[0]")
    assert [places.seq_of(path) for path in ("W", "W/each[0]", "W/ask")] == [1, 3, None]


def test_a_place_that_is_entered_again_counts_anew() -> None:
    places = entered("W")
    places.leave("W")
    assert places.seq_of("W") is None
    places.enter("W", Seq(9))
    assert places.seq_of("W") == 9


def test_what_was_entered_in_a_place_is_left_with_it() -> None:
    """A bail leaves the whole workflow, and says nothing of the blocks in it."""
    places = entered("W", "W/each", "W/each[0]", "W/each[0]/inner", "V", "W2")
    places.leave("W")
    assert places.saved() == [["V", 5], ["W2", 6]]


def test_an_item_that_is_left_leaves_the_others() -> None:
    places = entered("each", "each[0]", "each[1]")
    places.leave("each[0]")
    places.leave("each[0]")
    assert places.saved() == [["each", 1], ["each[1]", 3]]
    places.leave("each")
    assert len(places) == 0


def test_what_is_saved_is_all_there_is() -> None:
    places = Places(entered("W", "W/each", "V").saved())  # type: ignore[arg-type]
    places.leave("W")
    assert places.saved() == [["V", 3]]
