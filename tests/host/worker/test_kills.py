"""Three workers as processes, killed again and again, while clients ask for all that there is to ask."""

from __future__ import annotations

import os
from pathlib import Path

from support.guests import needs_python
from support.kills import campaign

SEED = int(os.environ.get("CLOCHE_SEED", "20261128"))
KILLS = 20  # `make kills` takes 300


def test_kills_lose_repeat_and_overtake_nothing(tmp_path: Path) -> None:
    needs_python()
    print(f"CLOCHE_SEED={SEED}")
    assert campaign(tmp_path, KILLS, SEED).killed >= KILLS
