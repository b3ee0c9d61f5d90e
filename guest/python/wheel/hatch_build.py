"""Puts the built Python guest and its licences into the wheel `cloche-python`: `make wheel-python`, in a checkout."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PythonGuestHook(BuildHookInterface):  # type: ignore[type-arg]  # its parameter is the builder's configuration
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        package = Path(self.root, "cloche_python")
        sys.path.insert(0, str(Path(self.root).parents[1]))
        import cloche_guest

        guest = cloche_guest.ensure_guest("python", self.app.display_info)
        for old in package.glob("python-*"):
            old.unlink()
        for file in (guest.path, guest.path.with_suffix(".licences.txt")):
            shutil.copy(file, package / file.name)
