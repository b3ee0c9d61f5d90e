"""Large bodies in parts: what is shared, what is watched, what is deterministic."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloche.errors import BrokenChain
from cloche.history.payloads import CUT_BYTES_MAX, Payload, gather, part_digest, split
from cloche.history.values import encode

CHANCE = random.Random(5)
WORDS = ["".join(CHANCE.choices("abcdefghijklmnopqrstuvwxyz", k=CHANCE.randint(2, 9))) for _ in range(2000)]


def talk(turns: int) -> list[dict[str, str]]:
    chance = random.Random(1)
    return [{"role": "user", "content": " ".join(chance.choices(WORDS, k=900))} for _ in range(turns)]


KINDS_OF_BODY = {
    "conversation": encode(talk(80)),
    "kana": encode(
        [{"content": "".join(CHANCE.choices("日本語のテキストでかなとカナ漢字", k=1500))} for _ in range(80)]
    ),
    "noise": CHANCE.randbytes(400_000),
    "floats": encode([CHANCE.random() for _ in range(40_000)]),
    "rows": encode([{"id": number, "name": f"n{number}", "price": number * 1.5} for number in range(12_000)]),
    "sheep": encode([f"{number} of {number % 97} sheep in {number % 7} flocks" for number in range(12_000)]),
    "zeros": bytes(400_000),
}


def again(payload: Payload) -> Payload:
    return gather(payload.size, payload.depth, payload.root, payload.parts.get, {})


def new_bytes(before: bytes, after: bytes) -> int:
    """What must be stored for `after` where `before` is stored."""
    known = split(before).parts
    return sum(len(part) for digest, part in split(after).parts.items() if digest not in known)


@given(st.binary(max_size=30_000))
@example(b"")
@example(bytes(CUT_BYTES_MAX * 3))
def test_a_body_comes_back_as_it_was_cut(body: bytes) -> None:
    payload = split(body)
    assert (payload.join(), payload.size, again(payload)) == (body, len(body), payload)
    assert split(body) == payload
    assert all(len(part) <= CUT_BYTES_MAX for part in payload.parts.values())


@pytest.mark.parametrize("kind", KINDS_OF_BODY)
def test_a_large_body_of_any_kind_comes_back(kind: str) -> None:
    payload = split(KINDS_OF_BODY[kind])
    assert again(payload).join() == KINDS_OF_BODY[kind]


@pytest.mark.parametrize("kind", KINDS_OF_BODY)
@pytest.mark.parametrize("place", [0.0, 0.01, 0.5, 1.0], ids=["front", "near the front", "middle", "end"])
def test_an_insertion_anywhere_costs_a_few_parts(kind: str, place: float) -> None:
    body = KINDS_OF_BODY[kind]
    at = int(len(body) * place)
    changed = body[:at] + b"something that was not there" + body[at:]
    assert new_bytes(body, changed) < 10 * CUT_BYTES_MAX


def test_a_conversation_that_grows_costs_what_was_added() -> None:
    """A hundred turns, each passing the whole on: far from the sum of all lengths."""
    turns = talk(100)
    bodies = [encode([1, 0, number, turns[:number]]) for number in range(1, 101)]
    stored: dict[bytes, bytes] = {}
    for body in bodies:
        stored.update(split(body).parts)
    assert sum(map(len, bodies)) > 40 * len(bodies[-1])
    assert sum(map(len, stored.values())) < 3 * len(bodies[-1])


def test_a_part_that_looks_like_a_list_of_digests_is_not_taken_for_one() -> None:
    payload = split(KINDS_OF_BODY["noise"])
    listing = payload.parts[payload.root]
    assert payload.depth > 0
    assert split(listing).root != payload.root
    assert part_digest(0, listing) != part_digest(payload.depth, listing)


@pytest.mark.parametrize("kind", ["conversation", "zeros"])
def test_a_part_that_is_missing_or_was_changed_is_refused(kind: str) -> None:
    payload = split(KINDS_OF_BODY[kind])
    for digest, part in payload.parts.items():
        name = digest.hex()[:12]
        without = {other: data for other, data in payload.parts.items() if other != digest}
        with pytest.raises(BrokenChain, match=f"is not in the store \\({name}"):
            gather(payload.size, payload.depth, payload.root, without.get, {})
        with pytest.raises(BrokenChain, match=f"is not what was written \\({name}"):
            gather(payload.size, payload.depth, payload.root, {**without, digest: part[:-1] + b"?"}.get, {})


@pytest.mark.parametrize(
    ("size", "depth", "root"), [(1, -1, b""), (1, 99, b""), (1, "0", b""), (1, 0, "text"), (7, 0, b"")]
)
def test_what_does_not_describe_a_payload_is_refused(size: int, depth: int, root: bytes) -> None:
    root = part_digest(0, b"body") if root == b"" else root
    with pytest.raises(BrokenChain):
        gather(size, depth, root, {part_digest(0, b"body"): b"body"}.get, {})
