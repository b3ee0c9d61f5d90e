"""The audit log: each act of operators is in it, whichever way it is done."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.apps import AppOn, Journal, in_loop
from support.commands import MATH, cloche
from support.served import asker, asking

from cloche import create_workflow, http
from cloche.cli import main
from cloche.cli.base import user
from cloche.operations import acts
from cloche.operations.acts import Act
from cloche.store import MemoryStore

HOST = Path(acts.__file__).parents[1]
FLOW = """
from cloche import create_step, create_workflow
ask = create_step(id="ask", execute=lambda data, ctx: ctx.suspend() if ctx.resume_data is None else data)
last = create_step(id="{last}", execute=lambda data: data)
workflow = create_workflow(id="w").then(ask).then(last).commit()
"""


def flow(folder: Path, last: str) -> str:
    file = folder / f"flow_{last}.py"
    file.write_text(FLOW.format(last=last))
    return f"{file}:workflow"


def deploy(store: str, tmp: Path) -> None:
    file = tmp / "one.js"
    file.write_text("export default async () => 1;\n")
    cloche("deploy", str(file), "--tenant", "acme", "--store", store)


def tenant(store: str, tmp: Path) -> None:
    deploy(store, tmp)
    [version] = [line["facts"]["version"] for line in entries(store)]
    for words in (["suspend", "--reason", "x"], ["quarantine", "--reason", "x", "--version", version],
                  ["release", "--version", version], ["reinstate"]):  # fmt: skip
        cloche("tenant", words[0], "acme", *words[1:], "--store", store)


def token(store: str, tmp: Path) -> None:
    id = cloche("token", "create", "--tenant", "acme", "--store", store, "--json").json()["id"]
    cloche("token", "rotate", id, "--store", store)
    cloche("token", "revoke", id, "--store", store)


def webhook(store: str, tmp: Path) -> None:
    cloche("webhook", "put", "ops", "--to", "https://ops.example.com/", "--store", store)
    cloche("webhook", "delete", "ops", "--store", store)
    cloche("webhook", "list", "--store", store)


def prune(store: str, tmp: Path) -> None:
    cloche("run", MATH, "--input", '{"x": 5}', "--store", store)
    assert cloche("prune", "--older-than", "0s", "--store", store, "--dry-run").code == 0
    assert entries(store) == []
    cloche("prune", "--older-than", "0s", "--store", store)


def import_(store: str, tmp: Path) -> None:
    other, file = str(tmp / "other.db"), str(tmp / "r1.cloche")
    cloche("run", MATH, "--input", '{"x": 5}', "--store", other, "--run-id", "r1")
    cloche("export", "r1", "-o", file, "--store", other)
    assert entries(other) == []  # reading is no act
    for _ in range(2):  # what is there already is left alone
        cloche("import", "--own-code", file, "--store", store)


def upgrade(store: str, tmp: Path) -> None:
    cloche("run", flow(tmp, "one"), "--input", "1", "--store", store, "--run-id", "r1")
    assert cloche("upgrade", flow(tmp, "two"), "r1", "--store", store).code == 0


def bulk(store: str, tmp: Path) -> None:
    cloche("run", flow(tmp, "one"), "--input", "1", "--store", store, "--run-id", "r1")
    assert cloche("bulk", "cancel", "--since", "1h", "--yes", "--store", store).code == 0


def resume(store: str, tmp: Path) -> None:
    cloche("run", flow(tmp, "one"), "--input", "1", "--store", store, "--run-id", "r1")
    for _ in range(2):  # the second time nothing is left to be done
        cloche("resume", "r1", "--data", "1", "--key", "k", "--store", store)


def event(store: str, tmp: Path) -> None:
    cloche("run", flow(tmp, "one"), "--input", "1", "--store", store, "--run-id", "r1")
    assert cloche("event", "r1", "paid", "--store", store).code == 0


def cancel(store: str, tmp: Path) -> None:
    cloche("run", flow(tmp, "one"), "--input", "1", "--store", store, "--run-id", "r1")
    assert cloche("cancel", "r1", "--store", store).code == 0
    assert cloche("worker", flow(tmp, "one"), "--store", store, "--once").code == 0
    assert cloche("cancel", "r1", "--store", store).code == 0  # it has ended: nothing is done


def retry(store: str, tmp: Path) -> None:
    cancel(store, tmp)
    for _ in range(2):
        assert cloche("retry", "r1", "--store", store).code == 0


def schedule(store: str, tmp: Path) -> None:
    cloche("run", MATH, "--input", '{"x": 5}', "--store", store)
    for words in (["put", "s", "math", "--every", "1h"], ["pause", "s"], ["resume", "s"], ["delete", "s"]):
        assert cloche("schedule", *words, "--store", store).code == 0


# The commands that act, with what they do and what that is in the log, the last first.
COMMANDS: dict[str, tuple[Callable[[str, Path], None], list[str]]] = {
    "deploy": (deploy, ["deployed"]),
    "tenant": (tenant, ["reinstated", "released", "quarantined", "suspended", "deployed"]),
    "token": (token, ["token revoked", "token rotated", "token created"]),
    "webhook": (webhook, ["webhook deleted", "webhook put"]),
    "prune": (prune, ["collected", "pruned"]),
    "import": (import_, ["imported"]),
    "bulk": (bulk, ["bulk", "bulk"]),  # what is meant, and the runs of a page
    "resume": (resume, ["resumed"]),
    "event": (event, ["event sent"]),
    "cancel": (cancel, ["canceled"]),
    "retry": (retry, ["retried", "canceled"]),
    "upgrade": (upgrade, ["upgraded"]),
    "schedule": (schedule, ["schedule"] * 4),
}
ON_A_SERVER_ALONE = {"migrate"}
# Reading, and what programs ask of runs: the log of the run has that.
NO_ACTS = {
    *(
        "run",
        "graph",
        "codegen",
        "replay",
        "worker",
        "serve",
        "dev",
        "runs",
        "show",
        "failures",
        "top",
        "limits",
        "log",
        "usage",
    ),
    *("check", "audit", "verify", "export", "backup", "sign", "doctor", "warm", "explain", "completion", "bench"),
}


def entries(store: str) -> list[Any]:
    if not Path(store).exists():
        return []
    return [line for line in cloche("audit", "--store", store, "--json").lines() if line["actor"] != "worker"]


def test_each_command_is_an_act_or_none() -> None:
    assert set(main.commands) == COMMANDS.keys() | NO_ACTS | ON_A_SERVER_ALONE


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_does_is_in_the_log(name: str, store: str, tmp_path: Path) -> None:
    do, expected = COMMANDS[name]
    do(store, tmp_path)
    found = entries(store)
    assert [line["action"] for line in found] == expected
    assert {line["actor"] for line in found} == {user()}


def test_what_was_done_to_one_run_is_found(store: str, tmp_path: Path) -> None:
    retry(store, tmp_path)
    cloche("run", flow(tmp_path, "one"), "--input", "1", "--store", store, "--run-id", "r2")
    assert cloche("bulk", "cancel", "--status", "suspended", "--yes", "--store", store).code == 0
    found = {run: cloche("audit", "--run", run, "--store", store, "--json").lines() for run in ("r1", "r2", "r3")}
    assert [line["action"] for line in found["r1"]] == ["retried", "canceled"]
    assert [(line["facts"]["done"], "r2" in line["facts"]["runs"]) for line in found["r2"]] == [("cancel", True)]
    assert found["r3"] == []
    line, _ = cloche("audit", "--run", "r1", "--store", store).out.splitlines()
    assert f"retried  by {user()}" in line


def test_a_migration_is_in_the_log(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is migrated when it is opened, so it stands here for a database."""

    async def migrated(*given: Any, **named: Any) -> list[int]:
        return [2, 3]

    monkeypatch.setattr("cloche.store.migrate", migrated)
    cloche("run", MATH, "--input", '{"x": 5}', "--store", store)
    assert cloche("migrate", store).code == 0
    assert [(line["action"], line["facts"]) for line in entries(store)] == [("migrated", {"to": 3})]


