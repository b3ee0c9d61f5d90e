"""The site of the documents: `python docs/build.py DIRECTORY` makes it in DIRECTORY/site, from the pages of this checkout.

The pages stay where they are in the repository, so their links hold there and on the site alike. README.md is its first page.
Only the reference is made: from the docstrings of what is installed (`docs/reference.py`).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import reference  # beside this file

ROOT = Path(__file__).parents[1]
REFERENCE = "docs/reference"
CONFIG = ROOT / "docs" / "site.toml"
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def pages() -> list[Path]:
    """What `site.toml` names, and whatever of documents and pictures those link to, from the root of the repository."""
    named = re.findall(r'= "([\w/.-]+\.md)"', CONFIG.read_text("utf-8"))
    waiting = [_file(name) for name in named if not name.startswith(REFERENCE)]
    found: list[Path] = []
    while waiting:
        page = waiting.pop(0)
        if page in found:
            continue
        found.append(page)
        if page.suffix == ".md":
            prose = CODE.sub("", (ROOT / page).read_text("utf-8"))
            targets = [(ROOT / page.parent / link).resolve() for link in LINK.findall(prose)]
            waiting += [one.relative_to(ROOT) for one in targets if one.is_file() and one.suffix in (".md", ".svg")]
    return found


def build(directory: Path) -> Path:
    """Make the site, and say where it is.

    Raises:
        subprocess.CalledProcessError: a page cannot be made.
    """
    source = directory / "source"
    shutil.rmtree(source, ignore_errors=True)
    for page in pages():
        target = source / ("index.md" if page == Path("README.md") else page)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / page, target)
    (source / REFERENCE).mkdir()
    for name, text in reference.pages():
        (source / REFERENCE / f"{name}.md").write_text(text, "utf-8")
    shutil.copyfile(CONFIG, directory / "zensical.toml")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    subprocess.run(command, cwd=directory, check=True)
    return directory / "site"


def _file(name: str) -> Path:
    return Path("README.md" if name == "index.md" else name)


if __name__ == "__main__":
    made = build(Path(sys.argv[1]))
    print(f"the documents are in {made}/index.html")
