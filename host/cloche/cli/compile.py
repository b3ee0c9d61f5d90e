"""The command `compile`: what "use workflow" code becomes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloche.cli.base import command, target_argument

if TYPE_CHECKING:
    from cloche.operations.typescript import Compiled


@command
@target_argument("file", metavar="FILE")
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write the script there.")
def compile_(file: str, out: Path | None, as_json: bool) -> int:
    """Compile TypeScript or JavaScript with "use workflow", and say which workflows and steps are in it.

    It is compiled under glass, with what it imports: relative files, and packages of node_modules that need nothing of
    Node.js. Nothing of it is run. What is wrong is told with file, line and column; then the exit code is 2.

    \b
    Example:
      cloche compile flow.ts
      cloche compile flow.ts --json
      cloche compile flow.ts --out flow.bundle.js
    """
    from cloche.cli.output import print_json
    from cloche.engines import SandboxEngine
    from cloche.errors import CompileError
    from cloche.operations.typescript import compile_on_disk

    try:
        made = compile_on_disk(SandboxEngine(), Path(file))
    except CompileError as error:
        if not as_json:
            raise
        print_json({"workflows": [], "steps": [], "problems": error.facts["problems"]})
        return 2
    if out is not None:
        out.write_text(made.source, "utf-8")
    if as_json:
        print_json(_data(made))
    else:
        _show(made)
    return 0


def _data(made: Compiled) -> dict[str, Any]:
    from cloche_codegen.emission import source_of

    return {**made.to_data(), "digest": source_of(made.source, {}).digest, "problems": []}


def _show(made: Compiled) -> None:
    from cloche.text import shown

    for word, list_ in (("workflow", made.workflows), ("step", made.steps)):
        width = max((len(one.name) for one in list_), default=0)
        for one in list_:
            click.echo(f"{word:8}  {shown(one.name):{width}}  {shown(one.id)}  {shown(one.file)}:{one.line}")
    click.echo(f"{len(made.files)} files, {len(made.source.encode()):,} bytes of what runs, with its map", err=True)
