"""Puts the built guest, the compiler of TypeScript and the dashboard into wheels and source distributions, for `hatchling`.

From a checkout without them they are built now, and only then are compiler and runtimes asked for. From a source distribution
they are there already. Where one of them cannot be built, neither is the wheel.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PartsBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # its parameter is the builder's configuration
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        if not self._has_guest():
            sys.path.insert(0, str(Path(self.root, "guest")))
            import cloche_guest

            cloche_guest.ensure_guest("javascript", self.app.display_info)
            cloche_guest.ensure_compiler(self.app.display_info)
        if not self._has_dashboard():
            _of_dashboard(self.root)["ensure"](self.app.display_info)

    def dependencies(self) -> list[str]:
        guest = [] if self._has_guest() else ["ziglang>=0.17,<0.18", "wasmtime>=50.0.1,<51", "cbor2>=6.3,<7"]
        return guest if self._has_dashboard() else [*guest, *_of_dashboard(self.root)["PACKAGES"]]

    def _has_dashboard(self) -> bool:
        return bool(_of_dashboard(self.root)["is_built"]())

    def _has_guest(self) -> bool:
        built = Path(self.root, "guest", "cloche_guest", "built")
        return all(any(built.glob(pattern)) for pattern in ("javascript-*.wasm", "compiler-*.js"))


def _of_dashboard(root: str) -> dict[str, Any]:
    """The names of `host/dashboard/build.py`, which is a script of the checkout and in no package."""
    return runpy.run_path(str(Path(root, "host", "dashboard", "build.py")), run_name="dashboard_build")
