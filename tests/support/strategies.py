"""Hypothesis strategies: values that cross the glass, and bytes that should not."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from cloche.history.values import encode

offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
keys = st.one_of(texts, st.sampled_from(["", "10", "2", "__proto__", "constructor", "length", "é", "a" * 30]))
integers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, 23, 24, 255, 256, 65535, 65536, 2**53, 2**63, 2**64 - 1, 2**64, -(2**64), -(2**64) - 1]),
)
moments = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=offsets).map(lambda d: d.replace(fold=0))
atoms = st.one_of(st.none(), st.booleans(), integers, st.floats(), texts, st.binary(max_size=20), moments)


def values(leaves: int = 20) -> st.SearchStrategy[Any]:
    """Values of the message grammar as Python has them: what is decoded is what was encoded."""
    return st.recursive(
        atoms,
        lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(keys, inner, max_size=6)),
        max_leaves=leaves,
    )


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An encoded value with one to four bytes changed, put in, or taken out, or its end cut off."""
    data = bytearray(encode(draw(values())))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["change", "put in", "take out", "cut"])):
            case "change" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "put in":
                data.insert(at, draw(st.integers(0, 255)))
            case "take out":
                del data[at : at + 1]
            case "cut":
                del data[at:]
    return bytes(data)


# Heads that mean something, so that random bytes come past the first one: tags, floats, maps, bignums, simple values.
_heads = st.sampled_from(
    [
        bytes([b])
        for b in (0x80, 0x81, 0x82, 0xA0, 0xA1, 0xA2, 0x60, 0x61, 0x40, 0x41, 0xC0, 0xC2, 0xC3, 0xF4, 0xF6, 0xF7)
    ]
    + [b"\xf9\x7e\x00", b"\xf9\x7c\x00", b"\xfb", b"\xfa", b"\x18", b"\x1b", b"\x9f", b"\xff", b"\xc1", b"\xd8\x20"]
)
hostile = st.one_of(
    st.binary(max_size=40), damaged(), st.lists(_heads | st.binary(max_size=3), max_size=12).map(b"".join)
)
