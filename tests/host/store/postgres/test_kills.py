"""Three workers as processes on one PostgreSQL: workers, the server and the connections are killed while clients ask."""

from __future__ import annotations

import os
from pathlib import Path

from support.guests import needs_python
from support.kills import campaign
from support.postgres import own_server, require

from benchmarks.proxy import proxy

SEED = int(os.environ.get("CLOCHE_SEED", "20261128"))
KILLS = int(os.environ.get("CLOCHE_KILLS", "20"))  # `make kills-postgres` takes 500


def test_kills_lose_repeat_and_overtake_nothing(tmp_path: Path) -> None:
    needs_python()
    require()
    print(f"CLOCHE_SEED={SEED}")
    with own_server() as server, proxy(server.port) as way:

        def restart() -> None:
            server.kill()
            server.start()

        store = server.url("kills").replace(f":{server.port}/", f":{way.port}/")
        assert campaign(tmp_path, KILLS, SEED, store, faults=[restart, way.cut, way.cut]).killed >= KILLS
