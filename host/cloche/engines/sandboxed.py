"""The product: workflows under glass."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import cloche_guest
from cloche.engines.protocol import Cell, Code
from cloche.errors import GuestUnavailable
from cloche.sandbox import Cell as SandboxCell
from cloche.sandbox import Image, Limits, base_image, load_image


class SandboxEngine:
    """Runs workflow code in WebAssembly cells. `limits` bound every run that begins under it."""

    name = "sandbox"

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()

    def guest(self) -> tuple[str, bytes]:
        return _javascript_guest()

    def limits(self) -> dict[str, int]:
        return self._limits.to_data()

    def open(self, code: Code, guest: Callable[[], bytes], limits: dict[str, Any]) -> Cell:
        pinned = Limits.from_data(limits)
        return SandboxCell(_image(code, guest, pinned), pinned)

    def thaw(self, code: Code, guest: Callable[[], bytes], limits: dict[str, Any], frozen: bytes) -> Cell:
        pinned = Limits.from_data(limits)
        return SandboxCell.thaw(_image(code, guest, pinned), pinned, frozen)


def _image(code: Code, guest: Callable[[], bytes], limits: Limits) -> Image:
    digest, wasm = _javascript_guest()
    base = base_image(code.guest, wasm if digest == code.guest else guest())
    return load_image(base, code.source, limits)


@cache
def _javascript_guest() -> tuple[str, bytes]:
    try:
        guest = cloche_guest.ensure_guest("javascript")
    except cloche_guest.GuestError as error:
        raise GuestUnavailable(f"there is no guest to run workflows in: {error}") from error
    return guest.digest, guest.wasm
