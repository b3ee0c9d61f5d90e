"""The bundle of npm's @workflow/world-testing: 18 workflows as another builder compiled them. Fetched by npm, checked by its
integrity, kept in `.cache/`; nothing of it is in the repository.

PYTHONPATH=tests python -m support.world_testing
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from functools import cache
from pathlib import Path

from cloche.operations.typescript.bundles import script_in

NAME, VERSION = "@workflow/world-testing", "5.0.0-beta.35"
INTEGRITY = "sha512-GrFZKP5DCB33QqP9wC0Z3Y7Gq6n5Qb0MIdJ/qIu5Htax7zyNMZ8V2RO8VdxSIqxFaf2o+l3Na9uGtR9954PH1Q=="
CACHE = Path(__file__).parents[2] / ".cache" / "world-testing" / VERSION
FOLDER = "dist/.well-known/workflow/v1"


@cache
def package() -> Path | None:
    """The package's folder; None where it is not in the cache, and npm does not bring it."""
    if not CACHE.exists():
        npm = shutil.which("npm")
        if npm is None:
            return None
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE.parent) as work:
            pack = [npm, "pack", f"{NAME}@{VERSION}", "--silent", "--cache", f"{work}/npm"]
            if subprocess.run(pack, cwd=work, capture_output=True).returncode:
                return None
            archive = next(Path(work).glob("*.tgz"))
            digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            assert f"sha512-{digest}" == INTEGRITY, f"{NAME} {VERSION} is not what is pinned"
            with tarfile.open(archive) as tar:
                tar.extractall(work, filter="data")
            try:
                (Path(work) / "package").rename(CACHE)
            except OSError:  # another process of the tests was first
                if not CACHE.is_dir():
                    raise
    return CACHE


def flow_file() -> Path | None:
    """The module that holds the script of the workflows."""
    found = package()
    return found / FOLDER / "flow.mjs" if found else None


def step_file() -> Path | None:
    """The module that holds the compiled steps."""
    found = package()
    return found / FOLDER / "step.mjs" if found else None


def flow_script() -> str:
    """The script of the workflows, as it was compiled."""
    file = flow_file()
    script = script_in(file.read_text()) if file else None
    assert script is not None, f"{NAME} is not here, and npm did not bring it"
    return script


if __name__ == "__main__":
    print(flow_file(), f"{len(flow_script()):,} characters")