@in_loop
async def test_what_a_program_does_is_in_the_log() -> None:
    """Every act but those on tokens and of `cloche migrate`, by the methods that do them."""
    store, journal = MemoryStore(), Journal()
    one, two = (
        create_workflow(id="w").then(journal.ask()).then(journal.step(last)).commit() for last in ("one", "two")
    )
    async with AppOn(store, workflows=[one]) as app, AppOn(MemoryStore(), workflows=[one]) as other:
        version = await app.deploy(
            "default", "export default async () => 1", workflow="d", language="javascript", by="a"
        )
        tenant = app.tenant("default")
        await tenant.suspend("x", by="b")
        await tenant.reinstate(by="c")
        await tenant.quarantine(version, "x", by="d")
        await tenant.release(version, by="e")
        await tenant.withdraw(version, by="f")
        for run_id in ("r1", "r2"):
            await (await app.start("w", {"v": 1}, run_id=run_id)).result()
        await app.upgrade("r1", two, by="g")
        await (await other.start("w", {"v": 1}, run_id="r3")).result()
        await app.import_(await other.export("r3"), by="h")
        await app.cancel("r2")
        await (await app.get("r2")).result()
        await app.delete("r2", by="i")
        await app.prune(older_than_s=0, by="j")
        found = [(one.actor, one.action) for one in await store.audit_log() if one.actor != "worker"]
    done = [
        "deployed",
        "suspended",
        "reinstated",
        "quarantined",
        "released",
        "withdrew",
        "upgraded",
        "imported",
        "deleted",
    ]
    assert found[::-1] == [*zip("abcdefghi", done, strict=True), ("j", "collected")]


