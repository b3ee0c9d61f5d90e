"""Puts the built guest and the compiler of TypeScript into wheels and source distributions: `hatchling` calls it.

From a checkout without a built guest it is built now, and only then are compiler and runtime asked for. From a source
distribution it is there already.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GuestBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # its parameter is the builder's configuration
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable" or self._is_built():
            return
        sys.path.insert(0, str(Path(self.root, "guest")))
        import cloche_guest

        cloche_guest.ensure_guest("javascript", self.app.display_info)
        cloche_guest.ensure_compiler(self.app.display_info)

    def dependencies(self) -> list[str]:
        return [] if self._is_built() else ["ziglang>=0.17,<0.18", "wasmtime>=50.0.1,<51", "cbor2>=6.3,<7"]

    def _is_built(self) -> bool:
        built = Path(self.root, "guest", "cloche_guest", "built")
        return all(any(built.glob(pattern)) for pattern in ("javascript-*.wasm", "compiler-*.js"))
