"""The Dockerfile and the compose file: they keep the rules, and what they start works, as plain processes on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
from support.postgres import free_port, require, shared_schemas

yaml: Any = import_module("yaml")  # it has no types
FOLDER = Path(__file__).parents[2] / "docs/operations/container"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
ORDERS = """
from cloche import create_step, create_workflow
workflow = create_workflow(id="orders").then(create_step(id="double", execute=lambda x: 2 * x)).commit()
"""


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile, with lines that go on joined."""
    text = re.sub(r"\\\n\s*", "", (FOLDER / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.strip().partition(" ") for line in lines)]


def test_the_image_is_slim_pinned_and_not_run_by_root() -> None:
    found = instructions()
    bases = [rest.split()[0] for word, rest in found if word == "FROM"]
    assert all(re.fullmatch(r"python:3\.\d+-slim-\w+", base) for base in bases)
    [user] = [rest for word, rest in found if word == "USER"]
    assert int(user.split(":")[0]) > 1000
    last = [word for word, _ in found]
    stage = last[len(last) - last[::-1].index("FROM") :]
    assert stage.index("USER") < stage.index("ENTRYPOINT")
    assert not {"ADD", "MAINTAINER"} & set(last)
    assert all(rest.startswith("[") for word, rest in found if word in ("ENTRYPOINT", "CMD"))
    assert all("--no-cache-dir" in rest for word, rest in found if "pip install" in rest)
    assert all("apt-get" not in rest and "sudo" not in rest for _, rest in found)


def test_guests_are_compiled_when_it_is_built_by_who_runs_it() -> None:
    words = instructions()
    compiled = words.index(("RUN", '["cloche", "warm"]'))
    assert any(word == "USER" for word, _ in words[:compiled])
    assert compiled < next(at for at, (word, _) in enumerate(words) if word == "ENTRYPOINT")


def test_the_extras_are_those_that_there_are() -> None:
    import tomllib

    project = tomllib.loads((FOLDER.parents[2] / "pyproject.toml").read_text())["project"]
    [extras] = re.findall(r'"\.\[([^\]]*)\]"', (FOLDER / "Dockerfile").read_text())
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()


def test_containers_can_write_nothing_and_gain_nothing() -> None:
    for name, service in SERVICES.items():
        assert not service["image"].endswith(":latest"), name
        if name != "db":
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
            assert "no-new-privileges:true" in service["security_opt"], name
    assert SERVICES["worker"]["deploy"]["replicas"] == 2
    assert "PGPASSWORD" not in json.dumps([service["command"] for service in SERVICES.values() if "command" in service])
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["server"]["ports"])


@contextmanager
def started(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-m", "cloche.cli", *command]
    process = subprocess.Popen(line, cwd=folder, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_what_the_compose_file_starts_works(tmp_path: Path) -> None:
    """Each command as it stands, but for the address of the store and the ports: migrate, a token, the server, two workers."""
    require()
    (tmp_path / "orders.py").write_text(ORDERS)
    with shared_schemas().lend() as store, ExitStack() as stack:
        ports = {"4700": str(free_port()), "0.0.0.0:9100": "127.0.0.1:0", "0.0.0.0": "127.0.0.1"}
        environment = {"CLOCHE_STORE": store}

        def command(name: str) -> list[str]:
            return [
                store if one.startswith("postgresql:") else ports.get(one, one) for one in SERVICES[name]["command"]
            ]

        def once(*words: str) -> str:
            line = [sys.executable, "-m", "cloche.cli", *words]
            done = subprocess.run(line, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()

        once(*command("migrate"))
        token = once("token", "create", "--all-tenants", "--role", "admin")
        server = stack.enter_context(started(command("server"), tmp_path, environment))
        for _ in range(SERVICES["worker"]["deploy"]["replicas"]):
            stack.enter_context(started(command("worker"), tmp_path, environment))
        assert server.stdout is not None
        assert server.stdout.readline().startswith("serving on ")
        url = f"http://127.0.0.1:{ports['4700']}"
        subprocess.run([sys.executable, *_health(ports["4700"])], check=True)
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as ask:
            while len(ask.get("/v1/workers").json()["workers"]) < 2:
                assert server.poll() is None
            body = {"input": 21, "run_id": "r1"}
            made = ask.post("/v1/workflows/orders/runs", json=body, headers={"Prefer": "wait=30"})
            assert (made.status_code, made.json()["result"]) == (201, 42)


def _health(port: str) -> list[str]:
    """The command by which the image asks how it is."""
    [text] = [rest for word, rest in instructions() if word == "HEALTHCHECK"]
    words: list[str] = json.loads(text[text.index("[") :])
    assert words[0] == "python"
    return [word.replace("4700", port) for word in words[1:]]
