"""What `hashlib` has from OpenSSL elsewhere."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any


def pbkdf2_hmac(hash_name: str, password: Any, salt: Any, iterations: int, dklen: int | None = None) -> bytes:
    """RFC 8018, 5.2.

    Raises:
        ValueError: less than one iteration or byte, or an unknown hash.
    """
    size = hashlib.new(hash_name).digest_size
    wanted = size if dklen is None else dklen
    if iterations < 1:
        raise ValueError("iteration value must be greater than 0.")
    if wanted < 1:
        raise ValueError("key length must be greater than 0.")
    key, made = bytes(password), b""
    for block in range(1, -(-wanted // size) + 1):
        last = hmac.digest(key, bytes(salt) + block.to_bytes(4, "big"), hash_name)
        mixed = int.from_bytes(last, "big")
        for _ in range(iterations - 1):
            last = hmac.digest(key, last, hash_name)
            mixed ^= int.from_bytes(last, "big")
        made += mixed.to_bytes(size, "big")
    return made[:wanted]
