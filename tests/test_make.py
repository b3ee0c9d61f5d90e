"""The two commands of a newcomer set up everything, the Python guest too."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = '#!/bin/sh\necho "ran $*"\n'
NO_PYTHON_GUEST = 'case "$*" in *"cloche_guest python"*) echo "error: no network" >&2; exit 1;; esac\n'


def make(target: str, folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """`make target` in an environment that is set up, whose `python` is `script`: it says what it was asked to run."""
    python, ready = folder / "python", folder / ".ready"
    python.write_text(script)
    python.chmod(0o755)
    ready.touch()
    command = ["make", "-s", "-C", str(ROOT), target, f"BIN={folder}", f"READY={ready}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_make_test_builds_all_parts_first(tmp_path: Path) -> None:
    done = make("test", tmp_path, PYTHON)
    javascript, python, compiler, dashboard, tests = done.stdout.splitlines()
    assert (javascript, python) == ("ran -m cloche_guest", "ran -m cloche_guest python")
    assert (compiler, dashboard) == ("ran -m cloche_guest compiler", "ran host/dashboard/build.py")
    assert tests.startswith("ran -m pytest ")


def test_make_test_fails_without_the_python_guest(tmp_path: Path) -> None:
    done = make("test", tmp_path, PYTHON + NO_PYTHON_GUEST)
    assert done.returncode != 0
    assert "pytest" not in done.stdout
    assert "error: no network\nThe Python guest was not built, for the reason above." in done.stderr
    assert f"make guest && {tmp_path}/python -m pytest" in done.stderr


def test_make_demo_goes_on_without_the_python_guest(tmp_path: Path) -> None:
    done = make("demo", tmp_path, PYTHON + NO_PYTHON_GUEST)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "ran host/examples/demo/demo.py")
    assert "The demo goes on without the Python guest" in done.stderr


def test_engines_are_fetched_and_tested_in_one_process(tmp_path: Path) -> None:
    done = make("test-engines", tmp_path, PYTHON + 'echo "CLOCHE_ENGINES=$CLOCHE_ENGINES" >&2\n')
    fetched, *guests, tests = done.stdout.splitlines()
    assert (fetched, len(guests)) == ("ran .ci/engines.py", 2)
    assert tests.startswith("ran -m pytest -p no:xdist tests/host/foreign/")
    assert done.stderr.splitlines()[-1] == "CLOCHE_ENGINES=all"
    run = set(tests.split()[5:])
    need = [
        file for file in (ROOT / "tests" / "host").rglob("test_*.py") if "foreign_servers import" in file.read_text()
    ]
    assert run == {str(file.relative_to(ROOT)) for file in need}


def test_ci_runs_the_engines_after_all_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines[-3:] == ["make check", "make test", "make test-engines"]