@in_loop
async def test_what_is_asked_over_http_is_in_the_log_with_who_asked(journal: Journal) -> None:
    store = MemoryStore()
    async with AppOn(store, workflows=[asking(journal)]) as worker, asker(http.app(worker, auth=http.local)) as ask:
        body = {"source": "export default async () => 1", "language": "javascript"}
        version = (await ask.post("/v1/workflows/d/versions", json=body)).json()["id"]
        await ask.delete(f"/v1/versions/{version}")
        token = (await ask.post("/v1/tokens", json={"role": "viewer"})).json()["id"]
        await ask.post(f"/v1/tokens/{token}/rotate")
        await ask.delete(f"/v1/tokens/{token}")
        await ask.post("/v1/workflows/asking/runs", json={"input": {"v": 1}, "run_id": "r1"})
        await ask.post("/v1/runs/r1/cancel")
        await ask.get("/v1/runs/r1/result", headers={"Prefer": "wait=20"})
        assert (await ask.delete("/v1/runs/r1")).status_code == 204
        found = [one for one in await store.audit_log() if one.actor != "worker"]
    expected = ["deployed", "withdrew", "token created", "token rotated", "token revoked", "canceled", "deleted"]
    assert [one.action for one in reversed(found)] == expected
    assert {one.actor for one in found} == {http.local({"headers": []}).id}
    assert token in {json.loads(one.facts).get("token") for one in found}


def test_every_act_is_done_somewhere_and_written_in_one_place() -> None:
    """A new act has its line in `Act`, and is in the tests above; nobody writes to the log past it."""
    sources = {file: file.read_text() for file in HOST.rglob("*.py")}
    used = {name for text in sources.values() for name in re.findall(r"\bAct\.([A-Z_]+)", text)}
    assert used == set(Act.__members__)
    writing = {file.name for file, text in sources.items() if ".write_audit(" in text}
    assert writing == {"acts.py", "audit_trail.py"}
    tested = {action for _, actions in COMMANDS.values() for action in actions}
    assert set(Act) - tested == {Act.WITHDREW, Act.DELETED, Act.MIGRATED}
