"""`python -m cloche_guest`: build the guests if their sources changed, and say what there is."""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path

from cloche_guest.abi import GuestError
from cloche_guest.artifacts import Guest, derive_python, ensure_compiler, ensure_guest


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m cloche_guest", description="Build the guests of cloche.")
    parser.add_argument("language", nargs="?", choices=["javascript", "python", "compiler"], default="javascript")
    parser.add_argument(
        "--with",
        dest="packages",
        metavar="PATH",
        type=Path,
        action="append",
        default=[],
        help="a pure-Python package to bake into a Python guest of your own: its folder, a module's .py, or a .dist-info",
    )
    parser.add_argument(
        "--import",
        dest="imports",
        metavar="NAME",
        action="append",
        default=[],
        help="a module to import while it is baked, so that no cell does it",
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="where that guest is written to")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    arguments = parser.parse_args()
    if (arguments.packages or arguments.imports or arguments.out) and not (
        arguments.language == "python" and arguments.packages and arguments.out
    ):
        parser.error("packages are baked into a Python guest of your own: python --with PATH --out FILE")
    as_json: bool = arguments.json
    progress = (lambda _: None) if as_json else partial(print, flush=True)
    begun = time.monotonic()
    try:
        if arguments.language == "compiler":
            file = ensure_compiler(progress)
            size = file.stat().st_size
            print(json.dumps({"path": str(file), "bytes": size}) if as_json else f"{file.name} … {size:,} bytes")
            return 0
        if arguments.out:
            guest = derive_python(arguments.packages, arguments.out, progress, arguments.imports)
        else:
            guest = ensure_guest(arguments.language, progress)
    except GuestError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(_facts(guest, begun)) if as_json else _line(guest, begun))
    return 0


def _facts(guest: Guest, begun: float) -> dict[str, object]:
    return {
        "language": guest.language,
        "digest": guest.digest,
        "path": str(guest.path),
        "bytes": len(guest.wasm),
        "seconds": round(time.monotonic() - begun, 2),
    }


def _line(guest: Guest, begun: float) -> str:
    return f"{guest.language} {guest.digest[:16]} … {len(guest.wasm):,} bytes, {time.monotonic() - begun:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
