"""Mistakes that people make: what each is told, word by word, and how a reader has graded that."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.guests import needs_python
from support.messages import Mistake, answer, mistakes

MISTAKES = mistakes()


def test_forty_mistakes_are_told_and_none_is_told_badly() -> None:
    assert len(MISTAKES) >= 40
    assert {one.name for one in MISTAKES if one.grade not in ("A", "B")} == set()


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.name)
def test_what_a_mistake_is_told(mistake: Mistake, tmp_path: Path) -> None:
    needs_python()
    assert answer(mistake.source, tmp_path) == mistake.told
