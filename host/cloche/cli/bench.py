"""The command that measures: `bench`. The benchmarks themselves are no part of the package: they stand in a checkout."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cloche.cli.base import command


@command
@click.argument("names", nargs=-1, metavar="[NAME]…")
@click.option("--list", "only_list", is_flag=True, help="List the benchmarks and what they measure.")
@click.option(
    "--most", default=1_000_000, show_default=True, type=click.IntRange(1), help="The most steps, runs or items."
)
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Write results, table and plots there.")
def bench(names: tuple[str, ...], only_list: bool, most: int, keep: Path | None, as_json: bool) -> None:
    """Measure this machine: every figure beside a baseline of the same run.

    All benchmarks (15 minutes), or those named. Stores are made in the working directory, and removed.

    \b
    Example:
      cloche bench replay --most 10000
    """
    from cloche.cli.output import print_json
    from cloche.errors import NotFound

    _find_benchmarks()
    from benchmarks import SUITE, Scale, run_suite
    from benchmarks.report import Taken, line
    from benchmarks.report import keep as keep_files

    if unknown := next((name for name in names if name not in SUITE), None):
        known = ", ".join(SUITE)
        raise NotFound(f"there is no benchmark '{unknown}'; there are: {known}", kind="benchmark", id=unknown)
    if only_list:
        for name, (_, about) in SUITE.items():
            print_json({"name": name, "about": about}) if as_json else click.echo(f"{name:18} {about}")
        return
    taken = []
    for name, figure in run_suite(names, Scale(most)):
        taken.append(Taken(name, figure))
        print_json(taken[-1].to_data()) if as_json else click.echo(line(figure))
    if keep is not None:
        said = " ".join(["cloche bench", *names, *([f"--most {most}"] if most != 1_000_000 else [])])
        for file in keep_files(taken, said, keep):
            click.echo(f"kept {file}", err=True)


def _find_benchmarks() -> None:
    """Make `benchmarks` of the checkout that this package is in importable.

    Raises:
        UsageError: this package is installed without a checkout.
    """
    from cloche.errors import UsageError

    checkout = Path(__file__).resolve().parents[3]
    if not (checkout / "benchmarks" / "suite.py").exists():
        raise UsageError(
            "the benchmarks are not part of an installed cloche: get a checkout of its repository, and run `make bench` there"
        )
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
