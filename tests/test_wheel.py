"""The wheel: what a user installs works without compiler, checkout or build."""

import platform
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOW = """
from cloche import create_workflow, step

@step(id="double")
async def double(x: int) -> int:
    return 2 * x

workflow = create_workflow(id="math", input_schema=int).then(double).commit()
"""
NATIVE = """
import cloche

@cloche.workflow(id="double")
async def double(x: int) -> int:
    return 2 * x
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    [file] = out.glob("*.whl")
    return file


def test_the_wheel_holds_the_three_packages_and_one_guest(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    roots = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert roots == {"cloche", "cloche_codegen", "cloche_guest"}
    assert len([name for name in names if name.endswith(".wasm")]) == 1
    assert "cloche/store/sqlite/sql/0001.sql" in names
    assert {f"cloche/store/postgres/sql/{name}.sql" for name in ("migrations/0001", "statements/write_all")} <= set(
        names
    )
    assert wheel.name.endswith("-py3-none-any.whl")


def test_the_wheel_holds_no_benchmarks(wheel: Path) -> None:
    folders = {part for name in ZipFile(wheel).namelist() for part in Path(name).parts[:-1]}
    files = {Path(name).name for name in ZipFile(wheel).namelist()}
    assert folders & {"bench", "benchmarks", "rivals", "tests"} == set()
    assert files & {"suite.py", "baselines.py", "counts.json"} == set()
    assert all((ROOT / "benchmarks" / name).exists() for name in ("suite.py", "baselines.py", "counts.json"))


def test_an_empty_environment_with_the_wheel_runs_a_workflow(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    pip = environment / "bin" / "pip"
    subprocess.run([pip, "install", "--quiet", "--disable-pip-version-check", wheel], check=True, capture_output=True)
    (tmp_path / "flow.py").write_text(WORKFLOW)
    cloche = environment / "bin" / "cloche"
    done = subprocess.run(
        [cloche, "run", "flow.py:workflow", "--input", "21"],
        cwd=tmp_path,
        env={"PATH": str(environment / "bin"), "HOME": str(tmp_path)},  # no compiler, no checkout, no cache
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    bench = subprocess.run([cloche, "bench", "load"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (bench.returncode, bench.stdout) == (2, "")
    assert "the benchmarks are not part of an installed cloche: get a checkout" in bench.stderr
    installed = subprocess.run([pip, "list"], check=True, capture_output=True, text=True).stdout
    assert "ziglang" not in installed


@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="it is for x86-64 Linux")
def test_with_the_compiled_guests_the_first_run_compiles_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*command, str(ROOT / "guest" / "compiled")], check=True, capture_output=True)
    [wheel] = tmp_path.glob("cloche_compiled-*-py3-none-manylinux_2_17_x86_64.whl")
    ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "flow.py").write_text(NATIVE)
    done = subprocess.run(
        [Path(sys.executable).with_name("cloche"), "run", "flow.py:double", "--input", "21"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "CLOCHE_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    assert "compiling" not in done.stderr


def test_the_wheel_holds_the_dashboard(wheel: Path) -> None:
    names = [name for name in ZipFile(wheel).namelist() if name.startswith("cloche/http/dashboard/")]
    assert "cloche/http/dashboard/index.html" in names
    assets = [name for name in names if "/assets/" in name]
    assert sorted(Path(name).suffix for name in assets if not name.endswith(".gz")) == [".css", ".js", ".svg"]
    assert {f"{name}.gz" for name in assets if not name.endswith(".gz")} <= set(assets)
    assert not [name for name in ZipFile(wheel).namelist() if "node_modules" in name]
