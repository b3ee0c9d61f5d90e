"""The examples and the demo run, and print what they should."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.guests import needs_python
from support.node import NODE
from support.postgres import require

EXAMPLES = Path(__file__).parents[2] / "host" / "examples"
PRINTED = {
    "01_first_workflow.py": "success x=20 ['double', 'add-ten']\n",
    "02_parallel_and_branch.py": "64.90 EUR\n166.90 EUR after discount\n",
    "03_a_run_survives.py": (
        "charging 25\nleaving while the run is waiting\nthank you: receipt for 25\nreplays: True · log intact: True\n"
    ),
    "04_loops.py": "1 after 4 turns\n",
    "05_approval.py": "{'approve': {'question': 'pay 250 EUR?'}}\npaid\n",
    "06_native.py": "{'mails': 2, 'account': 'a-ann'}\nreplays: True\n",
    "08_agent.py": (
        "{'approve': {'question': 'Go on?'}}\n{'heard': [3, 6], 'turns': 50}\n{'value': 'turn 49: I heard 3'}\n"
    ),
    "09_code_writing_agent.py": ("attempt 1: line 4: return summ(prices): NameError\nattempt 2: 10, with 2 steps\n"),
    "10_typescript.py": (
        "calls: step//./onboarding//createAccount, step//./onboarding//sendMail\n"
        "{'mails': ['welcome to ann@shop.example', 'first steps to ann@shop.example'], 'account': 'a-o-1'}\n"
        "replays: True\n"
    ),
    "11_steps_on_node.py": (
        "{'sendMail': 'welcome to ann@shop.example'} True\n{'letter': 'a letter to account of o-1'} True\n"
    ),
    "07_platform.py": (
        "umbra may not deploy: fuel-exhausted\n"
        "acme success sent mail to ann\n"
        "umbra failed NotGranted: step 'pay' is not granted to tenant umbra; granted are: mail\n"
        "umbra failed FuelExhausted: the workflow was stopped in a turn: it computed longer than one event may take: "
        "is there an endless loop? Put heavy work into a step\n"
        "acme 1 runs, 1 steps, metered: True\n"
        "umbra 2 runs, 1 steps, metered: True\n"
    ),
}

IN_PYTHON = ("06_native.py", "08_agent.py", "09_code_writing_agent.py")
ON_NODE = ("11_steps_on_node.py",)


ROOT = EXAMPLES.parents[1]


# What an example has the library say on standard error; nothing else is said.
SAID = {
    "07_platform.py": r"version order@\w+ of tenant umbra names steps that its policy does not grant, .*: pay\. .*\n"
}


def _output(file: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80", **environment},
        check=False,
        timeout=120,
    )
    assert done.returncode == 0
    assert re.fullmatch(SAID.get(file.name, ""), done.stderr)
    return done.stdout


def test_every_example_is_tested() -> None:
    assert sorted(PRINTED) == sorted(file.name for file in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_an_example_prints_what_it_shows(name: str) -> None:
    if name in IN_PYTHON:
        needs_python()
    if name in ON_NODE and NODE is None:
        pytest.skip("there is no Node.js")
    assert _output(EXAMPLES / name) == PRINTED[name]


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_an_example_is_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) < 42


def test_the_demo_is_killed_and_finishes_without_running_a_completed_step_again(tmp_path: Path) -> None:
    printed = _output(EXAMPLES / "demo" / "demo.py", CLOCHE_DEMO_OUT=str(tmp_path / "out"))
    [(step, run)] = re.findall(r"killed: exit -9, while step (\S+) of run (\S+) was under way", printed)
    assert "runs: {'success': 24}; invoices on disk: 24; rows in the books: 24" in printed
    assert "completed more than once: 0" in printed
    assert "no completed step ran twice" in printed
    assert re.search(r"\d+ records of 24 runs are what was written", printed)
    timeline = printed.split(f"The timeline of run {run}, which the kill cut in two\n\n")[1].split("\n\n")[0]
    [_, after] = timeline.split(f" step called      {step} ")
    assert '{"attempt": 1, "redispatch…' in after.splitlines()[1]
    assert max(map(len, timeline.splitlines())) <= 80
    assert "What to try next" in printed
    assert all((EXAMPLES.parents[1] / file).exists() for file in re.findall(r"host/examples/[\w/]+\.py", printed))


def test_the_demo_of_many_machines_loses_nothing_and_repeats_nothing() -> None:
    require()
    printed = _output(EXAMPLES / "demo" / "many_machines.py", CLOCHE_DEMO_ORDERS="60", PYTHONPATH=str(ROOT))
    assert re.search(r"\d+ orders have ended: a worker is killed", printed)
    assert re.search(r"\d+ orders have ended: the server is killed, and starts again", printed)
    assert "runs: {'success': 60}; steps completed: 180, more than once: 0; findings: 0" in printed
    assert "nothing was lost, and no completed step ran twice" in printed
