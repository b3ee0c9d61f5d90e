"""`cloche dev` as a process: what it writes, serves, loads again, and keeps."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.commands import cloche
from support.guests import needs_python

PATIENCE_S = 120.0
ASKING = """
from cloche import create_step, create_workflow

ask = create_step(id="ask", execute=lambda data, ctx: ctx.resume_data or ctx.suspend({{"question": data}}))
tell = create_step(id="tell", execute=lambda data: f"{word} {{data}}")
workflow = create_workflow(id="asking").then(ask).{rest}.commit()
"""


@dataclass
class Dev:
    """A process that is under way, what it has said, and where."""

    process: subprocess.Popen[str]
    said: Path

    def until(self, pattern: str, *, seen: int = 1) -> str:
        """What it has said, once `pattern` has been said so often."""
        end = time.monotonic() + PATIENCE_S
        while len(re.findall(pattern, text := self.said.read_text())) < seen:
            assert time.monotonic() < end, f"never said {pattern!r}:\n{text}"
            assert self.process.poll() is None, text
            time.sleep(0.05)
        return text

    @property
    def url(self) -> str:
        return str(re.findall(r"http://127\.0\.0\.1:\d+", self.until(r"http://\S+ serves"))[0])

    def start(self, workflow: str, value: Any, run_id: str) -> None:
        answer = httpx.post(
            f"{self.url}/v1/workflows/{workflow}/runs", json={"input": value, "run_id": run_id}, timeout=PATIENCE_S
        )
        assert answer.status_code == 201, answer.text

    def ends(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@contextmanager
def dev(folder: Path, *arguments: str) -> Iterator[Dev]:
    said = folder / "said.txt"
    with said.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "cloche.cli", "dev", *arguments, "--port", "0"],
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield Dev(process, said)
        finally:
            with_children = os.getpgid(process.pid) if process.poll() is None else None
            if with_children is not None:
                os.killpg(with_children, signal.SIGKILL)
            process.wait(PATIENCE_S)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cloche("show", run_id, "--store", ".cloche/dev.db", "--json").out)
    return found


def ended(run_id: str, status: str = "success") -> dict[str, Any]:
    end = time.monotonic() + PATIENCE_S
    while (found := shown(run_id))["status"] != status:
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


def test_a_first_workflow_is_written_runs_and_is_there_the_next_time(in_folder: Path) -> None:
    needs_python()
    with dev(in_folder) as first:
        said = first.until("press Ctrl-C")
        assert said.startswith("wrote hello.py")
        assert (in_folder / ".cloche" / ".gitignore").read_text() == "*\n"
        ended("hello-1", "suspended")
        assert first.ends() == 0
    with dev(in_folder) as second:
        assert "wrote" not in second.until("runs in the store: 1;")
        answer = re.findall(r"cloche (resume .*)", said)[0]  # as it was printed
        assert cloche(*[word.strip("'") for word in re.findall(r"'[^']*'|\S+", answer)]).code == 0
        assert ended("hello-1")["result"] == "sent"
        assert second.ends(signal.SIGTERM) == 0


def test_a_file_that_is_saved_is_loaded_again_and_open_runs_keep_their_code(in_folder: Path) -> None:
    flow = in_folder / "flow.py"
    flow.write_text(ASKING.format(word="old", rest="then(tell)"))
    with dev(in_folder, "flow.py") as process:
        process.start("asking", "a", "open")
        ended("open", "suspended")
        flow.write_text(ASKING.format(word="new", rest="map(lambda data: data + '!').then(tell)"))
        process.until("loaded flow.py again: new runs take it; open runs that .* they began with: 1")
        process.start("asking", "b", "later")
        ended("later", "suspended")
        for run_id in ("open", "later"):
            resumed = cloche("resume", run_id, "--data", '"x"', "--store", ".cloche/dev.db")
            assert resumed.code == 0, resumed.err
        # The graph is that of its beginning, a step is what the process has today.
        assert (ended("open")["result"], ended("later")["result"]) == ("new x", "new x!")


def test_what_cannot_be_loaded_is_told_and_what_was_there_goes_on(in_folder: Path) -> None:
    flow = in_folder / "flow.py"
    flow.write_text(ASKING.format(word="old", rest="then(tell)"))
    with dev(in_folder, "flow.py") as process:
        url = process.url
        flow.write_text("syntax error(")
        process.until("flow.py was not loaded: what was loaded before goes on")
        assert "SyntaxError" in process.said.read_text()
        assert httpx.get(f"{url}/healthz").status_code == 200
        flow.write_text(ASKING.format(word="mended", rest="then(tell)"))
        process.until("loaded flow.py again")


def test_a_file_that_is_broken_from_the_beginning_is_waited_for(in_folder: Path) -> None:
    flow = in_folder / "flow.py"
    flow.write_text("x = 1\n")
    with dev(in_folder, "flow.py") as process:
        process.until("flow.py defines no workflow")
        process.until("flow.py was not loaded: save it again when it is mended")
        flow.write_text(ASKING.format(word="old", rest="then(tell)"))
        process.until("loaded flow.py again")


def test_ctrl_c_ends_it_while_it_loads(in_folder: Path) -> None:
    """A terminal's goes to all processes of the group: none of them says more than that."""
    (in_folder / "stuck.py").write_text("import time\nopen('loads.txt', 'w').close()\ntime.sleep(1000)\n")
    with dev(in_folder, "stuck.py") as one:
        end = time.monotonic() + PATIENCE_S
        while not (in_folder / "loads.txt").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        os.killpg(one.process.pid, signal.SIGINT)
        assert one.process.wait(PATIENCE_S) == 0
        assert one.said.read_text() == ""


