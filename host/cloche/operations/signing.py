"""Signed heads: a statement of how far each run had come, that nobody without the key can make.

A chain proves that a log is as it was written, and not who wrote it: whoever can write the file can write another history with
a chain that fits, or put back an older one. Heads that were signed and kept elsewhere tell both. Ed25519 (RFC 8032) by
`cryptography`, an optional part: `cloche[sign]`.

A statement is CBOR `[statement, signature, public key]`; the statement, a byte string of its own, is
`["cloche heads", 1, time, [[tenant, run, seq, hash], …]]`, the runs in order of tenant and run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from cloche.errors import ClocheError, ForeignFile, UsageError
from cloche.history import RunKey, Seq, TimeMs
from cloche.history.check import decode_sequence
from cloche.history.ids import RunId, TenantId
from cloche.history.values import decode, encode_plain
from cloche.store import Finding, Store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_KIND, _FORMAT = "cloche heads", 1


def new_key() -> tuple[bytes, bytes]:
    """A private key and its public key, both as PEM (PKCS 8 without a password; SubjectPublicKeyInfo)."""
    ed25519, serialization = _cryptography()
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return bytes(private), bytes(public)


async def sign_heads(store: Store, private_pem: bytes, at: TimeMs) -> bytes:
    """A signed statement of the head of every run in the store.

    Raises:
        UsageError: that is no Ed25519 key, or `cryptography` is not installed.
    """
    key = _private(private_pem)
    rows = sorted(await store.runs(), key=lambda row: (row.key.tenant, row.key.run))
    heads = [[row.key.tenant, row.key.run, row.head_seq, row.head_hash] for row in rows]
    statement = encode_plain([_KIND, _FORMAT, at, heads])
    return encode_plain([statement, key.sign(statement), key.public_key().public_bytes_raw()])


async def check_heads(store: Store, signed: bytes, public_pem: bytes) -> AsyncIterator[Finding]:
    """What of a statement signed with that key does not hold in the store: runs that are gone, shorter, or not the same.

    A run that has gone on since is as it should be; one that was deleted since is named too.

    Raises:
        ForeignFile: it is no such statement, or was not signed with that key.
        UsageError: that is no Ed25519 key, or `cryptography` is not installed.
    """
    for tenant, run, seq, head_hash in _opened(signed, public_pem):
        key = RunKey(TenantId(tenant), RunId(run))
        row = await store.run(key)
        if row is None:
            yield Finding(run, seq, f"run {run} had {seq} records when the heads were signed, and is not there")
            continue
        if row.head_seq < seq:
            yield Finding(run, seq, f"run {run} had {seq} records when the heads were signed, and has {row.head_seq}")
            continue
        try:
            [record] = await store.records(key, Seq(seq - 1), 1)
        except ClocheError as error:
            yield Finding(run, seq, error.message)
            continue
        if record.hash != head_hash:
            yield Finding(run, seq, f"record {seq} of run {run} is another one than when the heads were signed")


def _opened(signed: bytes, public_pem: bytes) -> list[Any]:
    from cryptography.exceptions import InvalidSignature

    key = _public(public_pem)
    try:
        [[statement, signature, _]] = decode_sequence(signed)
        key.verify(signature, statement)
        kind, version, _, heads = decode(statement)
    except InvalidSignature as error:
        raise ForeignFile("these heads were not signed with that key, or were changed since") from error
    except Exception as error:
        raise ForeignFile("this is no file of signed heads: make one with 'cloche sign'") from error
    if (kind, version) != (_KIND, _FORMAT):
        raise ForeignFile(f"these heads have format {version}, and this cloche reads {_FORMAT}")
    return list(heads)


def _private(pem: bytes) -> Ed25519PrivateKey:
    ed25519, serialization = _cryptography()
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise UsageError(f"the key cannot be read: {error}") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError("the key is not an Ed25519 key: make one with 'cloche sign --new-key FILE'")
    return key  # type: ignore[no-any-return]


def _public(pem: bytes) -> Ed25519PublicKey:
    ed25519, serialization = _cryptography()
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError) as error:
        raise UsageError(f"the public key cannot be read: {error}") from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise UsageError("the public key is not an Ed25519 key")
    return key  # type: ignore[no-any-return]


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise UsageError("signing needs an optional part: pip install 'cloche[sign]'") from error
    return ed25519, serialization
