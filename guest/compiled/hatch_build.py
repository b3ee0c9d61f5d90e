"""Compiles the built guests into the wheel `cloche-compiled`: `make wheel-compiled`, in a checkout on x86-64 Linux."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledGuestsHook(BuildHookInterface):  # type: ignore[type-arg]  # its parameter is the builder's configuration
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        import cloche_guest
        from cloche.sandbox import shipped

        package, digests = Path(self.root, "cloche_compiled"), {}
        for old in package.glob("*.cwasm.zst"):
            old.unlink()
        for language in get_args(cloche_guest.Language):
            guest = cloche_guest.ensure_guest(language, self.app.display_info)
            self.app.display_info(f"compiling the {language} guest for {shipped.TARGET} …")
            name, digest, packed = shipped.made(guest.digest, guest.wasm)
            (package / f"{name}.cwasm.zst").write_bytes(packed)
            digests[name] = digest
        lines = [f'    "{name}": "{digest}",' for name, digest in sorted(digests.items())]
        head = '"""What each artefact is, unpacked: BLAKE2b-256 by its name."""'
        (package / "artefacts.py").write_text("\n".join([head, "", "DIGESTS = {", *lines, "}", ""]))
        build_data.update(pure_python=False, tag="py3-none-manylinux_2_17_x86_64")