def test_a_process_that_dies_is_told_and_replaced_when_a_file_is_saved(in_folder: Path) -> None:
    flow = in_folder / "flow.py"
    flow.write_text(ASKING.format(word="old", rest="then(tell)"))
    with dev(in_folder, "flow.py") as process:
        process.start("asking", "a", "open")
        ended("open", "suspended")
        children = Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children")
        if not children.exists():
            pytest.skip("the children of a process are looked up in /proc, which this system has not")
        os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
        process.until("the process with the workflows has ended")
        flow.write_text(ASKING.format(word="again", rest="then(tell)"))
        process.until("loaded flow.py again")
        assert cloche("resume", "open", "--data", '"x"', "--store", ".cloche/dev.db").code == 0
        assert ended("open")["result"] == "again x"


def test_where_it_is_killed_nothing_of_it_is_left(in_folder: Path) -> None:
    flow = in_folder / "flow.py"
    flow.write_text(ASKING.format(word="old", rest="then(tell)"))
    with dev(in_folder, "flow.py") as process:
        url = process.url
        process.process.kill()
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                httpx.get(f"{url}/healthz")
            except httpx.TransportError:
                break
            assert time.monotonic() < end
            time.sleep(0.1)


FLOW_TS = """export async function greeting(name: string): Promise<string> {{
  "use workflow";
  const hook = createHook<string>({{ token: `more:${{name}}` }});
  return await greet("{word}", name, await hook);
}}
async function greet(word: string, name: string, more: string): Promise<string> {{
  "use step";
  return word;
}}
import {{ createHook }} from "workflow";
"""


def test_typescript_is_loaded_again_and_open_runs_keep_their_code(in_folder: Path) -> None:
    (in_folder / "steps.py").write_text("def greet(word, name, more):\n    return f'{word} {name}, {more}'\n")
    flow = in_folder / "flow.ts"
    flow.write_text(FLOW_TS.format(word="old"))
    with dev(in_folder, "flow.ts", "--steps", "steps.py") as process:
        process.start("greeting", ["ann"], "open")
        ended("open", "waiting")
        flow.write_text(FLOW_TS.format(word="new"))
        process.until("loaded flow.ts again: new runs take it; open runs that .* they began with: 1")
        process.start("greeting", ["bob"], "later")
        ended("later", "waiting")
        for name in ("ann", "bob"):
            resumed = cloche("resume", "--hook", f"more:{name}", "--data", '"hello"', "--store", ".cloche/dev.db")
            assert resumed.code == 0, resumed.err
        assert (ended("open")["result"], ended("later")["result"]) == ("old ann, hello", "new bob, hello")


def test_typescript_that_is_broken_is_told_by_its_line_and_what_was_there_goes_on(in_folder: Path) -> None:
    flow = in_folder / "flow.ts"
    flow.write_text('export async function one() {\n  "use workflow";\n  return 1;\n}\n')
    with dev(in_folder, "flow.ts") as process:
        url = process.url
        flow.write_text('import fs from "fs";\nexport async function one() {\n  "use workflow";\n  return fs;\n}\n')
        said = process.until("flow.ts was not loaded: what was loaded before goes on")
        assert "flow.ts:1:1: 'fs' cannot be used in a workflow, only in a step" in said
        assert httpx.get(f"{url}/healthz").status_code == 200
        process.start("one", [], "still")
        assert ended("still")["result"] == 1
