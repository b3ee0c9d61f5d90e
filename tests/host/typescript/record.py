"""Renews `ids.json`: what the published plugin gives the functions of `fixtures/` as ids. Needs npm.

PYTHONPATH=tests python -m host.typescript.record
"""

from __future__ import annotations

import subprocess
from pathlib import Path

HERE = Path(__file__).parent
FIXTURES = HERE / "fixtures"
IDS = HERE / "ids.json"
CACHE = HERE.parents[2] / ".cache" / "swc-plugin"
PINNED = ("@workflow/swc-plugin@5.0.0-beta.7", "@swc/core@1.15.3")


def fixtures() -> list[str]:
    """The files, by path from the folder on."""
    return sorted(file.relative_to(FIXTURES).as_posix() for file in FIXTURES.rglob("*.[jt]s"))


def main() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(CACHE), *PINNED]
    subprocess.run(install, check=True)
    record = ["node", str(HERE / "record.mjs"), str(CACHE), str(FIXTURES), *fixtures()]
    made = subprocess.run(record, check=True, capture_output=True, text=True)
    IDS.write_text(made.stdout)
    print(f"{IDS}: {len(fixtures())} files, {made.stdout.count('//')} ids")


if __name__ == "__main__":
    main()
