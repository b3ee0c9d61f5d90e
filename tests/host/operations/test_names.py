"""Patterns of names for documents: they say of each character, and of each end of a name, what cloche says."""

from __future__ import annotations

import re
import sys
from unicodedata import normalize

from cloche.history.ids import is_name, was_name
from cloche.operations import names

CHARACTERS = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]


def test_a_pattern_holds_of_each_character_what_names_do() -> None:
    name = re.compile(names.NAME)
    assert [one for one in CHARACTERS if bool(name.search(one)) != is_name(normalize("NFC", one))] == []


def test_what_was_a_name_once_has_its_own_pattern() -> None:
    known = re.compile(names.KNOWN)
    inside = [f"a{one}b" for one in CHARACTERS]
    assert [one for one in inside if bool(known.search(one)) != was_name(normalize("NFC", one))] == []
    ends = [f"{one}b" for one in CHARACTERS if one.isspace()]
    assert [one for one in ends if bool(known.search(one)) != was_name(normalize("NFC", one))] == []


def test_a_name_has_200_characters_at_most_and_no_space_at_its_ends() -> None:
    name, tag = re.compile(names.NAME), re.compile(names.TAG_NAME)
    for text in ("", "a" * 200, "a" * 201, " a", "a ", " ", "a b", "é", "a=b"):
        assert bool(name.search(text)) == is_name(text), text
        assert bool(tag.search(text)) == (is_name(text) and "=" not in text), text


def test_patterns_are_without_python_s_own_escapes() -> None:
    """Other languages read them: ECMA 262 has neither `\\U` nor a surrogate by itself."""
    for pattern in (names.NAME, names.KNOWN, names.TAG_NAME, names.TAG, names.HEADER, names.KEY):
        assert "\\U" not in pattern
        assert "\\ud8" not in pattern
