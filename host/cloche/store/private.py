"""Files that nobody but this user may read or write: runs hold what people entrusted to a workflow."""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE = 0o600


def make_private(path: Path) -> None:
    """Make an empty file for this user alone, if there is none; SQLite gives the files beside it the same mode.

    One that is there keeps its mode: somebody may have opened it to a group on purpose.

    Raises:
        OSError: it cannot be made.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, PRIVATE))
