"""crypto.subtle: digests are there, keys are refused with what to do."""

from __future__ import annotations

import hashlib

import pytest
from guest.cells import run

SIZES = [0, 1, 3, 55, 56, 63, 64, 65, 111, 112, 119, 127, 128, 129, 200, 1000, 100_000]
NAMES = {"SHA-1": "sha1", "sha-256": "sha256", "Sha-384": "sha384", "SHA-512": "sha512"}
DIGESTS = """const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const made = [];
for (const size of input.sizes) {
  const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 7 + size) & 255);
  for (const name of input.names) made.push(hex(await crypto.subtle.digest(name, bytes)));
}
return made;"""


def test_digests_are_those_of_python() -> None:
    made = run(DIGESTS, {"sizes": SIZES, "names": list(NAMES)})

    texts = [bytes((i * 7 + size) & 255 for i in range(size)) for size in SIZES]
    assert made == [hashlib.new(name, text).hexdigest() for text in texts for name in NAMES.values()]


def test_it_takes_buffers_and_what_looks_into_them() -> None:
    body = """const bytes = new Uint8Array([0, 97, 98, 99, 0]);
        const of = (data) => crypto.subtle.digest({ name: "SHA-256" }, data);
        const all = [bytes.subarray(1, 4), new DataView(bytes.buffer, 1, 3), bytes.slice(1, 4).buffer];
        const made = await Promise.all(all.map(of));
        return [made.map((one) => new Uint8Array(one)[0]), made[0] instanceof ArrayBuffer, made[0].byteLength]"""

    assert run(body) == [[0xBA] * 3, True, 32]


@pytest.mark.parametrize(
    ("call", "name", "message"),
    [
        ("digest('MD5', new Uint8Array())", "NotSupportedError", "crypto.subtle.digest has no MD5"),
        ("digest('SHA-256', 'text')", "TypeError", "digest takes an ArrayBuffer or a view of one"),
        ("digest('SHA-256')", "TypeError", "digest takes an ArrayBuffer or a view of one"),
        ("importKey('raw')", "NotSupportedError", "crypto.subtle.importKey is not there under glass"),
        ("sign()", "NotSupportedError", "a key would lie in every checkpoint: do it in a step"),
        ("generateKey()", "NotSupportedError", "crypto.subtle.generateKey is not there under glass"),
    ],
)
def test_what_is_not_there_is_a_rejection_that_says_why(call: str, name: str, message: str) -> None:
    found, said = run(f"return crypto.subtle.{call}.then(() => 'none', (error) => [error.name, error.message])")

    assert found == name
    assert message in said


def test_nothing_of_it_can_be_changed() -> None:
    assert run("return [crypto, crypto.subtle].map(Object.isFrozen)") == [True, True]
