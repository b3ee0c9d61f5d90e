"""Code and guests as they stand in exported files: deflated, once each."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from zlib import compress

from cloche.history.values import encode_plain
from cloche.tenancy.cache import TenantCache

KEPT_BYTES_MAX = 32 << 20  # two guests of each language, and the code of the last runs


async def deflated(digest: str, data: bytes) -> bytes:
    """A blob as it stands in a file. Guests are few, and take seconds of a core: what was deflated is kept.

    In a thread of its own: whoever asks for many files does not have all those that others need.
    """
    return await asyncio.get_running_loop().run_in_executor(_deflating, _deflated, digest, data)


def _deflated(digest: str, data: bytes) -> bytes:
    found = _kept.get(digest)
    if found is None:
        found = encode_plain(compress(data, 9))
        _kept.put(digest, found, len(found), "")
    return found


_deflating = ThreadPoolExecutor(1, "cloche-deflate")
_kept: TenantCache[str, bytes] = TenantCache(KEPT_BYTES_MAX)
