"""`python -m cloche_guest`: build the guests if their sources changed, and say what there is."""

from __future__ import annotations

import argparse
import json
import sys
import time

from cloche_guest.abi import GuestError
from cloche_guest.artifacts import Guest, ensure_guest


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m cloche_guest", description="Build the guests of cloche.")
    parser.add_argument("language", nargs="?", choices=["javascript", "python"], default="javascript")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    arguments = parser.parse_args()
    as_json: bool = arguments.json
    begun = time.monotonic()
    try:
        guest = ensure_guest(arguments.language, (lambda _: None) if as_json else print)
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
