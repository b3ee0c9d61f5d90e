"""Every command, as users and as programs see it."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.commands import FLOWS, MATH, cloche, ended, process


def test_run_prints_the_result_on_stdout_and_the_rest_on_stderr(store: str) -> None:
    ran = ended(process("run", MATH, "--input", '{"x": 5}', "--store", store, "--run-id", "r1"))
    assert (ran.code, ran.out) == (0, '{"x": 20}\n')
    assert ran.err == "✓ run r1 success\n"


def test_run_says_that_a_run_has_ended_already(store: str) -> None:
    again = [cloche("run", MATH, "--input", '{"x": 5}', "--store", store, "--run-id", "r1") for _ in range(2)][1]
    assert (again.code, again.out) == (0, '{"x": 20}\n')
    assert again.err.splitlines()[0] == (
        "run r1 has ended already (success): nothing ran now; another --run-id begins a new one"
    )


def test_run_says_what_it_waits_for_where_nobody_watches(store: str) -> None:
    child = process(
        "run",
        f"{FLOWS}:asleep",
        "--store",
        store,
    )
    assert child.stderr is not None
    begun, waits = child.stderr.readline(), child.stderr.readline()
    assert begun.startswith("run r_")
    assert waits.startswith(f"{begun.strip()} waits: it sleeps, and goes on in ")
    child.kill()
    ended(child)


def test_run_is_not_for_a_server() -> None:
    ran = cloche("run", MATH, "--store", "http://127.0.0.1:1")
    assert ran.code == 2
    assert "is a server, which executes its runs itself" in ran.err
    assert "http://" not in cloche("run", "--help").out


def test_run_reads_its_input_from_a_file_and_from_a_pipe(store: str, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('{"x": 6}')
    from_file = cloche("run", MATH, "--input", f"@{tmp_path / 'in.json'}", "--store", store)
    from_pipe = ended(process("run", MATH, "--input", "-", "--store", store), given='{"x": 7}')
    assert (from_file.out, from_pipe.out) == ('{"x": 22}\n', '{"x": 24}\n')


def test_run_gives_programs_one_object(store: str) -> None:
    ran = cloche("run", MATH, "--input", '{"x": 5}', "--store", store, "--run-id", "r1", "--json")
    data = ran.json()
    assert (ran.code, ran.err) == (0, "")
    assert {key: data[key] for key in ("run_id", "workflow_id", "status", "input", "result", "error", "blocked")} == {
        "run_id": "r1",
        "workflow_id": "math",
        "status": "success",
        "input": {"x": 5},
        "result": {"x": 20},
        "error": None,
        "blocked": None,
    }
    assert [(id, step["status"], step["output"], step["attempts"]) for id, step in data["steps"].items()] == [
        ("double", "success", {"x": 10}, 1),
        ("add-ten", "success", {"x": 20}, 1),
    ]
    assert data["step_execution_path"] == ["double", "add-ten"]


def test_run_of_an_id_that_exists_gives_that_run_or_refuses(one_run: str) -> None:
    again = cloche("run", MATH, "--input", '{"x": 5}', "--store", one_run, "--run-id", "r1")
    other = cloche("run", MATH, "--input", '{"x": 6}', "--store", one_run, "--run-id", "r1")
    assert (again.code, again.out, other.code, other.out) == (0, '{"x": 20}\n', 2, "")
    assert "run r1 exists already" in other.err
    assert len(cloche("runs", "--store", one_run, "--json").lines()) == 1


def test_run_of_a_failing_workflow_exits_1_and_says_where(store: str) -> None:
    ran = cloche("run", f"{FLOWS}:failing", "--store", store)
    assert (ran.code, ran.out) == (1, "")
    assert "error: ValueError: no: \\x1b]0;owned" in ran.err
    assert [line.endswith("(step refuse)") for line in ran.err.splitlines() if line.startswith("error: ")] == [True]


def test_run_and_worker_put_cells_into_a_process_where_that_is_asked_for(store: str) -> None:
    ran = ended(
        process("run", MATH, "--input", '{"x": 5}', "--store", store, "--run-id", "r1", "--isolation", "process")
    )
    assert (ran.code, ran.out, ran.err) == (0, '{"x": 20}\n', "✓ run r1 success\n")
    assert "'engine': 'process'" in str(cloche("log", "r1", "--store", store, "--json").lines()[0])
    assert cloche("replay", "r1", "--store", store).code == 0  # in this one: it is the same glass
    assert ended(process("worker", MATH, "--store", store, "--once", "--isolation", "process")).code == 0


def test_the_direct_engine_isolates_nothing(store: str) -> None:
    ran = cloche("run", MATH, "--store", store, "--engine", "direct", "--isolation", "process")
    assert (ran.code, ran.out) == (2, "")
    assert "the direct engine isolates nothing" in ran.err


def test_run_of_a_workflow_that_spins_ends_and_the_store_is_well(store: str) -> None:
    ran = cloche("run", f"{FLOWS}:spinning", "--store", store)
    assert (ran.code, ran.out) == (1, "")
    assert "is there an endless loop?" in ran.err
    assert cloche("verify", "--store", store).code == 0


def test_runs_of_an_empty_store_are_an_empty_list(store: str) -> None:
    assert cloche("worker", MATH, "--store", store, "--once").code == 0  # makes the file
    for options in ([], ["--json"]):
        ran = cloche("runs", "--store", store, *options)
        assert (ran.code, ran.out) == (0, "")


def test_runs_lists_newest_first_and_filters(store: str) -> None:
    for n, flow in enumerate(("escaping", "failing", "escaping")):
        cloche("run", f"{FLOWS}:{flow}", "--store", store, "--run-id", f"r{n}")

    def ids(*options: str) -> list[str]:
        return [row["run_id"] for row in cloche("runs", "--store", store, "--json", *options).lines()]

    assert ids() == ["r2", "r1", "r0"]
    assert ids("--status", "failed") == ids("--workflow", "failing") == ["r1"]
    assert (ids("--limit", "1"), ids("--tenant", "other")) == (["r2"], [])
    refused = cloche("runs", "--store", store, "--status", "done")
    assert (refused.code, "'pending', 'running', 'waiting'" in refused.err) == (2, True)
    row = cloche("runs", "--store", store, "--json", "--limit", "1").json()
    assert set(row) == {
        *("run_id", "tenant", "workflow", "status", "records", "created_at", "updated_at", "wake_at", "blocked"),
    }
    assert re.fullmatch(
        r"✓ success +r2 +escaping +\d+ records  2.+\n", cloche("runs", "--store", store, "--limit", "1").out
    )


def test_show_says_what_became_of_a_run(one_run: str) -> None:
    ran = cloche("show", "r1", "--store", one_run)
    assert ran.code == 0
    assert re.match(r"ended: success\nworkflow math, code \w{12}, 9 records\n  ✓ double ", ran.out)
    data = cloche("show", "r1", "--store", one_run, "--json").json()
    assert (data["status"], data["why"], data["result"]) == ("success", "ended: success", {"x": 20})


def test_log_prints_every_record(one_run: str) -> None:
    ran = cloche("log", "r1", "--store", one_run)
    assert re.findall(r"^ +\d+  [\d:.]{12}  ([a-z]+ [a-z]+) ", ran.out, re.MULTILINE) == [
        *("run created", "run started", "step called", "attempt started", "step completed"),
        *("step called", "attempt started", "step completed", "run completed"),
    ]
    records = cloche("log", "r1", "--store", one_run, "--json", "--follow").lines()
    assert [record["seq"] for record in records] == list(range(1, 10))
    assert set(records[2]) == {"seq", "kind", "time", "call", "path", "body", "message", "hash"}
    assert (records[2]["kind"], records[2]["path"], records[2]["call"]) == ("step_called", "double", 1)


@pytest.mark.parametrize("columns", [60, 80, 150])
def test_log_cuts_its_lines_to_a_width(one_run: str, columns: int) -> None:
    whole = cloche("log", "r1", "--store", one_run).out
    fitted = cloche("log", "r1", "--store", one_run, "--width", str(columns)).out
    assert max(map(len, whole.splitlines())) > 150
    assert max(map(len, fitted.splitlines())) == columns
    assert len(fitted.splitlines()) == len(whole.splitlines())


def test_codegen_prints_the_source_and_its_map() -> None:
    plain, mapped = cloche("codegen", MATH), cloche("codegen", MATH, "--map")
    data = cloche("codegen", MATH, "--json").json()
    assert 'const r_double = await step("double")(input);' in plain.out
    assert plain.out == data["code"]
    assert [line.partition("│ ")[2] for line in mapped.out.splitlines()] == plain.out.splitlines()
    assert {"double", "add-ten"} <= {entry["node"] for entry in data["map"]}


def test_replay_compares_every_command(one_run: str) -> None:
    ran = cloche("replay", "r1", "--store", one_run)
    assert ran.code == 0
    assert re.match(r"✓ 3 events replayed in .+ every command as recorded\n  state [0-9a-f]{64}\n", ran.out)
    data = cloche("replay", "r1", "--store", one_run, "--json").json()
    assert (data["run_id"], data["ok"], data["events"], data["divergence"]) == ("r1", True, 3, None)


def test_replay_with_changed_code_exits_3_and_says_what_differs(one_run: str) -> None:
    ran = cloche("replay", "r1", "--store", one_run, "--with", f"{FLOWS}:changed_math")
    assert (ran.code, ran.out) == (3, "")
    assert "the history has step 'double' here, but the workflow asked for 'add-ten'" in ran.err
    assert "  name: then 'double', now 'add-ten'" in ran.err
    data = cloche("replay", "r1", "--store", one_run, "--with", f"{FLOWS}:changed_math", "--json")
    report = data.json()["divergence"]
    assert (data.code, report["seq"], report["differences"][0]) == (
        3,
        3,
        {"at": "name", "expected": "double", "actual": "add-ten"},
    )


def test_verify_is_silent_proof_or_points_at_the_record(one_run: str) -> None:
    assert cloche("verify", "--store", one_run).out == "✓ 9 records of 1 runs are what was written\n"
    assert cloche("verify", "r1", "--store", one_run, "--json").json() == {
        "ok": True,
        "runs": 1,
        "records": 9,
        "findings": [],
    }
    assert cloche("verify", "--deep", "--store", one_run).code == 0
    flip_a_byte_of_record(Path(one_run), 5)
    ran, data = cloche("verify", "--store", one_run), cloche("verify", "--store", one_run, "--json")
    assert (ran.code, ran.out, data.code) == (3, "", 3)
    assert "✗ run r1, record 5: record 5 is not the one that was written" in ran.err
    assert [(finding["run"], finding["seq"]) for finding in data.json()["findings"]] == [("r1", 5)]
    for reader in (["show", "r1"], ["log", "r1"], ["replay", "r1"]):
        assert cloche(*reader, "--store", one_run).code == 3


def flip_a_byte_of_record(file: Path, seq: int) -> None:
    """In the closed file itself, as a disk would: somewhere in the bytes of that record."""
    with closing(sqlite3.connect(file)) as db:
        [(record,)] = db.execute("SELECT record FROM records WHERE seq = ?", (seq,))
    data = bytearray(file.read_bytes())
    at = data.index(record) + len(record) // 2
    data[at] ^= 0x10
    file.write_bytes(data)


def test_worker_finishes_what_is_open_and_says_so(store: str) -> None:
    target = f"{FLOWS}:sleeping"
    ran = cloche("worker", target, MATH, "--store", store, "--once")
    assert (ran.code, ran.out) == (0, "")


def test_values_that_json_cannot_hold_are_named(store: str) -> None:
    ran = cloche("run", f"{FLOWS}:strange", "--store", store, "--json")
    assert json.loads(ran.out)["result"] == {"nan": "NaN", "inf": "Infinity", "bytes": "hex:00ff", "big": 2**70}


def test_what_a_step_returns_cannot_speak_to_the_terminal(store: str) -> None:
    """Titles, colours, clearing, text that runs backwards: all are shown as what they are."""
    outputs = [cloche("run", f"{FLOWS}:{flow}", "--store", store, "--run-id", flow) for flow in ("escaping", "failing")]
    for id in ("escaping", "failing"):
        for command in ("show", "log"):
            outputs += [cloche(command, id, "--store", store), cloche(command, id, "--store", store, "--json")]
    for ran in outputs:
        assert all(c.isprintable() or c == "\n" for c in ran.out + ran.err)
        assert "owned" in ran.out + ran.err


def test_a_graph_in_json_runs_with_steps_from_a_file(store: str, tmp_path: Path) -> None:
    file = tmp_path / "math.json"
    file.write_text(cloche("graph", MATH, "--json").out)
    ran = cloche("run", str(file), "--steps", FLOWS, "--input", '{"x": 1}', "--store", store)
    assert (ran.code, ran.out) == (0, '{"x": 12}\n')


def test_a_run_travels_in_a_file(one_run: str, tmp_path: Path) -> None:
    file, other = str(tmp_path / "r1.cloche"), str(tmp_path / "other.db")
    assert cloche("export", "r1", "-o", file, "--store", one_run).code == 0
    refused = cloche("import", file, "--store", other)  # as its tenant's code: it was promised more than strangers get
    assert (refused.code, "was promised" in refused.err) == (2, True)
    assert cloche("import", file, "--own-code", "--store", other, "--json").json() == {
        "run_id": "r1",
        "status": "success",
        "records": 9,
    }
    logs = [cloche("log", "r1", "--store", place, "--json").out for place in (one_run, other)]
    assert logs[0] == logs[1]
    assert cloche("replay", "r1", "--store", other).code == 0


def test_the_store_may_come_from_the_environment(one_run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOCHE_STORE", one_run)
    assert [row["run_id"] for row in cloche("runs", "--json").lines()] == ["r1"]


def test_old_runs_are_pruned(one_run: str) -> None:
    assert cloche("prune", "--older-than", "1h", "--store", one_run, "--json").json()["runs"] == []
    would = cloche("prune", "--older-than", "0s", "--dry-run", "--store", one_run, "--json").json()
    assert would == {"runs": ["r1"], "parts": 0, "blobs": 0, "dry_run": True}
    assert cloche("prune", "--older-than", "0s", "--dry-run", "--store", one_run).out == "r1\n"
    done = cloche("prune", "--older-than", "0s", "--store", one_run, "--json").json()
    assert done == {"runs": ["r1"], "parts": 0, "blobs": 2, "dry_run": False}
    assert (cloche("runs", "--store", one_run).out, cloche("verify", "--store", one_run).code) == ("", 0)
    assert cloche("run", MATH, "--input", '{"x": 5}', "--store", one_run, "--run-id", "r1").code == 2


@pytest.mark.parametrize("time", ["", "30", "d", "-1d", "1.5h", "3 d", "½d"])
def test_a_time_that_is_none_deletes_nothing(one_run: str, time: str) -> None:
    ran = cloche("prune", "--older-than", time, "--store", one_run)
    assert (ran.code, "30d" in ran.err) == (2, True)
    assert cloche("show", "r1", "--store", one_run).code == 0


def test_a_store_is_backed_up(one_run: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    done = cloche("backup", str(copy), "--store", one_run, "--json").json()
    assert done == {"file": str(copy), "bytes": copy.stat().st_size}
    assert cloche("log", "r1", "--store", str(copy)).out == cloche("log", "r1", "--store", one_run).out
    assert cloche("backup", str(copy), "--store", one_run).code == 5
