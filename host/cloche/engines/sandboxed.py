"""The engine of production: workflow code in WebAssembly cells of this process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path

import cloche_guest
from cloche.engines.code import Code, Language
from cloche.engines.protocol import Cell
from cloche.errors import GuestUnavailable
from cloche.history.check import Validator
from cloche.history.ids import TenantId
from cloche.sandbox import Cell as SandboxCell
from cloche.sandbox import Image, Limits, base_image, images, load_image, meter, walk
from cloche.sandbox.cells import LIGHT_CELL_BYTES
from cloche.sandbox.images import digest_of_source

log = logging.getLogger("cloche.sandbox")


class SandboxEngine:
    """Runs workflow code in WebAssembly cells. `limits` bound every run that begins under it.

    `python_guest` is a Python guest of one's own, with packages baked in (`python -m cloche_guest python --with … --out …`).
    """

    name = "sandbox"

    def __init__(self, limits: Limits | None = None, *, python_guest: Path | None = None) -> None:
        self._limits = limits or Limits()
        self._python_guest = python_guest

    @property
    def meter(self) -> str | None:
        return meter()

    @property
    def validator(self) -> Validator:
        return walk

    def guest(self, language: Language = "javascript") -> tuple[str, bytes]:
        return _own_guest(self._python_guest) if self._python_guest and language == "python" else _guest(language)

    def limits(self) -> Limits:
        return self._limits

    def load(self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId) -> None:
        self.open(code, guest, limits, tenant)

    def open(self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId) -> Cell:
        return SandboxCell(self._image(code, guest, limits), limits)

    def keeps(self, code: Code, limits: Limits) -> bool:
        """Whether a cell of some code is made in no time: its image is at hand, and has few pages to write."""
        image = images.kept.get((code.guest, digest_of_source(code.source), limits))
        return image is not None and image.page_count * images.PAGE_BYTES <= LIGHT_CELL_BYTES

    def thaw(self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId, frozen: bytes) -> Cell:
        return SandboxCell.thaw(self._image(code, guest, limits), limits, frozen)

    def _image(self, code: Code, guest: Callable[[], bytes], limits: Limits) -> Image:
        return load_image(base_image(code.guest, self._wasm(code, guest)), code.source, limits, code.owner)

    def _wasm(self, code: Code, guest: Callable[[], bytes]) -> bytes:
        """That of this engine's guest if the code is pinned to it; a run goes on without it, under the one in the store."""
        try:
            digest, wasm = self.guest(code.language)
        except GuestUnavailable:
            return guest()
        return wasm if digest == code.guest else guest()


@cache
def _own_guest(file: Path) -> tuple[str, bytes]:
    try:
        wasm = file.read_bytes()
    except OSError as error:
        raise GuestUnavailable(f"the Python guest {file} cannot be read: {error}") from error
    return blake2b(wasm, digest_size=32).hexdigest(), wasm


@cache
def _guest(language: Language) -> tuple[str, bytes]:
    try:
        guest = cloche_guest.ensure_guest(language, log.info)
    except cloche_guest.GuestError as error:
        raise GuestUnavailable(f"there is no guest to run {language} workflows in: {error}") from error
    return guest.digest, guest.wasm
