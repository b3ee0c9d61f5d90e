"""Compiling the guests ahead of the first run: once on a machine for each version of cloche, into the user's cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import get_args

import cloche_guest
from cloche.errors import UsageError
from cloche.sandbox import base_image, cache_directory, is_compiled, private_directory


@dataclass(frozen=True, slots=True)
class Warmed:
    """A guest. `digest` None: it is not installed. `seconds`: what compiling took; 0 if it was compiled already."""

    language: str
    digest: str | None
    size_bytes: int = 0
    seconds: float = 0.0


def warm(progress: Callable[[str], None]) -> Iterator[Warmed]:
    """Compile each guest that is installed, one after the other. `progress` is given a line before what takes seconds.

    Raises:
        UsageError: this user has no cache where they could be kept.
        GuestFault: a guest does not compile.
        BuildFailed: this is a checkout, and a guest could not be built.
    """
    try:
        private_directory()
    except OSError as error:
        raise UsageError(
            f"compiled guests cannot be kept in {cache_directory()}: {error}; CLOCHE_CACHE names another directory, which "
            "must be yours alone"
        ) from error
    for language in get_args(cloche_guest.Language):
        found = cloche_guest.find_guest(language)
        if found is None and language == "python":
            yield Warmed(language, None)
            continue
        guest = found or cloche_guest.ensure_guest(language, progress)
        begun, compiled_before = time.monotonic(), is_compiled(guest.digest)
        if not compiled_before:
            progress(f"compiling the {language} guest ({len(guest.wasm) / 1e6:.1f} MB) …")
        base_image(guest.digest, guest.wasm)
        took = 0.0 if compiled_before else time.monotonic() - begun
        yield Warmed(language, guest.digest, len(guest.wasm), took)
